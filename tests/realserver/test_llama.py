"""Against llama-cpp-python's server, which has its own mind about tools, thinking, usage and errors."""

import pytest

from gleitzeit import Chat, Host, Message, TextDelta
from gleitzeit.errors import (
    AuthenticationError,
    MalformedAnswerError,
    ResetError,
    ServerFaultError,
    TooLongError,
    TruncatedStreamError,
)
from gleitzeit.values import Completion, Embedding, Tool
from tests.realserver.servers import KEY
from tests.realserver.talk import CITIES, HELLO, PROMPT, ROUND_TRIPS, TOKENS, WEATHER, answer, ask, converse

pytestmark = pytest.mark.realserver

#: Some 600 tokens: more than `small` can read, less than `tiny` can.
LONG = "x " * 300
PLAIN, TAGS = "plain/tiny", "tags/tiny"


@pytest.fixture
def arguments(llama, local):
    """Instances of one server: `plain` takes its text as it is, `tags` finds calls and thinking in it."""
    config = {"plugin": "openai", "base_url": llama, "api_key": KEY}
    found = {**config, "tool_calls": "hermes", "thinking": "tags"}
    return local(plain=config, tags=found, locked={**config, "api_key": "another-key"})


@pytest.mark.feature("S001-02")
async def test_a_reply_with_text_of_many_bytes(arguments):
    """Its usage leaves out the token that ends the answer."""
    async with Host(**arguments) as host:
        reply = await host.call(ask("hi", PLAIN))
    assert (reply.text, reply.finish_reason, reply.model) == (HELLO, "stop", "tiny")
    assert (reply.usage.input, reply.usage.output) == (18, TOKENS)


async def test_a_stream_gives_the_same_text_without_usage(arguments):
    """It is asked for usage in streams and sends none: None, and not zero."""
    async with Host(**arguments) as host, host.stream(ask("hi", PLAIN)) as stream:
        pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
    assert "".join(pieces) == HELLO
    assert len(pieces) > 3
    assert (stream.reply.finish_reason, stream.reply.usage) == ("stop", None)


async def test_a_system_message_changes_the_answer(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask([Message.system("be brief"), Message.user("hi")], PLAIN))
    assert reply.text == "Hi."


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_is_text_unless_tags_are_looked_for(arguments, stream):
    async with Host(**arguments) as host:
        raw, _ = await answer(host, ask("think", PLAIN), stream)
        told, _ = await answer(host, ask("think", TAGS), stream)
    assert (raw.text, raw.thinking) == ("<think>\nlet me see\n</think>\n\n42", "")
    assert (told.text.strip(), told.thinking.strip()) == ("42", "let me see")


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_are_text_unless_tags_are_looked_for(arguments, stream):
    async with Host(**arguments) as host:
        raw, _ = await answer(host, ask("weather in Paris and Oslo", PLAIN, tools=[WEATHER]), stream)
        told, _ = await answer(host, ask("weather in Paris and Oslo", TAGS, tools=[WEATHER]), stream)
    assert raw.text.count("<tool_call>") == 2
    assert (raw.tool_calls, raw.finish_reason) == ((), "stop")
    assert [(call.name, dict(call.arguments)) for call in told.tool_calls] == CITIES
    assert len({call.id for call in told.tool_calls}) == 2
    assert (told.text.strip(), told.finish_reason) == ("", "tool_calls")


