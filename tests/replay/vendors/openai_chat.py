"""Chat completions and embeddings of OpenAI, and of those who speak its API."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import Any, ClassVar, Final

import openai
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Embedding, Message, Reply, Stream, ToolResultPart
from gleitzeit.wire.codec import dumps, loads
from tests.replay.playback import Playback
from tests.replay.recordings import Interaction
from tests.replay.strict import problems
from tests.replay.vendor import Difference, Seen, Vendor

__all__ = ["VENDORS", "Both", "OpenAIChat"]

URL: Final = "http://127.0.0.1:9/v1"
SPEAKERS: Final = (
    "cerebras",
    "deepseek",
    "gateway:8787",
    "gemini",
    "groq",
    "huggingface",
    "mistral",
    "ollama",
    "openrouter",
)
#: Those with a plugin of their own.
_PLUGINS: Final = {"huggingface": "huggingface-router"}
_SPELLINGS: Final = ("reasoning_content", "reasoning", "thinking")


def _plugin(name: str) -> Any:
    """The class of a plugin; where its package is absent, OpenAI's, as it speaks the same API."""
    found = next(iter(entry_points(group="gleitzeit.providers", name=name)), None)
    return OpenAI if found is None else found.load()


class Both(Vendor):
    """A provider and the SDK over one transport."""

    oracle = f"openai {openai.__version__}"
    #: The plugin's name.
    plugin: ClassVar[str] = "openai"

    def __init__(self, play: Playback) -> None:
        super().__init__(play)
        plugin = _plugin(self.plugin)
        self.provider = plugin(plugin.Config(base_url=URL), FakeContext("p", play.client))
        self.sdk = openai.AsyncOpenAI(base_url=URL, api_key="x", max_retries=0, http_client=play.client)


class OpenAIChat(Both):
    """Chat completions."""

    ops = ("chat",)
    differences = (
        Difference(
            "content as a list",
            reason="the SDK passes the list on; we make text and thinking parts of it, one shape for all",
            fields=("text",),
            holds=lambda _, ours, theirs: (
                isinstance(theirs.text, list)
                and ours.text == "".join(part["text"] for part in theirs.text if part.get("type") == "text")
            ),
        ),
        Difference(
            "thinking in tags",
            reason="the SDK leaves <think> in the text, as some vendors write it; we take thinking out",
            fields=("text",),
            holds=lambda _, ours, theirs: (
                isinstance(theirs.text, str)
                and theirs.text.lstrip().startswith("<think>")
                and ours.text == theirs.text.partition("</think>")[2].lstrip()
            ),
        ),
        Difference(
            "a call without arguments",
            reason='an absent text is an empty one, "", read as {}; the SDK gives None',
            fields=("calls",),
            holds=lambda _, ours, theirs: (
                [(name, raw) for _, name, (raw, _) in ours.calls or ()]
                == [(name, raw or "") for _, name, raw in theirs.calls or ()]
            ),
        ),
    )

    async def ours(self, interaction: Interaction) -> Reply:
        answer = await self.provider.call(Chat("hi").to("m", stream=interaction.stream))
        return await answer.collect() if isinstance(answer, Stream) else answer

    async def theirs(self, interaction: Interaction) -> Seen:
        if interaction.stream:
            return await self._streamed()
        try:
            found = await self.sdk.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}]
            )
        except openai.APIStatusError as error:
            return Seen(error=error.status_code)
        choice = found.choices[0]
        message, extra = choice.message, choice.message.model_extra or {}
        calls: Any = message.tool_calls or ()
        return Seen(
            text=message.content or "",
            thinking=next((extra[name] for name in _SPELLINGS if isinstance(extra.get(name), str)), None),
            calls=tuple((call.id, call.function.name, call.function.arguments) for call in calls),
            finish=choice.finish_reason,
            usage=_usage(found.usage),
            model=found.model,
            id=found.id,
        )

    async def _streamed(self) -> Seen:
        text, finish, usage = "", None, None
        calls: dict[int, list[Any]] = {}
        listed: list[Any] = []
        asked: Any = [{"role": "user", "content": "hi"}]
        try:
            async for chunk in await self.sdk.chat.completions.create(model="m", messages=asked, stream=True):
                usage = chunk.usage or usage
                for choice in chunk.choices[:1]:
                    content: Any = choice.delta.content or ""
                    if isinstance(content, list):
                        listed += content
                    else:
                        text += content
                        listed += [{"type": "text", "text": content}] if content else []
                    finish = choice.finish_reason or finish
                    for call in choice.delta.tool_calls or ():
                        slot = calls.setdefault(call.index, [None, None, ""])
                        assert call.function is not None
                        slot[0], slot[1] = call.id or slot[0], call.function.name or slot[1]
                        slot[2] += call.function.arguments or ""
        except openai.APIStatusError as error:
            return Seen(error=error.status_code)
        except openai.APIError:
            return Seen(error=0, text=text)
        pieces = all(part.get("type") == "text" and len(part) == 2 for part in listed)
        made = tuple((id, name, raw) for id, name, raw in calls.values())
        return Seen(text=text if pieces else listed, calls=made, finish=finish, usage=_usage(usage))

    async def further(self, interaction: Interaction, reply: Reply) -> Iterable[str]:
        """The reply as history: valid by the published schema, and its reasoning as it came."""
        stored = loads(Message, dumps(reply.message))
        results = [ToolResultPart(call.id, parts="y") for call in stored.tool_calls]
        after = Message.tool(*results) if results else Message.user("go on")
        answer = await self.provider.call(
            Chat([Message.user("hi"), stored, after]).to("m", stream=interaction.stream)
        )
        if isinstance(answer, Stream):
            await answer.aclose()
        body = self.play.requests[-1]
        found = problems("openai.openapi.json", "CreateChatCompletionRequest", body) if self.strict else []
        if not interaction.stream:
            found += _state(interaction.json["choices"][0]["message"], body["messages"][1])
        return found

    #: Does the vendor take nothing beyond OpenAI's schema?
    strict = False


