"""Errors and faults that a script plays, and what `seen` tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_scripted import Scripted
from gleitzeit_plugin_scripted.config import ERRORS

from gleitzeit.errors import GleitzeitError, OverloadedError, TruncatedStreamError, UsageError
from gleitzeit.values import Chat, Embedding, Event, Reply, Started, Stream, TextDelta

Make = Callable[..., Scripted]


async def stream(provider: Scripted, text: str = "x", model: str = "m") -> Stream:
    answer = await provider.call(Chat(text).to(model, stream=True))
    assert isinstance(answer, Stream)
    return answer


async def read(
    stream: Stream, into: list[Event], watch: Callable[[Event], None] = lambda event: None
) -> None:
    stream.tap(into.append).tap(watch)
    await stream.collect()


@pytest.mark.parametrize("code", sorted(ERRORS))
async def test_every_error_of_the_tree_can_be_scripted(make: Make, code: str) -> None:
    provider = make(m={"rules": [{"error": code}]})
    with pytest.raises(GleitzeitError) as caught:
        await provider.call(Chat("x").to("m"))
    assert type(caught.value) is ERRORS[code]
    assert caught.value.provider == "scripted"


async def test_an_error_carries_what_the_script_gives_it(make: Make) -> None:
    error = {
        "code": "rate_limited",
        "status": 429,
        "retry_after": 1.5,
        "vendor_code": "slow_down",
        "message": "no",
    }
    provider = make(m={"rules": [{"error": error}]})
    with pytest.raises(GleitzeitError) as caught:
        await provider.call(Chat("x").to("m", stream=True))
    assert caught.value.to_dict() == {
        **error,
        "provider": "scripted",
        "retryable": True,
        "hint": caught.value.next_step,
    }


async def test_an_error_may_come_after_some_pieces(make: Make) -> None:
    provider = make(m={"rules": [{"text": "one two three", "error": {"code": "overloaded", "after": 2}}]})
    events: list[Event] = []
    with pytest.raises(OverloadedError) as caught:
        await read(await stream(provider), events)
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["one ", "two "]
    assert caught.value.partial.text == "one two "
    assert caught.value.sent is True
    with pytest.raises(OverloadedError):
        await provider.call(Chat("x").to("m"))
    assert provider.seen.failed == 2


async def test_a_truncated_stream_has_no_terminal_mark(make: Make) -> None:
    provider = make(m={"rules": [{"text": "one two three", "fault": {"kind": "truncate", "after": 2}}]})
    with pytest.raises(TruncatedStreamError) as caught:
        await (await stream(provider)).collect()
    assert caught.value.partial.text == "one two "
    with pytest.raises(TruncatedStreamError):
        await provider.call(Chat("x").to("m"))


async def test_a_stream_may_die_before_its_first_event(make: Make) -> None:
    provider = make(m={"rules": [{"text": "one", "fault": "die"}]})
    events: list[Event] = []
    with pytest.raises(TruncatedStreamError):
        await read(await stream(provider), events)
    assert events == []


@pytest.mark.parametrize("after", [None, 1])
async def test_a_bare_exception_is_no_error_of_ours(make: Make, after: int | None) -> None:
    provider = make(m={"rules": [{"text": "one two", "fault": {"kind": "raise", "after": after}}]})
    with pytest.raises(RuntimeError, match="scripted"):
        await (await stream(provider)).collect()


async def test_a_hanging_call_ends_when_it_is_cancelled(make: Make) -> None:
    provider = make(m={"rules": [{"fault": "hang"}]})
    task = asyncio.create_task(provider.call(Chat("x").to("m", stream=True)))
    await provider.seen.until(open=1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (provider.seen.open, provider.seen.cancelled) == (0, 1)


@pytest.mark.parametrize("pieces", [0, 2])
async def test_a_stalled_stream_falls_silent_until_it_is_cancelled(make: Make, pieces: int) -> None:
    provider = make(m={"rules": [{"text": "one two three", "fault": {"kind": "stall", "after": pieces}}]})
    events: list[Event] = []
    arrived = asyncio.Event()

    def watch(event: Event) -> None:
        if len(events) == pieces + 1:
            arrived.set()

    task = asyncio.create_task(read(await stream(provider), events, watch))
    await arrived.wait()
    assert [type(event) for event in events] == [Started, TextDelta, TextDelta][: pieces + 1]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (provider.seen.open, provider.seen.cancelled) == (0, 1)


async def test_a_stream_closed_by_its_reader_is_counted_as_closed(make: Make) -> None:
    provider = make()
    running = await stream(provider, "a b c", "echo")
    await running.__anext__()
    assert provider.seen.open == 1
    await running.aclose()
    assert (provider.seen.open, provider.seen.closed, provider.seen.abandoned) == (0, 1, 1)


@pytest.mark.parametrize(
    "rule, error",
    [
        ({"error": {"code": "overloaded", "after": 1}}, OverloadedError),
        ({"fault": "truncate"}, TruncatedStreamError),
        ({"fault": {"kind": "raise", "after": 1}}, RuntimeError),
        ({"error": "overloaded"}, OverloadedError),
    ],
)
async def test_faults_break_embeddings_as_well(
    make: Make, rule: dict[str, Any], error: type[Exception]
) -> None:
    provider = make(m={"operations": ["embedding"], "rules": [{"contains": "bad", **rule}]})
    assert isinstance(await provider.call(Embedding("good").to("m")), Reply)
    with pytest.raises(error):
        await provider.call(Embedding(["good", "bad"]).to("m"))


async def test_seen_counts_and_keeps_the_latest_requests(make: Make) -> None:
    provider = make({"remember": 2})
    for text in "abc":
        await provider.call(Chat(text).to("echo"))
    kept = [request.operation for request in provider.seen.requests]
    assert kept == [Chat("b"), Chat("c")]
    assert (provider.seen.calls, provider.seen.finished, provider.seen.models["echo"]) == (3, 3, 3)
    assert "c" not in repr(provider.seen).replace("calls", "").replace("cancelled", "").replace("closed", "")


async def test_waiting_for_a_count_that_does_not_exist_is_an_error(make: Make) -> None:
    with pytest.raises(UsageError, match="abandonned"):
        await make().seen.until(abandonned=1)


async def test_a_cancelled_wait_leaves_nothing_behind(make: Make) -> None:
    provider = make()
    task = asyncio.create_task(provider.seen.until(calls=1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await provider.call(Chat("x").to("hello"))
    await provider.seen.until(calls=1)
