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
        Chat,
        Classification,
        Completion,
        Embedding,
        Finished,
        Health,
        Invoke,
        Message,
        Model,
        Reply,
        Request,
        Retry,
        Stream,
        Target,
        TextDelta,
        Tool,
        ToolCall,
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
            "Chat",
            "Classification",
            "Completion",
            "Embedding",
            "Finished",
            "Health",
            "Invoke",
            "Message",
            "Model",
            "Reply",
            "Request",
            "Retry",
            "Stream",
            "Target",
            "TextDelta",
            "Tool",
            "ToolCall",
            "Usage",
            "Verdict",
        ),
        "values",
    ),
}

__all__ = [
    "API_VERSION",
    "BlockingHost",
    "Chat",
    "Classification",
    "Completion",
    "Config",
    "Context",
    "Embedding",
    "Finished",
    "GleitzeitError",
    "Health",
    "Host",
    "Invoke",
    "Message",
    "Model",
    "Plugin",
    "Provider",
    "Reply",
    "Request",
    "Retry",
    "Strategy",
    "Stream",
    "Target",
    "TextDelta",
    "Tool",
    "ToolCall",
    "Usage",
    "Verdict",
    "__version__",
    "hookimpl",
]
