"""Refusals, rate limits, broken connections and cancellation, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_anthropic import Anthropic

from gleitzeit.errors import (
    AuthenticationError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    OverloadedError,
    PermissionDeniedError,
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
from gleitzeit.testing.anthropic_server import Answer, AnthropicServer
from gleitzeit.values import Chat, Completion, Embedding, Limit, Reply, Stream

Make = Callable[..., Anthropic]
COLD = Chat("hi", temperature=0.2, top_p=0.9)


async def ask(provider: Anthropic, chat: Chat | None = None, *, stream: bool = False) -> Reply:
    answer = await provider.call((chat or Chat("hi")).to("scripted-echo", stream=stream))
    return await answer.collect() if isinstance(answer, Stream) else answer


@pytest.mark.parametrize(
    "status, type, more, expected",
    [
        (400, "invalid_request_error", {}, InvalidRequestError),
        (
            400,
            "invalid_request_error",
            {"message": "prompt is too long: 210000 tokens > 200000 maximum"},
            TooLongError,
        ),
        (401, "authentication_error", {}, AuthenticationError),
        (402, "billing_error", {}, QuotaExhaustedError),
        (403, "permission_error", {}, PermissionDeniedError),
        (404, "not_found_error", {"message": "model: claude-x"}, UnknownModelError),
        (409, "conflict_error", {}, ServerFaultError),
        (413, "request_too_large", {}, TooLongError),
        (429, "rate_limit_error", {}, RateLimitedError),
        (429, "rate_limit_error", {"details": {"error_code": "ramp_limit_exceeded"}}, RateLimitedError),
        (
            429,
            "rate_limit_error",
            {"details": {"error_code": "enforced_spend_limit_reached"}},
            QuotaExhaustedError,
        ),
        (500, "api_error", {}, ServerFaultError),
        (503, "api_error", {"details": {"error_code": "cmek_unavailable"}}, OverloadedError),
        (504, "timeout_error", {}, DeadlineError),
        (529, "overloaded_error", {}, OverloadedError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_are_typed(
    provider: Anthropic,
    server: AnthropicServer,
    status: int,
    type: str,
    more: dict[str, Any],
    expected: Any,
    stream: bool,
) -> None:
    headers = {"retry-after": "7", "request-id": "req-5"}
    told = {"message": "No.", **more}
    server.answers.append(Answer.error(status, told.pop("message"), type=type, headers=headers, **told))
    with pytest.raises(expected) as caught:
        await ask(provider, stream=stream)
    error = caught.value
    assert (error.status, error.provider, error.request_id) == (status, "acme", "req-5")
    assert (error.retry_after, error.sent) == (7.0, True)
    assert error.body is not None
    assert type in error.body
    assert len(server.requests) == 1, "nothing is tried twice here"


@pytest.mark.parametrize(
    "body", ["", "<html><title>Bad gateway</title>", "oops", '{"detail": "x"}', "[]", '{"error": 3}']
)
async def test_bodies_of_any_shape_give_a_typed_error(
    provider: Anthropic, server: AnthropicServer, body: str
) -> None:
    server.answers.append(Answer(status=502, body=body.encode()))
    with pytest.raises(ServerFaultError) as caught:
        await ask(provider)
    assert (caught.value.status, caught.value.retryable) == (502, True)


async def test_a_wrong_key_names_the_setting_and_the_variable_but_not_the_key(make: Make) -> None:
    for stream in (False, True):
        with pytest.raises(AuthenticationError) as caught:
            await ask(make(api_key="sk-ant-wrong-0123456789"), stream=stream)
        shown = f"{caught.value} {caught.value!r} {caught.value.to_dict()}"
        assert "`api_key` in [providers.acme]" in shown
        assert "ANTHROPIC_API_KEY" in shown
        assert "0123456789" not in shown


async def test_a_missing_key_is_told_before_anything_is_sent_to_anthropic() -> None:
    async with FakeContext("claude") as context:
        with pytest.raises(AuthenticationError, match=r"no key for api\.anthropic\.com") as caught:
            await ask(Anthropic(Anthropic.Config(), context))
    assert caught.value.sent is False


async def test_what_headers_say_of_limits_is_kept(make: Make, server: AnthropicServer) -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-input-tokens-remaining": "1000",
    }
    for stream in (False, True):
        server.answers.append(Answer("x", headers=headers))
        limits = (await ask(make(), stream=stream)).limits
        assert limits is not None
        assert (limits.requests, limits.input_tokens) == (Limit(50, 49), Limit(None, 1000))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_parameter_that_the_model_refuses_is_left_out_and_remembered(
    provider: Anthropic, server: AnthropicServer, stream: bool
) -> None:
    server.answers.append(Answer.error(400, "`temperature` is deprecated for this model."))
    assert (await ask(provider, COLD, stream=stream)).text
    await ask(provider, COLD, stream=stream)
    sent = [call.json for call in server.requests]
    assert [("temperature" in body, "top_p" in body) for body in sent] == [
        (True, True),
        (False, True),
        (False, True),
    ]


async def test_of_two_that_exclude_each_other_one_stays(provider: Anthropic, server: AnthropicServer) -> None:
    server.answers.append(Answer.error(400, "`temperature` and `top_p` cannot both be specified."))
    await ask(provider, COLD)
    assert {"temperature", "top_p"} & server.requests[1].json.keys() == {"temperature"}


async def test_what_holds_with_thinking_is_not_learned_for_all(
    provider: Anthropic, server: AnthropicServer
) -> None:
    server.answers.append(Answer.error(400, "`temperature` may only be set to 1 when thinking is enabled."))
    await ask(provider, Chat("hi", temperature=0.2, reasoning="high"))
    await ask(provider, Chat("hi", temperature=0.2))
    assert ["temperature" in call.json for call in server.requests] == [True, False, True]


async def test_refusals_are_not_adapted_to_where_it_is_switched_off(
    make: Make, server: AnthropicServer
) -> None:
    server.answers.append(Answer.error(400, "`temperature` is deprecated for this model."))
    with pytest.raises(InvalidRequestError):
        await ask(make(adapt=False), COLD)
    assert len(server.requests) == 1


@pytest.mark.parametrize("told", ["max_tokens: too large", "your_temperature is odd", "top_k: no"])
async def test_other_refusals_are_told_at_once(
    provider: Anthropic, server: AnthropicServer, told: str
) -> None:
    server.answers.append(Answer.error(400, told))
    with pytest.raises(InvalidRequestError):
        await ask(provider, COLD)
    assert len(server.requests) == 1


async def test_what_this_api_does_not_offer(provider: Anthropic, server: AnthropicServer) -> None:
    with pytest.raises(UnsupportedError, match="embedding is not what this API offers"):
        await provider.call(Embedding("x").to("scripted-echo"))
    assert server.requests == []


async def test_a_completion_is_a_turn_of_the_user(provider: Anthropic, server: AnthropicServer) -> None:
    reply = await provider.call(Completion("once upon", max_tokens=9, stop=["."]).to("scripted-echo"))
    assert isinstance(reply, Reply)
    assert reply.text.endswith("once upon")
    assert (server.requests[0].json["max_tokens"], server.requests[0].json["stop_sequences"]) == (9, ["."])


@pytest.mark.parametrize(
    "fault, expected", [("reset", ResetError), ("cut", TruncatedStreamError), ("close", ResetError)]
)
async def test_streams_that_break_carry_what_had_come(
    provider: Anthropic, server: AnthropicServer, fault: Any, expected: Any
) -> None:
    server.answers.append(Answer("one two three", fault=fault, after=5))
    with pytest.raises(expected) as caught:
        await ask(provider, stream=True)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one two"
    assert caught.value.request_id is not None or fault != "cut"


async def test_garbage_is_a_wire_error(provider: Anthropic, server: AnthropicServer) -> None:
    server.answers.append(Answer(fault="garbage"))
    with pytest.raises(GleitzeitError) as caught:
        await ask(provider)
    assert caught.value.counts


async def test_an_error_inside_a_stream_names_its_request(
    provider: Anthropic, server: AnthropicServer
) -> None:
    frames = ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},)
    server.answers.append(Answer(frames=frames, headers={"request-id": "req-7"}))
    with pytest.raises(OverloadedError) as caught:
        await ask(provider, stream=True)
    assert (caught.value.request_id, caught.value.retryable) == ("req-7", True)


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("gzip", [False, True])
async def test_pieces_of_any_size_with_crlf_change_nothing(
    provider: Anthropic, server: AnthropicServer, size: int, gzip: bool
) -> None:
    server.answers.append(Answer("Grüße 你好 😀", thinking="hm", chunk=size, newline="\r\n", gzip=gzip))
    reply = await ask(provider, stream=True)
    assert (reply.text, reply.thinking) == ("Grüße 你好 😀", "hm")


async def test_cancelling_in_mid_stream_closes_the_connection(
    provider: Anthropic, server: AnthropicServer
) -> None:
    server.answers.append(Answer("one two three", fault="stall", after=5))
    task = asyncio.create_task(ask(provider, stream=True))
    call = await server.request()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        await call.closed.wait()


async def test_connections_are_used_again(provider: Anthropic, server: AnthropicServer) -> None:
    for _ in range(3):
        await ask(provider, stream=True)
        await ask(provider)
    assert server.connections == 1


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "answer", [Answer.error(400, f"denied: {SECRET}"), Answer(body=f'{{"error": "{SECRET}'.encode())]
)
async def test_a_secret_that_comes_back_is_not_shown(
    make: Make, server: AnthropicServer, answer: Answer
) -> None:
    provider = make(headers={"X-Key": SECRET})
    server.answers.append(answer)
    with pytest.raises(GleitzeitError) as caught:
        await ask(provider)
    assert SECRET not in str(caught.value) + repr(provider)
