"""Against `transformers serve`, a real server that nobody here wrote, with a model that knows its answers."""

import asyncio

import pytest

from gleitzeit import BlockingHost, Chat, Host, Message, Model, TextDelta
from gleitzeit.errors import InvalidRequestError, ServerFaultError, UnknownModelError
from gleitzeit.values import Completion, Embedding, ThinkingDelta
from tests.realserver.talk import CITIES, HELLO, PROMPT, ROUND_TRIPS, TOKENS, WEATHER, answer, ask, converse

pytestmark = pytest.mark.realserver

MODEL = "real/./tiny"


@pytest.fixture
def arguments(server, local):
    return local(real={"plugin": "openai", "base_url": server})


@pytest.mark.feature("S001-02", "S002-12")
async def test_a_reply_with_text_of_many_bytes(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask("hi", MODEL))
    assert (reply.text, reply.finish_reason, reply.model) == (HELLO, "stop", "./tiny@main")
    assert (reply.usage.input, reply.usage.output) == (18, TOKENS + 1)


@pytest.mark.feature("S001-04")
async def test_a_stream_gives_the_same_text_in_pieces(arguments):
    """This server sends no `[DONE]`, and the usage with its last chunk."""
    async with Host(**arguments) as host, host.stream(ask("hi", MODEL)) as stream:
        pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
    assert "".join(pieces) == HELLO
    assert len(pieces) > 3
    assert stream.reply.finish_reason == "stop"
    assert (stream.reply.usage.input, stream.reply.usage.output) == (18, TOKENS + 1)


async def test_a_system_message_changes_the_answer(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask([Message.system("be brief"), Message.user("hi")], MODEL))
    assert reply.text == "Hi."


async def test_thinking_is_not_part_of_the_answer(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask("think", MODEL))
        async with host.stream(ask("think", MODEL)) as stream:
            thought = [event.text async for event in stream if isinstance(event, ThinkingDelta)]
    assert (reply.text.strip(), reply.thinking.strip()) == ("42", "let me see")
    assert "".join(thought).strip() == "let me see"
    assert stream.reply.text.strip() == "42"


@pytest.mark.feature("S004-05")
@pytest.mark.parametrize("stream", [False, True])
async def test_two_parallel_calls_are_two_parts(arguments, stream):
    """They come parsed, beside empty text; in a stream each as one whole delta."""
    async with Host(**arguments) as host:
        reply, _ = await answer(host, ask("weather in Paris and Oslo", MODEL, tools=[WEATHER]), stream)
    assert [(call.name, dict(call.arguments)) for call in reply.tool_calls] == CITIES
    assert len({call.id for call in reply.tool_calls}) == 2
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")


@pytest.mark.feature("S004-05")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt, sentence", ROUND_TRIPS)
async def test_a_whole_tool_round_trip(arguments, prompt, sentence, stream):
    async with Host(**arguments) as host:
        ending = await converse(host, ask(prompt, MODEL), stream)
    assert (ending.text, ending.turns) == (sentence, 2)


def test_the_blocking_host_reaches_it_too(arguments):
    with BlockingHost(**arguments) as host:
        assert host.call(ask("hi", MODEL)).text.startswith("Hello there!")


@pytest.mark.feature("S001-02")
async def test_a_length_limit_is_a_finish_reason(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask("hi", MODEL, max_tokens=3))
    assert reply.finish_reason == "length"
    assert reply.usage.output == 3


async def test_a_wrong_model_is_a_typed_error(arguments):
    async with Host(**arguments) as host:
        with pytest.raises((InvalidRequestError, UnknownModelError), match="pinned") as caught:
            await host.call(Chat("hi").to("real/nobody"))
    assert (caught.value.status, caught.value.provider) == (400, "real")
    assert not caught.value.retryable


async def test_an_unknown_field_is_a_typed_error(arguments):
    async with Host(**arguments) as host:
        with pytest.raises(InvalidRequestError, match="no_such_field") as caught:
            await host.call(Chat("hi", options={"openai": {"no_such_field": 1}}).to(MODEL))
    assert (caught.value.status, caught.value.provider) == (422, "real")


async def test_a_fault_as_plain_text_is_a_typed_error_and_calls_go_on(arguments):
    """A wrong type ends in 500 as text/plain, after which this server drops the connection."""
    providers = arguments["config"]["providers"]
    providers["once"] = {**providers["real"], "retry": {"max_retries": 0}}
    async with Host(**arguments) as host:
        with pytest.raises(ServerFaultError) as caught:
            await host.call(Chat("hi", options={"openai": {"temperature": "hot"}}).to("once/./tiny"))
        assert (caught.value.status, caught.value.body) == (500, "Internal Server Error")
        assert caught.value.retryable
        assert (await host.call(ask("hi", MODEL))).text == HELLO


async def test_embeddings_are_what_this_server_does_not_have(arguments):
    async with Host(**arguments) as host:
        with pytest.raises(InvalidRequestError) as caught:
            await host.call(Embedding("hi").to(MODEL))
    assert caught.value.status == 404
    assert "base_url" in caught.value.hint


async def test_a_prompt_beyond_the_window_is_answered_all_the_same(arguments):
    """This release does not look at the window of 2048 tokens; the usage tells."""
    async with Host(**arguments) as host:
        reply = await host.call(ask("x " * 1050, MODEL, max_tokens=2))
    assert reply.finish_reason == "length"
    assert reply.usage.input > 2048


@pytest.mark.parametrize("stream", [False, True])
async def test_a_text_is_continued(arguments, stream):
    arguments["config"]["providers"]["real"]["completion_api"] = "completions"
    request = Completion(PROMPT, max_tokens=40, temperature=0.0).to(MODEL, timeout=300)
    async with Host(**arguments) as host:
        reply, seen = await answer(host, request, stream)
    assert not stream or len([event for event in seen if isinstance(event, TextDelta)]) > 3
    assert (reply.text, reply.finish_reason) == (HELLO, "stop")
    assert (reply.usage.input, reply.usage.output) == (18, TOKENS + 1)


async def test_cancelling_in_mid_stream_leaves_the_server_usable(arguments):
    async with Host(**arguments) as host:
        first = asyncio.Event()

        async def read():
            async with host.stream(ask("hi", MODEL)) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        first.set()
                        await asyncio.Event().wait()

        task = asyncio.create_task(read())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await host.call(ask("hi", MODEL))).finish_reason == "stop"


async def test_health_is_good_although_the_list_of_models_fails_offline(arguments):
    async with Host(**arguments) as host:
        await host.call(ask("hi", MODEL))
        (row,) = [row for row in await host.health(deep=True) if row.name == "real"]
        assert row.health.status == "ok"
        assert "lists no models" in row.health.detail


async def test_the_list_of_models_fails_offline_as_a_typed_error(arguments):
    async with Host(**arguments) as host:
        (outcome,) = [one for one in await host.hooks.provide_models() if one.plugin == "real"]
    assert isinstance(outcome.error, ServerFaultError)


async def test_a_known_model_needs_no_listing(arguments):
    arguments["config"]["providers"]["real"]["models"] = ["./tiny"]
    async with Host(**arguments) as host:
        assert (await host.call(ask("hi", MODEL))).target.model == Model("./tiny")
