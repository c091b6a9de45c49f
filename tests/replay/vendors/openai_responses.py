"""The Responses API of OpenAI, of Azure, and of those who speak it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import openai
from gleitzeit_plugin_openai import AzureOpenAI, OpenAI

from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Message, Reply, Stream, ToolResultPart
from gleitzeit.wire.codec import dumps, loads
from tests.replay.playback import Playback
from tests.replay.recordings import Interaction
from tests.replay.strict import problems
from tests.replay.vendor import Difference, Seen, Vendor

__all__ = ["VENDORS"]

URL: Final = "http://127.0.0.1:9/v1"
_SPEC: Final = "openai.openapi.json"
#: The type of an item with its own schema, as the published union takes a message for two of its kinds.
_SCHEMAS: Final = {"message": "EasyInputMessage", "function_call_output": "FunctionCallOutputItemParam"}
#: Items that the vendor sends in a form which its published schema does not take back: results with
#: empty attributes, pictures with their sizes, sources without an address. They go back as they came all
#: the same, and so they do from the SDK.
_UNPUBLISHED: Final = ("file_search_call", "image_generation_call", "web_search_call")


class Responses(Vendor):
    """Whole responses, streams and compactions."""

    oracle = f"openai {openai.__version__}"
    ops = ("responses",)
    differences = (
        Difference(
            "an incomplete response",
            reason="the SDK has the reason beside the word; ours is `incomplete:REASON`",
            fields=("finish",),
            holds=lambda _, ours, theirs: str(ours.finish).startswith(f"{theirs.finish}:"),
        ),
    )
    #: Does the vendor send nothing beyond OpenAI's schema?
    strict = True

    def __init__(self, play: Playback) -> None:
        super().__init__(play)
        plugin = AzureOpenAI if "azure" in self.providers else OpenAI
        config = plugin.Config(base_url=URL, api_key="x", api="responses")
        self.provider = plugin(config, FakeContext("p", play.client))
        self.sdk = openai.AsyncOpenAI(base_url=URL, api_key="x", max_retries=0, http_client=play.client)

    @classmethod
    def takes(cls, interaction: Interaction) -> bool:
        """Counts of tokens are no responses."""
        return not interaction.path.endswith("/input_tokens")

    async def ours(self, interaction: Interaction) -> Reply:
        answer = await self.provider.call(Chat("hi").to("m", stream=interaction.stream))
        return await answer.collect() if isinstance(answer, Stream) else answer

    async def theirs(self, interaction: Interaction) -> Seen:
        found: Any = None
        try:
            if interaction.path.endswith("/compact"):
                found = await self.sdk.responses.compact(model="m")
            elif not interaction.stream:
                found = await self.sdk.responses.create(model="m", input="hi")
            else:
                async for event in await self.sdk.responses.create(model="m", input="hi", stream=True):
                    found = getattr(event, "response", None) or found
        except openai.APIStatusError as error:
            return Seen(error=error.status_code)
        return _seen(found)

    async def further(self, interaction: Interaction, reply: Reply) -> Iterable[str]:
        """The reply as history: every item as it came and in its place, and valid by the published schema."""
        stored = loads(Message, dumps(reply.message))
        results = [ToolResultPart(call.id, parts="y") for call in stored.tool_calls]
        after = [Message.tool(*results)] if results else []
        chat = Chat([Message.user("hi"), stored, *after, Message.user("go on")])
        answer = await self.provider.call(chat.to("m", stream=interaction.stream))
        if isinstance(answer, Stream):
            await answer.aclose()
        body = self.play.requests[-1]
        came = _items(interaction)
        while came and came[-1]["type"] == "reasoning":
            came.pop()  # it is refused without what followed it
        sent = body["input"][1 : 1 + len(came)]
        found = [] if _sorted(sent) == _sorted(came) else ["state: an item did not go back as it came"]
        if not interaction.stream and sent != came:
            found.append("state: items went back in another order")
        if self.strict:
            found += problems(_SPEC, "CreateResponse", {**body, "input": "hi"})
            for item in body["input"]:
                found += _strange(item)
        return found


def _strange(item: dict[str, Any]) -> list[str]:
    if item["type"] in _UNPUBLISHED:
        return []
    if "content" in item and "id" in item and isinstance(item["content"], list):
        # Older answers lack what the schema wants.
        parts = [
            {"logprobs": [], **part} if part["type"] == "output_text" else part for part in item["content"]
        ]
        return problems(_SPEC, "InputItem", {**item, "content": parts})
    return problems(_SPEC, _SCHEMAS.get(item["type"], "InputItem"), item)


def _items(interaction: Interaction) -> list[dict[str, Any]]:
    """The items of the answer; a stream's are those of its last event."""
    if not interaction.stream:
        items: list[dict[str, Any]] = interaction.json["output"]
        return items
    for line in reversed(interaction.body.splitlines()):
        if line.startswith(b"data:") and b'"output"' in line:
            frame = msgspec.json.decode(line[5:], type=dict[str, Any])
            found: list[dict[str, Any]] = frame["response"]["output"]
            return found
    return []


def _sorted(items: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(item, sort_keys=True) for item in items)


def _seen(found: Any) -> Seen:
    output = found.output
    answers = [item for item in output if item.type == "message" and item.role == "assistant"]
    said = [part for item in answers for part in item.content]
    thoughts = [
        "\n\n".join(part.text for part in [*(item.content or ()), *item.summary] if part.text)
        for item in output
        if item.type == "reasoning"
    ]
    calls = [item for item in output if item.type == "function_call"]
    usage = found.usage
    read, written = (usage.input_tokens_details, usage.output_tokens_details) if usage else (None, None)
    return Seen(
        text="".join(part.text if hasattr(part, "text") else part.refusal for part in said),
        thinking="".join(thoughts),
        calls=tuple((call.call_id, call.name.replace("__", "/"), call.arguments) for call in calls),
        finish=getattr(found, "status", None),
        usage=None
        if usage is None
        else {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cache_read": read.cached_tokens if read else None,
            "reasoning": written.reasoning_tokens if written else None,
        },
        model=getattr(found, "model", None),
        id=found.id,
    )


def _row(provider: str) -> type[Vendor]:
    """The row of a vendor; others than OpenAI send fields of their own."""
    row = f"{provider.partition(':')[0]} responses"
    fields = {"name": row, "providers": (provider,), "strict": provider == "openai", "__doc__": row}
    return type(row, (Responses,), fields)


SPEAKERS: Final = ("openai", "azure", "bedrock", "deepseek", "gateway:8787", "openrouter")
VENDORS: Final = tuple(map(_row, SPEAKERS))
