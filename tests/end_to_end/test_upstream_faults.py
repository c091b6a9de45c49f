"""Whatever an upstream does to us, a caller gets one clear error and the host goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gleitzeit import Chat, Host, TextDelta, ToolCall
from gleitzeit.errors import (
    DeadlineError,
    GleitzeitError,
    MalformedAnswerError,
    QuotaExhaustedError,
    RateLimitedError,
    ResetError,
    ServerFaultError,
    TruncatedStreamError,
    UnknownModelError,
    UpstreamError,
    WireError,
)
from gleitzeit.testing.openai_server import OpenAIServer
from tests.end_to_end.conftest import Place

#: Model of the OpenAI-shaped server -> the error of a call, and of a stream (None: as of a call).
FAULTS: dict[str, tuple[type[GleitzeitError], type[GleitzeitError] | None]] = {
    "silent": (DeadlineError, None),
    "halting": (DeadlineError, None),
    "reset": (ResetError, None),
    "reset-midway": (ResetError, None),
    "closes": (WireError, None),
    "garbage": (GleitzeitError, None),
    "half": (MalformedAnswerError, UpstreamError),
    "not-json": (MalformedAnswerError, UpstreamError),
    "busy": (RateLimitedError, None),
    "broke": (QuotaExhaustedError, None),
    "broken": (ServerFaultError, None),
}
STREAM_FAULTS: dict[str, type[GleitzeitError]] = {
    "cut": TruncatedStreamError,
    "error-in-stream": ServerFaultError,
}


def within(model: str) -> float:
    """Seconds for a call: few where only they end it, plenty where a busy machine must not."""
    return 0.5 if model in ("silent", "halting") else 60.0


def clear(error: GleitzeitError) -> None:
    """It says whose it is and holds no key."""
    assert error.provider == "wire" or isinstance(error, DeadlineError)
    assert "sk-end-to-end" not in f"{error!r} {error} {error.to_dict()}"


@pytest.mark.parametrize("model", sorted(FAULTS.keys() - {"halting", "reset-midway"}))
async def test_a_call_ends_in_one_clear_error(model: str, host: Callable[..., Host]) -> None:
    async with host() as h:
        with pytest.raises(FAULTS[model][0]) as raised:
            await h.call(Chat("you").to(f"wire/{model}", timeout=within(model)))
        clear(raised.value)
        assert (await h.call(Chat("you").to("wire/good"))).text == "all is well with you"


@pytest.mark.parametrize("model", sorted({*FAULTS, *STREAM_FAULTS}))
async def test_a_stream_ends_in_one_clear_error(model: str, host: Callable[..., Host]) -> None:
    wanted = STREAM_FAULTS.get(model) or FAULTS[model][1] or FAULTS[model][0]
    async with host() as h:
        with pytest.raises(wanted) as raised:
            await h.stream(Chat("you").to(f"wire/{model}", timeout=within(model))).collect()
        clear(raised.value)
        assert (await h.stream(Chat("you").to("wire/good")).collect()).text == "all is well with you"


@pytest.mark.parametrize("model", ["halting", "reset-midway", "cut", "error-in-stream"])
async def test_what_was_delivered_before_the_fault_is_kept(model: str, host: Callable[..., Host]) -> None:
    pieces: list[str] = []

    async def read(h: Host) -> None:
        async with h.stream(Chat("you").to(f"wire/{model}", timeout=within(model))) as stream:
            stream.tap(lambda event: pieces.append(event.text) if isinstance(event, TextDelta) else None)
            await stream.collect()

    async with host() as h:
        with pytest.raises(GleitzeitError) as raised:
            await read(h)
    assert "".join(pieces).startswith("one")
    assert raised.value.partial.text == "".join(pieces)


async def test_an_unknown_model_of_the_upstream_is_told_with_its_name(host: Callable[..., Host]) -> None:
    async with host() as h:
        with pytest.raises(UnknownModelError, match="gooood"):
            await h.call(Chat("you").to("wire/gooood"))


async def test_an_address_where_nobody_listens_is_told(host: Callable[..., Host]) -> None:
    async with host() as h:
        with pytest.raises(WireError, match=r"127\.0\.0\.1:9") as raised:
            await h.call(Chat("you").to("nobody/m"))
    assert raised.value.sent is False


@pytest.mark.feature("S001-06")
@pytest.mark.parametrize("stream", [False, True])
async def test_cancel_before_the_first_token_reaches_upstream(
    stream: bool, host: Callable[..., Host], upstream: OpenAIServer
) -> None:
    async with host() as h:
        request = Chat("you").to("wire/silent")
        task = asyncio.create_task(h.stream(request).collect() if stream else h.call(request))
        call = await upstream.request()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(call.closed.wait(), 20)


@pytest.mark.feature("S001-06")
async def test_cancel_midway_reaches_upstream(host: Callable[..., Host], upstream: OpenAIServer) -> None:
    first = asyncio.Event()

    async def read(h: Host) -> None:
        async with h.stream(Chat("you").to("wire/halting")) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    first.set()

    async with host() as h:
        task = asyncio.create_task(read(h))
        await asyncio.wait_for(first.wait(), 20)
        call = await upstream.request()
        assert not call.closed.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(call.closed.wait(), 20)


async def test_leaving_a_stream_early_reaches_upstream(
    host: Callable[..., Host], upstream: OpenAIServer
) -> None:
    async with host() as h:
        async with h.stream(Chat("you").to("wire/halting")) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
        call = await upstream.request()
        await asyncio.wait_for(call.closed.wait(), 20)


#: Model -> exit code of `gleitzeit chat`, and a word of what it says.
COMMANDS = {
    "silent": (10, "deadline"),
    "reset": (9, "reset"),
    "garbage": (9, "HTTP"),
    "half": (8, "JSON"),
    "busy": (7, "slow down"),
    "broke": (7, "pay first"),
    "broken": (8, "it burns"),
    "cut": (8, "incomplete"),
    "error-in-stream": (8, "it burns midway"),
    "gooood": (5, "gooood"),
}


@pytest.mark.parametrize("model", COMMANDS)
def test_a_command_says_it_in_a_sentence_and_by_its_exit_code(
    model: str, place: Place, elsewhere: str
) -> None:
    place.environ["WIRE"] = elsewhere
    ended = place.run("chat", "-m", f"wire/{model}", "--timeout", "2" if model == "silent" else "60", "you")
    code, word = COMMANDS[model]
    assert ended.code == code, ended.err
    assert [line[:7] for line in ended.err.splitlines()].count("error: ") == 1
    assert word.lower() in ended.err.lower()
    assert "Traceback" not in ended.err
    assert "sk-end-to-end" not in ended.out + ended.err


def test_a_command_that_breaks_off_has_printed_what_came(place: Place, elsewhere: str) -> None:
    place.environ["WIRE"] = elsewhere
    assert place.run("chat", "-m", "wire/cut", "you").out.startswith("one")


async def test_a_tool_that_reports_a_failure_is_an_answer_not_an_error(host: Callable[..., Host]) -> None:
    async with host() as h:
        reply = await h.call(ToolCall({"timezone": "Nowhere/Land"}).to("time/get_current_time"))
    assert reply.is_error
    assert "Nowhere/Land" in reply.text
