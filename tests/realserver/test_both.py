"""One route over servers that nobody here wrote, and conversations that move between them."""

import pytest

from gleitzeit import Host, Message, ToolResultPart
from gleitzeit.errors import AuthenticationError, ResetError, TooLongError, TruncatedStreamError
from gleitzeit.wire.codec import dumps, loads
from tests.realserver.servers import KEY
from tests.realserver.talk import HELLO, WEATHER, Weather, answer, ask, converse

pytestmark = pytest.mark.realserver

TORCH, LLAMA, ITEMS = "torch/./tiny", "llama/tiny", "items/./tiny"


@pytest.fixture
def arguments(server, llama, local):
    """`torch` and `items` are transformers with either API, `llama` and `locked` are llama-cpp-python."""
    theirs = {"plugin": "openai", "base_url": llama, "tool_calls": "hermes", "thinking": "tags"}
    made = local(
        torch={
            "plugin": "openai",
            "base_url": server,
            "models": [{"name": "./tiny", "context_tokens": 2048}],
        },
        items={"plugin": "openai", "base_url": server, "api": "responses"},
        llama={**theirs, "api_key": KEY, "models": ["tiny", {"name": "small", "context_tokens": 256}]},
        locked={**theirs, "api_key": "another-key"},
    )
    made["config"]["routes"] = {
        "refused-first": {"targets": ["locked/tiny", TORCH]},
        "small-first": {"targets": ["llama/small", TORCH]},
    }
    return made


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_refuses_the_key_is_passed_over_in_every_turn(arguments, stream):
    async with Host(**arguments) as host:
        reply, _ = await answer(host, ask("hi", "refused-first"), stream)
        ending = await converse(host, ask("weather in Paris and Oslo", "refused-first"), stream)
    assert reply.text == HELLO
    (attempt,) = reply.attempts
    assert isinstance(attempt.error, AuthenticationError)
    assert (ending.text, ending.turns) == ("Sun in Paris, snow in Oslo.", 2)
    assert str(ending.reply.target) == TORCH


@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_that_outgrows_one_server_goes_on_at_the_other(arguments, stream):
    """The question fits the window of 256 tokens; with the call and its result it does not.

    Where it is streamed llama-cpp-python sends nothing then, under a good status, and hangs up.
    """
    async with Host(**arguments) as host:
        ending = await converse(host, ask("weather in Paris", "small-first"), stream)
    assert (ending.text, ending.turns) == ("It is sunny in Paris.", 2)
    assert str(ending.reply.target) == TORCH
    (attempt,) = ending.reply.attempts
    assert isinstance(attempt.error, (TruncatedStreamError, ResetError) if stream else TooLongError)
    assert str(attempt.target) == "llama/small"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "before,after",
    [(TORCH, LLAMA), (LLAMA, TORCH), (ITEMS, LLAMA), (ITEMS, TORCH)],
    ids=["torch-to-llama", "llama-to-torch", "items-to-llama", "items-to-torch"],
)
async def test_a_conversation_moves_midway(arguments, before, after, stream):
    """Asked here, stored, and answered there with the results of both calls."""
    async with Host(**arguments) as host:
        question = Message.user("weather in Paris and Oslo")
        reply, _ = await answer(host, ask([question], before, tools=[WEATHER]), stream)
        results = [
            ToolResultPart(call.id, name=call.name, parts=Weather.sky[call.arguments["city"]])
            for call in reply.tool_calls
        ]
        history = [question, reply.message, Message("tool", results)]
        stored = [loads(Message, dumps(message)) for message in history]
        last = await host.call(ask(stored, after, tools=[WEATHER]))
    assert last.text == "Sun in Paris, snow in Oslo."
