"""Servers that fail, hang and come back: how often they are asked, and what their callers are told."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from gleitzeit import Chat, Host, Plugin
from gleitzeit.errors import (
    AuthenticationError,
    BreakerOpenError,
    CannotConnectError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    OverloadedError,
    RateLimitedError,
    ResetError,
    ServerFaultError,
)
from gleitzeit.testing.openai_server import Answer, OpenAIServer, Rule, Script
from gleitzeit.values import Retry

SCRIPT = Script({"m": (Rule(Answer("hi")),)})
BUSY = Answer.error(429, "slow down", code="rate_limit_exceeded", type="requests")
FULL = Answer.error(503, "no room", type="server_error")
BROKEN = Answer.error(500, "it burns", type="server_error")
BAD = Answer.error(400, "no such field")
QUICK = {"base_delay": 0.001, "max_delay": 0.002}


def config(*servers, host=None, **tables):
    """Providers `s0`, `s1`, … for servers; `tables` are those of each."""
    providers = {
        f"s{number}": {"plugin": "openai", "base_url": server.url, "api_key": "sk-x", **tables}
        for number, server in enumerate(servers)
    }
    return {"providers": providers, "host": {"retry": QUICK, **(host or {})}}


async def ends(*calls):
    """How calls ended, counted."""
    return Counter(type(end).__name__ for end in await asyncio.gather(*calls, return_exceptions=True))


def breaker(h, name):
    (target,) = (target for target in h.snapshot().targets if target.instance == name)
    return target.breaker


@pytest.mark.feature("S001-16", "S003-18")
async def test_a_failing_server_is_left_alone_then_tried_with_so_many_calls_and_used_again():
    async with OpenAIServer(SCRIPT) as server, OpenAIServer(SCRIPT) as other:
        tables = {"failure_threshold": 5, "recovery_timeout": 0.2, "half_open_max_calls": 3}
        settings = config(server, other, circuit_breaker=tables, retry={"max_retries": 0})
        async with Host(settings, environ={}) as h:
            await h.call(Chat("hi").to("s0/m"))
            await h.call(Chat("hi").to("s1/m"))
            assert breaker(h, "s0") == "closed"
            server.answers.extend([BROKEN] * 5)
            for _ in range(5):
                with pytest.raises(ServerFaultError):
                    await h.call(Chat("hi").to("s0/m"))
            assert breaker(h, "s0") == "open"
            with pytest.raises(BreakerOpenError) as caught:
                await h.call(Chat("hi").to("s0/m"))
            assert await ends(*(h.call(Chat("hi").to("s0/m")) for _ in range(100))) == {
                "BreakerOpenError": 100
            }
            assert len(server.requests) == 1 + 5
            await asyncio.sleep(caught.value.retry_after + 0.05)
            server.answers.extend([Answer("hi", delay=0.2)] * 3)  # so that all come while they are tried
            trials = asyncio.gather(*(ends(h.call(Chat("hi").to("s0/m"))) for _ in range(1000)))
            await server.request(6)
            assert breaker(h, "s0") == "half_open"
            assert sum(await trials, Counter()) == {"Reply": 3, "BreakerOpenError": 997}
            assert (len(server.requests), breaker(h, "s0")) == (1 + 5 + 3, "closed")
            await h.call(Chat("hi").to("s0/m"))
            assert (await h.call(Chat("hi").to("s1/m"))).text == "hi"
            assert breaker(h, "s1") == "closed"
            assert len(other.requests) == 2


@pytest.mark.feature("S001-18")
@pytest.mark.parametrize(
    "retry, asked",
    [
        ({"max_retries": 3}, (4, 4, 1)),
        ({"max_retries": 3, "retry_codes": ["RATE_LIMIT_EXCEEDED"]}, (4, 1, 1)),
        ({"max_retries": 3, "retry_codes": ["SERVICE_UNAVAILABLE"]}, (1, 4, 1)),
        ({"max_retries": 1, "by_code": {"rate_limited": {"max_retries": 4}}}, (5, 2, 1)),
        ({"max_retries": 0}, (1, 1, 1)),
    ],
)
async def test_what_is_retried_goes_by_the_category_of_the_error(retry, asked):
    counts = []
    for answer in (BUSY, FULL, BAD):
        async with OpenAIServer(SCRIPT) as server:
            server.answers.extend([answer] * 10)
            async with Host(config(server, retry=retry), environ={}) as h:
                with pytest.raises((RateLimitedError, OverloadedError, InvalidRequestError)):
                    await h.call(Chat("hi").to("s0/m"))
            counts.append(len(server.requests))
    assert tuple(counts) == asked


class Stubborn(Plugin):
    """Asks again where others would not, and not where others would."""

    def retry_policy(self, request, error, tries):
        if isinstance(error, InvalidRequestError):
            return Retry.after(0.001) if tries < 6 else Retry.never()
        return Retry.never() if isinstance(error, OverloadedError) else None


@pytest.mark.feature("S001-18")
async def test_a_policy_of_ones_own_decides():
    counts = []
    for answer in (BUSY, FULL, BAD):
        async with OpenAIServer(SCRIPT) as server:
            server.answers.extend([answer] * 10)
            settings = config(server, retry={"max_retries": 2})
            async with Host(settings, plugins={"stubborn": Stubborn}, environ={}) as h:
                with pytest.raises(GleitzeitError):
                    await h.call(Chat("hi").to("s0/m"))
            counts.append(len(server.requests))
    assert counts == [3, 1, 6]


@pytest.mark.feature("S001-19")
@pytest.mark.parametrize("level", ["call", "target", "instance", "host's attempts", "host"])
async def test_a_server_that_hangs_is_left_in_time_and_the_nearest_level_wins(level):
    """Each level sets a short time, and those farther away a long one."""
    long, short = 600.0, 0.3
    order = ["call", "target", "instance", "host's attempts", "host"]
    times = {each: short if each == level else long for each in order[order.index(level) :]}
    host, tables = {}, {}
    if "host" in times:
        host["timeout"] = times["host"]
    if "host's attempts" in times:
        host["timeouts"] = {"attempt": times["host's attempts"]}
    if "instance" in times:
        tables["timeouts"] = {"attempt": times["instance"]}
    if "target" in times:
        tables["targets"] = {"m*": {"timeouts": {"attempt": times["target"]}}}
    async with OpenAIServer(SCRIPT) as server:
        server.answers.extend([Answer("never", fault="stall")] * 5)
        settings = config(server, host=host, retry={"max_retries": 0}, **tables)
        async with Host(settings, environ={}) as h, asyncio.timeout(20):
            await h.health(deep=True)  # what starting takes is not the server's
            with pytest.raises(DeadlineError):
                await h.call(Chat("hi").to("s0/m", **({"timeout": short} if level == "call" else {})))
            assert dict(h.snapshot().total().attempts) == {"deadline": 1}
    chats = [call for call in server.requests if call.path.endswith("/completions")]
    assert len(chats) == 1


@pytest.mark.feature("S001-23")
@pytest.mark.parametrize(
    "answer, error",
    [
        (Answer.error(401, "who are you", code="invalid_api_key"), AuthenticationError),
        (BUSY, RateLimitedError),
        (FULL, OverloadedError),
        (BROKEN, ServerFaultError),
        (BAD, InvalidRequestError),
        (Answer("never", fault="reset"), ResetError),
        (Answer("never", fault="stall"), DeadlineError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_every_fault_has_its_type_its_code_and_its_counter(answer, error):
    async with OpenAIServer(SCRIPT) as server:
        settings = config(server, retry={"max_retries": 0}, timeouts={"attempt": 0.2})
        async with Host(settings, environ={}) as h:
            for _ in range(3):
                server.answers.append(answer)
                with pytest.raises(error) as caught:
                    await h.call(Chat("hi").to("s0/m"))
                assert type(caught.value) is error
            snapshot = h.snapshot()
    assert dict(snapshot.total("s0").attempts) == {error.code: 3}
    assert dict(snapshot.total_calls().outcomes) == {error.code: 3}


@pytest.mark.feature("S001-23")
async def test_nobody_at_the_door_is_told_apart_from_who_hangs_up():
    async with OpenAIServer(SCRIPT) as server:
        settings = config(server, retry={"max_retries": 0})
    async with Host(settings, environ={}) as h:
        with pytest.raises(CannotConnectError):
            await h.call(Chat("hi").to("s0/m"))
        assert dict(h.snapshot().total("s0").attempts) == {"cannot_connect": 1}


@pytest.mark.feature("S002-08")
async def test_a_server_that_goes_down_costs_no_call_and_is_used_again_when_it_is_back():
    script = Script({"m": (Rule(Answer("hi again")),)})
    async with OpenAIServer(SCRIPT) as backup, AsyncExitStack() as running:
        server = await running.enter_async_context(OpenAIServer(script))
        trips = {"failure_threshold": 2, "recovery_timeout": 0.05}
        settings = config(server, backup, host={"circuit_breaker": trips}, retry={"max_retries": 1})
        settings["routes"] = {"r": {"targets": ["s0/m", "s1/m"]}}
        async with Host(settings, environ={}) as h:
            assert (await h.call(Chat("hi").to("r"))).text == "hi again"
            await running.aclose()
            replies = [await h.call(Chat("hi").to("r")) for _ in range(10)]
            assert {str(reply.target) for reply in replies} == {"s1/m"}
            with pytest.raises((CannotConnectError, BreakerOpenError)):
                await h.call(Chat("hi").to("s0/m"))
            port = int(server.url.removesuffix("/v1").rpartition(":")[2])
            async with OpenAIServer(script, port=port), asyncio.timeout(20):
                while (await h.call(Chat("hi").to("r"))).text != "hi again":
                    await asyncio.sleep(0.02)
                assert (await h.call(Chat("hi").to("s0/m"))).text == "hi again"