def _state(came: dict[str, Any], sent: dict[str, Any]) -> list[str]:
    """Reasoning that does not go back as it came."""
    spelling = next((name for name in _SPELLINGS if came.get(name)), None)
    wanted = {name: came.get(name) for name in ("reasoning_details", "extra_content", spelling) if name}
    found = [f"state: {name} is lost" for name, value in wanted.items() if value and sent.get(name) != value]
    for mine, their in zip(sent.get("tool_calls") or (), came.get("tool_calls") or (), strict=True):
        if mine.get("extra_content") != their.get("extra_content"):
            found.append(f"state: extra_content of call {their.get('id')} is lost")
    return found


def _usage(usage: Any) -> dict[str, int | None] | None:
    if usage is None:
        return None
    read, written = usage.prompt_tokens_details, usage.completion_tokens_details
    return {
        "input": usage.prompt_tokens,
        "output": usage.completion_tokens,
        "cache_read": read.cached_tokens if read else None,
        "reasoning": written.reasoning_tokens if written else None,
    }


class OpenAIOwnChat(OpenAIChat):
    """Chat completions of OpenAI itself."""

    name = "openai chat"
    providers = ("openai",)
    strict = True


class OpenAIEmbeddings(Both):
    """Embeddings of OpenAI."""

    name = "openai embeddings"
    providers: ClassVar[tuple[str, ...]] = ("openai",)
    ops = ("embeddings",)

    async def ours(self, interaction: Interaction) -> Reply:
        reply = await self.provider.call(Embedding(_inputs(interaction)).to("m"))
        assert isinstance(reply, Reply)
        return reply

    async def theirs(self, interaction: Interaction) -> Seen:
        try:
            found = await self.sdk.embeddings.create(model="m", input=_inputs(interaction))
        except openai.APIStatusError as error:
            return Seen(error=error.status_code)
        vectors = tuple(tuple(item.embedding) for item in found.data)
        return Seen(vectors=vectors, usage={"input": found.usage.prompt_tokens}, model=found.model)


class VoyageEmbeddings(OpenAIEmbeddings):
    """Embeddings of Voyage, which speaks OpenAI's API."""

    name = "voyageai embeddings"
    providers = ("voyageai",)


def _inputs(interaction: Interaction) -> list[str]:
    asked = interaction.sent["input"]
    return [asked] if isinstance(asked, str) else asked


def _speaker(provider: str) -> type[Vendor]:
    """The row of another vendor."""
    row = f"{provider.partition(':')[0]} chat"
    fields = {"name": row, "providers": (provider,), "plugin": _PLUGINS.get(provider, "openai")}
    return type(row, (OpenAIChat,), {**fields, "__doc__": row})


VENDORS: Final = (OpenAIOwnChat, OpenAIEmbeddings, VoyageEmbeddings, *map(_speaker, SPEAKERS))
