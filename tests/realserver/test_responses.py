"""The Responses API of `transformers serve`: another dialect of the same server and model.

Its streams give the empty message beside calls the place of the last call.
"""

from collections import Counter

import pytest

from gleitzeit import Chat, Host, Message, TextDelta
from gleitzeit.errors import InvalidRequestError, UnknownModelError, UnsupportedError
from gleitzeit.values import ThinkingDelta
from gleitzeit.wire.codec import dumps, loads
from tests.realserver.talk import CITIES, HELLO, ROUND_TRIPS, TOKENS, WEATHER, answer, ask, converse

pytestmark = pytest.mark.realserver

MODEL = "real/./tiny"


@pytest.fixture
def arguments(server, local):
    return local(real={"plugin": "openai", "base_url": server, "api": "responses"})


@pytest.mark.parametrize("stream", [False, True])
async def test_text_and_usage(arguments, stream):
    """Left to itself this server would stream; what is asked for is what comes."""
    async with Host(**arguments) as host:
        reply, seen = await answer(host, ask("hi", MODEL), stream)
    assert (reply.text, reply.finish_reason, reply.model) == (HELLO, "stop", "./tiny@main")
    assert (reply.usage.input, reply.usage.output) == (18, TOKENS + 1)
    assert not stream or len([event for event in seen if isinstance(event, TextDelta)]) > 3


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_is_an_item_of_its_own(arguments, stream):
    async with Host(**arguments) as host:
        reply, seen = await answer(host, ask("think", MODEL), stream)
    assert (reply.text.strip(), reply.thinking.strip()) == ("42", "let me see")
    thought = "".join(event.text for event in seen if isinstance(event, ThinkingDelta))
    assert not stream or thought.strip() == "let me see"


async def test_a_system_message_changes_the_answer(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask([Message.system("be brief"), Message.user("hi")], MODEL))
    assert reply.text == "Hi."


@pytest.mark.parametrize("stream", [False, True])
async def test_two_parallel_calls_are_two_parts(arguments, stream):
    async with Host(**arguments) as host:
        reply, _ = await answer(host, ask("weather in Paris and Oslo", MODEL, tools=[WEATHER]), stream)
    assert [(call.name, dict(call.arguments)) for call in reply.tool_calls] == CITIES
    assert len({call.id for call in reply.tool_calls}) == 2
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")


@pytest.mark.parametrize("prompt, _", ROUND_TRIPS)
async def test_a_stream_has_the_parts_of_the_whole_answer(arguments, prompt, _):
    """In the order of the stream, where this server puts an empty message behind the calls."""
    async with Host(**arguments) as host:
        whole, _ = await answer(host, ask(prompt, MODEL, tools=[WEATHER]), stream=False)
        streamed, _ = await answer(host, ask(prompt, MODEL, tools=[WEATHER]), stream=True)
    calls = [part for part in whole.message.parts if part.type == "tool_call"]
    assert [part.name for part in calls] == [
        part.name for part in streamed.message.parts if part.type == "tool_call"
    ]
    assert Counter(part.type for part in streamed.message.parts) == Counter(
        part.type for part in whole.message.parts
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt, sentence", ROUND_TRIPS)
async def test_a_whole_tool_round_trip(arguments, prompt, sentence, stream):
    """The items go back as they came, and the model knows the conversation again."""
    async with Host(**arguments) as host:
        ending = await converse(host, ask(prompt, MODEL), stream=stream)
    assert (ending.text, ending.turns) == (sentence, 2)


async def test_a_conversation_goes_on_after_it_was_stored(arguments):
    async with Host(**arguments) as host:
        ending = await converse(host, ask("weather in Paris", MODEL), stream=False)
        stored = [loads(Message, dumps(message)) for message in ending.messages[:-1]]
        again = await converse(host, ask(stored, MODEL), stream=False)
    assert (again.text, again.turns) == ("It is sunny in Paris.", 1)


async def test_the_output_limit_is_kept_though_the_server_calls_it_complete(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask("hi", MODEL, max_tokens=3))
    assert reply.usage.output == 3
    assert HELLO.startswith(reply.text)
    assert reply.raw_finish_reason == "completed"


async def test_a_wrong_model_is_a_typed_error(arguments):
    async with Host(**arguments) as host:
        with pytest.raises((InvalidRequestError, UnknownModelError), match="pinned") as caught:
            await host.call(Chat("hi").to("real/nobody"))
    assert caught.value.status == 400


async def test_what_this_api_does_not_have_is_refused_before_anything_is_sent(arguments):
    async with Host(**arguments) as host:
        with pytest.raises(UnsupportedError) as caught:
            await host.call(ask("hi", MODEL, seed=1))
    assert caught.value.sent is not True
