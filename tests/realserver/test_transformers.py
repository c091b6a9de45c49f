"""Against `transformers serve`, a real server that nobody here wrote, with a model that knows its answers."""

import asyncio

import pytest

from gleitzeit import BlockingHost, Chat, Host, Message, Model, Provider, Reply, TextDelta
from gleitzeit.errors import InvalidRequestError, UnknownModelError, UpstreamError
from gleitzeit.values import ThinkingDelta, Tool
from tests.realserver.model import TOOL

pytestmark = pytest.mark.realserver


class Weather(Provider):
    """The tool that the model knows."""

    sky = {"Paris": "sunny", "Oslo": "snow"}  # noqa: RUF012 - read only

    def provide_tools(self):
        yield Tool(TOOL["name"], description=TOOL["description"], input_schema=TOOL["parameters"])

    async def call(self, request):
        return Reply(self.sky[request.operation.arguments["city"]])


MODEL = "real/./tiny"


@pytest.fixture
def arguments(server):
    config = {
        "providers": {"real": {"plugin": "openai", "base_url": server, "max_tokens_field": "max_tokens"}}
    }
    return {"config": config, "plugins": {"weather": Weather}, "environ": {}}


def ask(prompt, **fields):
    return Chat(prompt, temperature=0.0, **fields).to(MODEL, timeout=60)


@pytest.mark.feature("S002-12")
async def test_a_reply_with_text_of_many_bytes(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask("hi"))
    assert reply.text == "Hello there! Grüße 你好 😀."
    assert reply.finish_reason == "stop"
    assert reply.usage.input == 18
    assert reply.usage.output > 5


@pytest.mark.feature("S001-04")
async def test_a_stream_gives_the_same_text_in_pieces(arguments):
    async with Host(**arguments) as host, host.stream(ask("hi")) as stream:
        pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
    assert "".join(pieces) == "Hello there! Grüße 你好 😀."
    assert len(pieces) > 3
    assert stream.reply.finish_reason == "stop"


async def test_a_system_message_changes_the_answer(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask([Message.system("be brief"), Message.user("hi")]))
    assert reply.text == "Hi."


async def test_thinking_is_not_part_of_the_answer(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask("think"))
        async with host.stream(ask("think")) as stream:
            thought = [event.text async for event in stream if isinstance(event, ThinkingDelta)]
    assert (reply.text.strip(), reply.thinking.strip()) == ("42", "let me see")
    assert "".join(thought).strip() == "let me see"
    assert stream.reply.text.strip() == "42"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "prompt,answer",
    [
        ("weather in Paris", "It is sunny in Paris."),
        ("weather in Paris and Oslo", "Sun in Paris, snow in Oslo."),
    ],
)
async def test_a_whole_tool_round_trip(arguments, prompt, answer, stream):
    async with Host(**arguments) as host:
        conversation = host.converse(ask(prompt), tools=["get_weather"])
        if stream:
            async with conversation:
                async for _ in conversation:
                    pass
            ending = conversation.ending
        else:
            ending = await conversation
    assert ending.text == answer
    assert ending.turns == 2


def test_the_blocking_host_reaches_it_too(arguments):
    with BlockingHost(**arguments) as host:
        assert host.call(ask("hi")).text.startswith("Hello there!")


async def test_a_length_limit_is_a_finish_reason(arguments):
    async with Host(**arguments) as host:
        reply = await host.call(ask("hi", max_tokens=3))
    assert reply.finish_reason == "length"
    assert reply.usage.output == 3


async def test_a_wrong_model_is_a_typed_error(arguments):
    async with Host(**arguments) as host:
        with pytest.raises((InvalidRequestError, UnknownModelError)) as caught:
            await host.call(Chat("hi").to("real/nobody"))
    assert caught.value.status == 400
    assert caught.value.provider == "real"


@pytest.mark.parametrize(
    "options,kind,status",
    [
        ({"no_such_field": 1}, InvalidRequestError, 422),
        ({"temperature": "hot"}, UpstreamError, 500),  # text/plain, as this server answers to a wrong type
    ],
)
async def test_what_the_server_refuses_is_a_typed_error_and_it_lives_on(arguments, options, kind, status):
    async with Host(**arguments) as host:
        with pytest.raises(kind) as caught:
            await host.call(Chat("hi", options={"openai": options}).to(MODEL))
    assert (caught.value.status, caught.value.provider) == (status, "real")
    async with Host(**arguments) as host:  # anew: this server drops the connection after its own faults
        assert (await host.call(ask("hi"))).text.startswith("Hello")


async def test_cancelling_in_mid_stream_leaves_the_server_usable(arguments):
    async with Host(**arguments) as host:
        first = asyncio.Event()

        async def read():
            async with host.stream(ask("hi")) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        first.set()
                        await asyncio.Event().wait()

        task = asyncio.create_task(read())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await host.call(ask("hi"))).finish_reason == "stop"


async def test_health_is_good_although_the_list_of_models_fails_offline(arguments):
    async with Host(**arguments) as host:
        await host.call(ask("hi"))
        (row,) = [row for row in await host.health(deep=True) if row.name == "real"]
    assert row.health.status in ("ok", "degraded")


async def test_a_known_model_needs_no_listing(arguments):
    arguments["config"]["providers"]["real"]["models"] = ["./tiny"]
    async with Host(**arguments) as host:
        assert (await host.call(ask("hi"))).target.model == Model("./tiny")
