"""One interface to every language model and every tool, where everything is a plugin.

    async with Host() as host:
        reply = await host.call(Chat("Hello!").to("scripted/hello"))

Importing this package imports almost nothing: each name is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from gleitzeit.version import API_VERSION, __version__

if TYPE_CHECKING:
    from gleitzeit.blocking import BlockingHost
    from gleitzeit.config import Config
    from gleitzeit.errors import GleitzeitError
    from gleitzeit.host import Host
    from gleitzeit.kinds import Context
    from gleitzeit.plugin import Plugin, Provider, Strategy, hookimpl
    from gleitzeit.values import (
        AudioPart,
        Chat,
        Classification,
        Completion,
        Embedding,
        FilePart,
        Finished,
        Health,
        ImagePart,
        Invoke,
        Message,
        Model,
        Part,
        PartDone,
        ProviderState,
        Reply,
        Request,
        ResponseSchema,
        Retry,
        Stream,
        Target,
        TextDelta,
        TextPart,
        ThinkingDelta,
        ThinkingPart,
        Tool,
        ToolCall,
        ToolCallPart,
        ToolResultPart,
        Usage,
        Verdict,
    )
else:

    def __getattr__(name):
        module = _WHERE.get(name)
        if module is None:
            raise AttributeError(f"module 'gleitzeit' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"gleitzeit.{module}"), name)
        return value

    def __dir__():
        return sorted(__all__)


_WHERE = {
    "BlockingHost": "blocking",
    "Config": "config",
    "GleitzeitError": "errors",
    "Host": "host",
    "Context": "kinds",
    "Plugin": "plugin",
    "Provider": "plugin",
    "Strategy": "plugin",
    "hookimpl": "plugin",
    **dict.fromkeys(
        (
            "AudioPart",
            "Chat",
            "Classification",
            "Completion",
            "Embedding",
            "FilePart",
            "Finished",
            "Health",
            "ImagePart",
            "Invoke",
            "Message",
            "Model",
            "Part",
            "PartDone",
            "ProviderState",
            "Reply",
            "Request",
            "ResponseSchema",
            "Retry",
            "Stream",
            "Target",
            "TextDelta",
            "TextPart",
            "ThinkingDelta",
            "ThinkingPart",
            "Tool",
            "ToolCall",
            "ToolCallPart",
            "ToolResultPart",
            "Usage",
            "Verdict",
        ),
        "values",
    ),
}

__all__ = [
    "API_VERSION",
    "AudioPart",
    "BlockingHost",
    "Chat",
    "Classification",
    "Completion",
    "Config",
    "Context",
    "Embedding",
    "FilePart",
    "Finished",
    "GleitzeitError",
    "Health",
    "Host",
    "ImagePart",
    "Invoke",
    "Message",
    "Model",
    "Part",
    "PartDone",
    "Plugin",
    "Provider",
    "ProviderState",
    "Reply",
    "Request",
    "ResponseSchema",
    "Retry",
    "Strategy",
    "Stream",
    "Target",
    "TextDelta",
    "TextPart",
    "ThinkingDelta",
    "ThinkingPart",
    "Tool",
    "ToolCall",
    "ToolCallPart",
    "ToolResultPart",
    "Usage",
    "Verdict",
    "__version__",
    "hookimpl",
]
