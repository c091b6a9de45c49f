"""Every provider with its fake: how it is configured, and in which dialect it says the same two turns."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from attrs import field, frozen

from gleitzeit.testing.faulty import Answer, FaultyServer
from tests.end_to_end.dialects.chat import CHAT
from tests.end_to_end.dialects.generate import GENERATE
from tests.end_to_end.dialects.lines import LINES
from tests.end_to_end.dialects.messages import MESSAGES
from tests.end_to_end.dialects.responses import RESPONSES
from tests.end_to_end.dialects.words import KEY, THOUGHT, Dialect

__all__ = ["NAMES", "VOICES", "Voice"]


_OPENAI: Final = ("openai_server", "OpenAIServer")
_GEMINI: Final = ("gemini_server", "GeminiServer")


@frozen(kw_only=True)
class Voice:
    """A provider: its plugin, its fake, and the dialect of both."""

    plugin: str
    #: Module and class of the fake in `gleitzeit.testing`.
    fake: tuple[str, str]
    dialect: Dialect = field(repr=False)
    #: What must come back to this provider as it was, and go to no other.
    state: str
    config: Mapping[str, Any] = field(factory=dict)
    #: Where it goes without `base_url`; None: it is asked for no key there, or has no such place.
    official: Mapping[str, Any] | None = None

    def server(self) -> FaultyServer[Any]:
        """The fake, which refuses what its vendor would refuse."""
        module, name = self.fake
        made = getattr(importlib.import_module(f"gleitzeit.testing.{module}"), name)(api_key=KEY)
        assert isinstance(made, FaultyServer)
        return made

    def configure(self, url: str, key: str | None = KEY) -> dict[str, Any]:
        """The configuration of an instance on a server at `url`."""
        credential = {} if key is None else {"api_key": key}
        return {"plugin": self.plugin, "base_url": url, **credential, **self.config}

    def answers(self, stream: bool, *, thinking: bool = True) -> list[Answer]:
        """Both turns."""
        calls = self.dialect.calls(self.state if thinking else None)
        return [self.answer(body, stream) for body in (calls, self.dialect.sentence())]

    def answer(self, body: Any, stream: bool) -> Answer:
        """One turn that came out of `dialect`."""
        return self.says(frames=tuple(self.dialect.frames(body))) if stream else self.says(body=body)

    def says(self, **fields: Any) -> Answer:
        """Anything, in the fake's own class of answers."""
        kind: type[Answer] = importlib.import_module(f"gleitzeit.testing.{self.fake[0]}").Answer
        if self.fake is _OPENAI:
            fields = {"done": False, **fields}  # the frames have their own end
        return kind(**fields)


#: By the name of the instance. Some may not be installed: see `NAMES`.
VOICES: Final[Mapping[str, Voice]] = {
    "chat": Voice(plugin="openai", fake=_OPENAI, dialect=CHAT, state="gAAA+chat/state==", official={}),
    "responses": Voice(
        plugin="openai",
        fake=_OPENAI,
        dialect=RESPONSES,
        config={"api": "responses"},
        state="gAAA+responses/state==",
        official={},
    ),
    "azure": Voice(
        plugin="azure-openai",
        fake=_OPENAI,
        dialect=CHAT,
        config={"api": "chat"},
        state="gAAA+azure/state==",
        official={"resource": "acme"},
    ),
    "azure-responses": Voice(
        plugin="azure-openai",
        fake=_OPENAI,
        dialect=RESPONSES,
        config={"api": "responses"},
        state="gAAA+azure/responses==",
        official={"resource": "acme"},
    ),
    "claude": Voice(
        plugin="anthropic",
        fake=("anthropic_server", "AnthropicServer"),
        dialect=MESSAGES,
        state="EpAC+messages/state==",
        official={},
    ),
    "gemini": Voice(
        plugin="gemini", fake=_GEMINI, dialect=GENERATE, state="CpAC+generate/stateA", official={}
    ),
    "vertex": Voice(
        plugin="gemini",
        fake=_GEMINI,
        dialect=GENERATE,
        config={"project": "acme"},
        state="CpAC+vertex/stateAA=",
        official={},
    ),
    "ollama": Voice(
        plugin="ollama",
        fake=("ollama_server", "OllamaServer"),
        dialect=LINES,
        state=THOUGHT,  # nothing opaque here: the thought itself comes back
    ),
    "router": Voice(
        plugin="huggingface-router",
        fake=_OPENAI,
        dialect=CHAT,
        state="gAAA+router/state==",
        official={},
    ),
}
_INSTALLED: Final = {point.name for point in entry_points(group="gleitzeit.providers")}
#: Those whose plugins are installed.
NAMES: Final = tuple(name for name, voice in VOICES.items() if voice.plugin in _INSTALLED)
