"""What a vendor answered goes back as history in a form that the vendor publishes, state included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx2
import pytest

from gleitzeit.testing import FakeContext, anthropic_server, gemini_server, ollama_server, openai_server
from gleitzeit.values import Chat, Message, Stream, TextPart, Tool, ToolResultPart
from tests.strict.served import Served
from tests.strict.test_requests import complaints
from tests.strict.wires import WIRES

SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOLS: Final = (Tool("f", description="d", input_schema=SCHEMA), Tool("my/g", input_schema=SCHEMA))
CALLS: Final = ({"name": "f", "arguments": {"a": 1}}, {"name": "my__g", "arguments": {"a": 2}})
INPUTS: Final = tuple({"name": call["name"], "input": call["arguments"]} for call in CALLS)
ARGS: Final = tuple({"name": call["name"], "args": call["arguments"]} for call in CALLS)
#: By wire, what the model says when it is asked, with thinking and two calls at once.
SAID: Final[Mapping[str, Any]] = {
    "openai-chat": openai_server.Answer("let me see", calls=CALLS),
    "openai-responses": openai_server.Answer("let me see", thinking="hm, well", calls=CALLS),
    "azure-responses": openai_server.Answer("let me see", thinking="hm, well", calls=CALLS),
    "anthropic-messages": anthropic_server.Answer("let me see", thinking="hm, well", calls=INPUTS),
    "gemini-generate": gemini_server.Answer("let me see", thinking="hm", calls=ARGS, signature="QUJD"),
    "vertex-generate": gemini_server.Answer("let me see", thinking="hm", calls=ARGS, signature="QUJD"),
    "ollama-chat": ollama_server.Answer("let me see", thinking="hm, well", calls=CALLS),
}
#: Text of the state that must be in the second request, byte for byte.
STATE: Final[Mapping[str, str]] = {
    "openai-responses": "fake==",
    "azure-responses": "fake==",
    "anthropic-messages": "sig+/",
    "gemini-generate": "QUJD",
    "vertex-generate": "QUJD",
    "ollama-chat": "hm, well",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", SAID)
async def test_an_answer_goes_back_as_published(name: str, stream: bool) -> None:
    wire = WIRES[name]
    served = Served(wire.fake())
    served.fake.answers.append(SAID[name])
    config = {key: values[0] for key, values in wire.configs.items()}
    async with httpx2.AsyncClient(transport=served) as http, FakeContext("under-test", http=http) as context:
        provider = wire.plugin(wire.plugin.Config(**config), context)
        turns = [Message.user("begin")]
        for _ in range(2):
            answer = await provider.call(Chat(turns, tools=TOOLS).to("m", stream=stream))
            reply = await answer.collect() if isinstance(answer, Stream) else answer
            turns.append(reply.message)
            if reply.tool_calls:
                results = [
                    ToolResultPart(call.id, name=call.name, parts=[TextPart("done")])
                    for call in reply.tool_calls
                ]
                turns.append(Message.tool(*results))
    assert [each for one in served.sent for each in complaints(one)] == []
    assert [call.name for call in turns[1].tool_calls] == ["f", "my/g"]
    assert STATE.get(name, "") in str(served.sent[-1].body)
