"""Streams that end early at real servers: left by their reader, or cut by the server itself."""

import asyncio

import pytest

from gleitzeit import Chat, Host, TextDelta
from gleitzeit.errors import TruncatedStreamError
from tests.realserver.servers import KEY
from tests.realserver.talk import ask

pytestmark = pytest.mark.realserver

#: Tokens that llama.cpp is made to write, as it otherwise ends when the model does.
MANY = 700


@pytest.fixture
def arguments(llama, local):
    return local(plain={"plugin": "openai", "base_url": llama, "api_key": KEY})


def endless():
    options = {"openai": {"min_tokens": MANY}}
    return Chat("hi", temperature=0.0, max_tokens=MANY, options=options).to("plain/tiny", timeout=300)


async def test_leaving_a_stream_leaves_the_server_usable(arguments):
    async with Host(**arguments) as host:
        async with host.stream(endless()) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
        assert (await host.call(ask("hi", "plain/tiny"))).finish_reason == "stop"


async def test_cancelling_in_mid_stream_leaves_the_server_usable(arguments):
    async with Host(**arguments) as host:
        first = asyncio.Event()

        async def read():
            async with host.stream(endless()) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        first.set()
                        await asyncio.Event().wait()

        task = asyncio.create_task(read())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await host.call(ask("hi", "plain/tiny"))).finish_reason == "stop"


async def test_a_stream_that_the_server_cuts_for_another_call_is_not_taken_for_whole(arguments):
    """It then writes `[DONE]` without a finish reason, as it does unless `interrupt_requests` is off."""
    async with Host(**arguments) as host:
        first = asyncio.Event()
        pieces = []

        async def read():
            async with host.stream(endless()) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        pieces.append(event.text)
                        first.set()
            return stream.reply

        task = asyncio.create_task(read())
        await first.wait()
        assert (await host.call(ask("hi", "plain/tiny"))).finish_reason == "stop"
        try:
            reply = await task
        except TruncatedStreamError as error:
            assert error.partial.text == "".join(pieces)  # noqa: PT017 - either end is right, by who was first
        else:
            assert reply.finish_reason == "length"