@pytest.mark.feature("S004-05")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt, sentence", ROUND_TRIPS)
async def test_a_whole_tool_round_trip(arguments, prompt, sentence, stream):
    """The turn with nothing but calls goes back; a content of null would be refused with 500."""
    async with Host(**arguments) as host:
        ending = await converse(host, ask(prompt, TAGS), stream)
    assert (ending.text, ending.turns) == (sentence, 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_named_tool_is_one_call_however_often_its_name_is_said(arguments, stream):
    """Forced by a grammar, with name and id on every fragment, and a copy in the old field."""
    cities = ["Paris", "Oslo"]
    schema = {"type": "object", "properties": {"city": {"enum": cities}}, "required": ["city"]}
    tool = Tool("get_weather", description="d", input_schema=schema)
    request = ask("weather in Paris", PLAIN, tools=[tool], tool_choice=tool.name)
    async with Host(**arguments) as host:
        reply, _ = await answer(host, request, stream)
    (call,) = reply.tool_calls
    assert call.name == "get_weather"
    assert call.arguments["city"] in cities
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")


async def test_a_prompt_that_is_too_long_is_a_typed_error(arguments):
    async with Host(**arguments) as host:
        with pytest.raises(TooLongError, match="256 tokens") as caught:
            await host.call(ask(LONG, "plain/small"))
        with pytest.raises(TooLongError):
            await host.call(Completion("x " * 1000).to(PLAIN))
    assert (caught.value.status, caught.value.vendor_code) == (400, "context_length_exceeded")
    assert "larger context" in caught.value.hint


async def test_what_is_too_long_for_one_model_goes_to_a_larger_one(arguments):
    arguments["config"]["providers"]["plain"]["models"] = [
        {"name": "small", "context_tokens": 256},
        {"name": "tiny", "context_tokens": 1024},
    ]
    arguments["config"]["routes"] = {"either": {"targets": ["plain/small", "plain/tiny"]}}
    async with Host(**arguments) as host:
        reply = await host.call(ask(LONG, "either", max_tokens=2))
    assert (reply.finish_reason, str(reply.target)) == ("length", "plain/tiny")
    (attempt,) = reply.attempts
    assert isinstance(attempt.error, TooLongError)


async def test_a_stream_of_nothing_is_an_error(arguments):
    """Where a prompt is too long for a stream, this server sends nothing under a good status and hangs up."""
    arguments["config"]["host"] = {"retry": {"max_retries": 0}}
    async with Host(**arguments) as host:
        with pytest.raises((TruncatedStreamError, ResetError)) as caught:
            await answer(host, ask(LONG, "plain/small"), stream=True)
    assert caught.value.provider == "plain"
    assert caught.value.fallback


async def test_any_name_of_a_model_is_answered_and_echoed(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask("hi", "plain/nobody"))
    assert (reply.text, reply.model) == (HELLO, "nobody")


async def test_models_are_listed_and_health_is_good(arguments):
    async with Host(**arguments) as host:
        (outcome,) = [one for one in await host.hooks.provide_models() if one.plugin == "plain"]
        health = {row.name: row.health for row in await host.health(deep=True)}
    assert [model.name for model in outcome.value] == ["tiny", "small", "vectors"]
    assert health["plain"].status == "ok"
    assert health["locked"].status == "error"


@pytest.mark.parametrize("key", ["another-key", None])
async def test_a_wrong_key_and_none_are_refused(arguments, key):
    arguments["config"]["providers"]["locked"]["api_key"] = key
    async with Host(**arguments) as host:
        with pytest.raises(AuthenticationError) as caught:
            await host.call(ask("hi", "locked/tiny"))
    assert (caught.value.status, caught.value.provider) == (401, "locked")
    assert "another-key" not in str(caught.value) + repr(caught.value)


async def test_one_vector_for_each_token_is_no_embedding(arguments):
    async with Host(**arguments) as host:
        with pytest.raises(MalformedAnswerError, match="one vector per token") as caught:
            await host.call(Embedding("hi").to("plain/vectors", timeout=300))
    assert "pooling" in caught.value.hint


@pytest.mark.parametrize("stream", [False, True])
async def test_a_text_is_continued(arguments, stream):
    arguments["config"]["providers"]["plain"]["completion_api"] = "completions"
    request = Completion(PROMPT, max_tokens=40, temperature=0.0).to(PLAIN, timeout=300)
    async with Host(**arguments) as host:
        reply, _ = await answer(host, request, stream)
    assert (reply.text, reply.finish_reason) == (HELLO, "stop")


@pytest.mark.feature("S001-02")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_length_limit_is_a_finish_reason(arguments, stream):
    async with Host(**arguments) as host:
        reply, _ = await answer(host, ask("hi", PLAIN, max_tokens=2), stream)
    assert (reply.text, reply.finish_reason) == ("Hel", "length")


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_come_with_the_reply(arguments, stream):
    options = {"openai": {"logprobs": True, "top_logprobs": 2}}
    async with Host(**arguments) as host:
        reply, _ = await answer(host, ask("hi", PLAIN, max_tokens=2, options=options), stream)
    tokens = reply.data["logprobs"]["content"]
    assert [token["token"] for token in tokens] == ["H", "el"]
    assert all(len(token["top_logprobs"]) == 2 and token["logprob"] <= 0 for token in tokens)


async def test_a_wrong_type_is_a_typed_error_and_calls_go_on(arguments):
    arguments["config"]["host"] = {"retry": {"max_retries": 0}}
    async with Host(**arguments) as host:
        with pytest.raises(ServerFaultError, match="valid number") as caught:
            await host.call(Chat("hi", options={"openai": {"temperature": "hot"}}).to(PLAIN))
        assert (await host.call(ask("hi", PLAIN))).text == HELLO
    assert (caught.value.status, caught.value.vendor_code) == (500, "internal_server_error")
