"""Refusals, broken connections and cancellation, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.errors import (
    AuthenticationError,
    CannotConnectError,
    ContentRefusedError,
    DeadlineError,
    GleitzeitError,
    MalformedAnswerError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    ResetError,
    ServerFaultError,
    TooLongError,
    TruncatedStreamError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.testing import FakeContext
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import Chat, Embedding, Event, Stream, TextDelta

Make = Callable[..., OpenAI]
KEY = "sk-canary-0123456789abcdef"


async def ask(provider: OpenAI, *, stream: bool = False, model: str = "scripted-echo") -> Any:
    answer = await provider.call(Chat("hi").to(model, stream=stream))
    return await answer.collect() if isinstance(answer, Stream) else answer


@pytest.mark.parametrize(
    "status, code, type, expected",
    [
        (400, "context_length_exceeded", "invalid_request_error", TooLongError),
        (400, "unsupported_value", "invalid_request_error", UnsupportedError),
        (400, "content_filter", None, ContentRefusedError),
        (404, "model_not_found", "invalid_request_error", UnknownModelError),
        (429, "rate_limit_exceeded", "requests", RateLimitedError),
        (429, "insufficient_quota", "insufficient_quota", QuotaExhaustedError),
        (500, None, "server_error", ServerFaultError),
        (503, None, "overloaded", OverloadedError),
        (529, None, "overloaded_error", OverloadedError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_are_typed(
    provider: OpenAI,
    server: OpenAIServer,
    status: int,
    code: str | None,
    type: str,
    expected: Any,
    stream: bool,
) -> None:
    headers = {"retry-after": "7", "x-request-id": "req-5"}
    server.answers.append(Answer.error(status, "No.", code=code, type=type, headers=headers))
    with pytest.raises(expected) as caught:
        await ask(provider, stream=stream)
    error = caught.value
    assert (error.status, error.provider, error.request_id) == (status, "acme", "req-5")
    assert (error.retry_after, error.sent) == (7.0, True)
    assert len(server.requests) == 1, "nothing is tried twice here"


async def test_refusals_of_embeddings_are_typed_alike(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.append(
        Answer(status=422, body={"detail": [{"loc": ["body", "input"], "msg": "too many"}]})
    )
    with pytest.raises(GleitzeitError, match=r"acme: HTTP 422: 'body\.input: too many'"):
        await provider.call(Embedding("x").to("scripted-embedding"))


async def test_a_wrong_key_names_the_setting_and_the_variable_but_not_the_key(make: Make) -> None:
    wrong = "sk-wrong-abcdefgh-0123456789"
    for stream in (False, True):
        with pytest.raises(AuthenticationError) as caught:
            await ask(make(api_key=wrong), stream=stream)
        shown = f"{caught.value} {caught.value!r} {caught.value.to_dict()}"
        assert "`api_key` in [providers.acme]" in shown
        assert "OPENAI_API_KEY" in shown
        assert "sk-wrong" not in shown
        assert "0123456789" not in shown


async def test_a_missing_key_is_told_before_anything_is_sent_to_openai() -> None:
    async with FakeContext("openai") as context:
        with pytest.raises(AuthenticationError, match=r"no key for api\.openai\.com") as caught:
            await OpenAI(OpenAI.Config(), context).call(Chat("x").to("gpt-x"))
    assert caught.value.sent is False
    assert "OPENAI_API_KEY" in str(caught.value)


async def test_a_missing_key_is_told_by_a_server_that_wants_one(make: Make) -> None:
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        await ask(make(api_key=None))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "said",
    ["denied: hunter2-hunter2", '{"error": "hunter2-hunter2', '{"error": {"message": "hunter2-hunter2"}}'],
)
async def test_a_secret_of_any_shape_that_comes_back_is_not_shown(
    make: Make, server: OpenAIServer, said: str, stream: bool
) -> None:
    answer = Answer(frames=(said,)) if stream else Answer(body=said)
    server.answers.append(answer)
    with pytest.raises(GleitzeitError) as caught:
        await ask(make(headers={"X-Key": "hunter2-hunter2"}), stream=stream)
    assert "***" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value!r} {caught.value.to_dict()}"


@pytest.mark.parametrize(
    "fault, at, expected",
    [
        ("reset", None, ResetError),
        ("close", None, ResetError),
        ("garbage", None, ResetError),
        ("reset", 0, ResetError),
        ("close", 20, ResetError),
        ("reset", 20, ResetError),
        ("cut", 20, MalformedAnswerError),
    ],
)
async def test_a_whole_answer_that_breaks(
    provider: OpenAI, server: OpenAIServer, fault: Any, at: int | None, expected: type[Exception]
) -> None:
    server.answers.append(Answer("never whole", fault=fault, at=at))
    with pytest.raises(expected) as caught:
        await ask(provider)
    assert isinstance(caught.value, GleitzeitError)
    assert caught.value.retryable
    assert caught.value.sent is True


@pytest.mark.parametrize(
    "fault, expected", [("reset", ResetError), ("close", ResetError), ("cut", TruncatedStreamError)]
)
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_stream_that_breaks_keeps_what_came(
    provider: OpenAI, server: OpenAIServer, fault: Any, expected: type[GleitzeitError], after: int
) -> None:
    server.answers.append(Answer("one two three four", fault=fault, after=after))
    stream = await provider.call(Chat("x").to("scripted-echo", stream=True))
    assert isinstance(stream, Stream)
    events: list[Event] = []
    stream.tap(events.append)
    with pytest.raises(expected) as caught:
        await stream.collect()
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    # A reset may overtake bytes that were sent before it.
    assert text == "".join(["one", " two"][: max(after - 1, 0)]) or fault == "reset"
    assert caught.value.partial.text == text


@pytest.mark.parametrize("at", [1, 17, 180, 200, 331])
async def test_a_stream_cut_cleanly_inside_a_frame_is_an_error(
    provider: OpenAI, server: OpenAIServer, at: int
) -> None:
    server.answers.append(Answer("one two three four", fault="cut", at=at))
    with pytest.raises(TruncatedStreamError):
        await ask(provider, stream=True)


async def test_a_slow_drip_is_read(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.append(Answer("Grüße 你好 😀", chunk=1))
    assert (await ask(provider, stream=True)).text == "Grüße 你好 😀"


async def test_nobody_at_the_address(make: Make) -> None:
    with pytest.raises(CannotConnectError, match=r"acme at http://127\.0\.0\.1:9: cannot connect") as caught:
        await ask(make(base_url="http://127.0.0.1:9/v1"))
    assert caught.value.sent is False


@pytest.mark.parametrize("stream", [False, True])
async def test_a_read_timeout_ends_a_stall(make: Make, server: OpenAIServer, stream: bool) -> None:
    server.answers.append(Answer(fault="stall"))
    with pytest.raises(DeadlineError):
        await ask(make(read_timeout=0.05), stream=stream)
    await asyncio.wait_for((await server.request()).closed.wait(), 30)


async def test_a_stall_ends_with_the_callers_deadline(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.append(Answer("a b c", fault="stall", after=2))

    async def read() -> None:
        async with asyncio.timeout(None) as deadline:
            answer = await provider.call(Chat("x").to("scripted-echo", stream=True))
            assert isinstance(answer, Stream)
            async for event in answer:
                if isinstance(event, TextDelta):  # nothing follows it
                    deadline.reschedule(asyncio.get_running_loop().time())

    with pytest.raises(TimeoutError):
        await read()
    await asyncio.wait_for(server.requests[0].closed.wait(), 10)


@pytest.mark.feature("S001-06")
@pytest.mark.parametrize("stream", [False, True])
async def test_cancel_before_the_first_token_reaches_the_upstream(
    provider: OpenAI, server: OpenAIServer, stream: bool
) -> None:
    server.answers.append(Answer(fault="stall"))
    call = asyncio.ensure_future(ask(provider, stream=stream))
    arrived = await server.request()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(arrived.closed.wait(), 30)


@pytest.mark.feature("S001-06")
async def test_cancel_in_mid_stream_reaches_the_upstream(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.append(Answer("one two three", fault="stall", after=3))
    stream = await provider.call(Chat("x").to("scripted-echo", stream=True))
    assert isinstance(stream, Stream)
    await anext(stream)
    assert await anext(stream) == TextDelta("one")
    assert await anext(stream) == TextDelta(" two")
    reader = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.wait_for(server.requests[0].closed.wait(), 30)
    assert not server.requests[0].done.is_set()


async def test_leaving_a_stream_early_reaches_the_upstream(provider: OpenAI, server: OpenAIServer) -> None:
    server.answers.append(Answer("one two three", fault="stall", after=3))
    answer = await provider.call(Chat("x").to("scripted-echo", stream=True))
    assert isinstance(answer, Stream)
    async with answer as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    await asyncio.wait_for(server.requests[0].closed.wait(), 30)


async def test_a_stream_that_was_opened_and_never_read_is_closed(
    provider: OpenAI, server: OpenAIServer
) -> None:
    server.answers.append(Answer("one", fault="stall", after=1))
    stream = await provider.call(Chat("x").to("scripted-echo", stream=True))
    assert isinstance(stream, Stream)
    await stream.aclose()
    await asyncio.wait_for(server.requests[0].closed.wait(), 30)


async def test_after_every_fault_the_next_call_goes_well(provider: OpenAI, server: OpenAIServer) -> None:
    for fault in ("reset", "close", "garbage", "cut"):
        server.answers.append(Answer("x", fault=fault, at=5))
        with pytest.raises(GleitzeitError):
            await ask(provider, stream=True)
        assert (await ask(provider)).text.endswith("hi")
