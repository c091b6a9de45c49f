"""Anthropic: messages, streams and counts of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Final

import anthropic
import msgspec
from gleitzeit_plugin_anthropic import Anthropic

from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Invoke, Message, Reply, Stream, ToolResultPart
from gleitzeit.wire.codec import dumps, loads
from tests.harness import ROOT
from tests.replay.playback import Playback
from tests.replay.recordings import Interaction
from tests.replay.strict import problems
from tests.replay.vendor import Seen, Vendor

__all__ = ["VENDORS"]

URL: Final = "http://127.0.0.1:9"
_EXCEPTIONS: Final = ROOT / "plugins" / "providers" / "anthropic" / "tests" / "exceptions.json"
_ASKED: Final[Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Both(Vendor):
    """A provider and the SDK over one transport."""

    oracle = f"anthropic {anthropic.__version__}"

    def __init__(self, play: Playback) -> None:
        super().__init__(play)
        config = Anthropic.Config(base_url=URL, api_key="x")
        self.provider = Anthropic(config, FakeContext("p", play.client))
        self.sdk = anthropic.AsyncAnthropic(
            base_url=URL, api_key="x", max_retries=0, http_client=play.client
        ).beta.messages


class AnthropicMessages(Both):
    """Whole messages and streams; the usage of the SDK in our arithmetic, with cached tokens inside."""

    name = "anthropic messages"
    providers = ("anthropic", "gateway:8787")
    ops = ("messages",)
    excused: ClassVar = {
        name: reason for reason, names in json.loads(_EXCEPTIONS.read_text("utf-8")).items() for name in names
    }

    async def ours(self, interaction: Interaction) -> Reply:
        answer = await self.provider.call(Chat("hi").to("m", stream=interaction.stream))
        return await answer.collect() if isinstance(answer, Stream) else answer

    async def theirs(self, interaction: Interaction) -> Seen:
        try:
            if interaction.stream:
                async with self.sdk.stream(**_ASKED, max_tokens=64) as stream:
                    return _seen(await stream.get_final_message())
            return _seen(await self.sdk.create(**_ASKED, max_tokens=64))
        except anthropic.APIStatusError as error:
            return Seen(error=error.status_code)

    async def further(self, interaction: Interaction, reply: Reply) -> Iterable[str]:
        """The reply as history: valid by the published schema, and its opaque blocks as they came."""
        stored = loads(Message, dumps(reply.message))
        results = [ToolResultPart(call.id, parts="y") for call in stored.tool_calls]
        after = Message.tool(*results) if results else Message.user("go on")
        answer = await self.provider.call(
            Chat([Message.user("hi"), stored, after]).to("m", stream=interaction.stream)
        )
        if isinstance(answer, Stream):
            await answer.aclose()
        body = self.play.requests[-1]
        found = problems("anthropic.openapi.json", "CreateMessageParams", body)
        if not interaction.stream:
            blocks = msgspec.json.decode(interaction.body)["content"]
            opaque = [block for block in blocks if block["type"] not in ("text", "tool_use")]
            sent = [
                block for block in body["messages"][1]["content"] if block["type"] not in ("text", "tool_use")
            ]
            found += [] if sent == opaque else [f"state: {sent} was {opaque}"]
        return found


def _seen(message: Any) -> Seen:
    usage = message.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    details = getattr(usage, "output_tokens_details", None)
    blocks = message.content
    return Seen(
        text="".join(block.text for block in blocks if block.type == "text"),
        thinking="".join(block.thinking for block in blocks if block.type == "thinking"),
        calls=tuple((block.id, block.name, block.input) for block in blocks if block.type == "tool_use"),
        finish=message.stop_reason,
        usage={
            "input": usage.input_tokens + cached,
            "output": usage.output_tokens,
            "cache_read": usage.cache_read_input_tokens,
            "cache_write": usage.cache_creation_input_tokens,
            "reasoning": details and details.thinking_tokens,
        },
        model=message.model,
        id=message.id,
    )


class AnthropicCounts(Both):
    """Counts of tokens."""

    name = "anthropic token counts"
    providers = ("anthropic",)
    ops = ("count_tokens",)

    async def ours(self, interaction: Interaction) -> Reply:
        reply = await self.provider.call(Invoke("count_tokens", args=("m", "hi")).to("p"))
        assert isinstance(reply, Reply)
        return reply

    async def theirs(self, interaction: Interaction) -> Seen:
        try:
            counted = await self.sdk.count_tokens(**_ASKED)
        except anthropic.APIStatusError as error:
            return Seen(error=error.status_code)
        return Seen(data=counted.to_dict())


VENDORS: Final = (AnthropicMessages, AnthropicCounts)
