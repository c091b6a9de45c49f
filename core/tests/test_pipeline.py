"""The corridor: votes, deadlines, middlewares, fallback, cancellation, faults of plugins."""

import asyncio
import time
from typing import ClassVar

import pytest

from gleitzeit import (
    Chat,
    Finished,
    Host,
    Model,
    Plugin,
    Provider,
    Reply,
    Stream,
    TextDelta,
    ToolCall,
    Usage,
    Verdict,
)
from gleitzeit.errors import (
    AuthenticationError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    OverloadedError,
    PluginError,
    RateLimitedError,
    ResetError,
    SecurityDeniedError,
    TruncatedStreamError,
    UnsupportedError,
    UsageError,
)
from gleitzeit.values import Tool


class Good(Provider):
    """Answers, whole or streamed, and notes what it was asked."""

    def __init__(self, config, context):
        super().__init__(config, context)
        self.requests = []
        self.closed = asyncio.Event()
        self.waiting = asyncio.Event()

    def provide_models(self):
        yield Model("m", operations={Chat})
        yield Model("slow")
        yield Model("stall")

    async def call(self, request):
        self.requests.append(request)
        if request.name == "slow":
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.closed.set()
        if request.stream:
            return Stream(self.events(request))
        return Reply("good", finish_reason="stop", usage=Usage(input=1, output=1))

    async def events(self, request):
        try:
            yield TextDelta("go")
            if request.name == "stall":
                self.waiting.set()
                await asyncio.Event().wait()
            yield TextDelta("od")
            yield Finished("stop", usage=Usage(input=1, output=1))
        finally:
            self.closed.set()


def failing(error, *, tools=False):
    """A provider whose every call raises `error`, or gives it as its answer where it is no exception."""

    class Failing(Provider):
        asked = 0

        def provide_models(self):
            return () if tools else [Model("m")]

        def provide_tools(self):
            return [Tool("t")] if tools else ()

        async def call(self, request):
            type(self).asked += 1
            if isinstance(error, BaseException):
                raise error
            return error

    return Failing


def route(*targets):
    return {"routes": {"r": {"targets": list(targets)}}}


def host(config=None, **plugins):
    return Host(config or {}, plugins={"good": Good, **plugins}, environ={})


def running(host, name="good"):
    return host._registry.find("provider", name).object


async def test_a_reply_says_who_answered():
    async with host() as h:
        reply = await h.call(Chat("hi").to("good/m"))
    assert str(reply.target) == "good/m"
    assert reply.text == "good"


async def test_a_provider_sees_its_own_model_name_and_an_absolute_deadline():
    async with host({"host": {"timeout": 5.0}}) as h:
        await h.call(Chat("hi").to("good/m"))
        (request,) = running(h).requests
    assert request.name == "m"
    assert 0 < request.deadline - time.monotonic() <= 5.0


async def test_a_stream_gives_the_same_as_a_call():
    async with host() as h:
        async with h.stream(Chat("hi").to("good/m")) as stream:
            texts = [event.text async for event in stream if isinstance(event, TextDelta)]
        assert texts == ["go", "od"]
        assert stream.reply == await h.call(Chat("hi").to("good/m"))


async def test_a_provider_without_streams_is_streamed_all_the_same():
    async with host(plain=failing(Reply("whole", finish_reason="stop"))) as h:
        reply = await h.stream(Chat("hi").to("plain/m")).collect()
    assert (reply.text, reply.finish_reason) == ("whole", "stop")


async def test_a_provider_that_always_streams_is_collected():
    class Streaming(Good):
        async def call(self, request):
            return Stream(self.events(request))

    async with host(streaming=Streaming) as h:
        assert (await h.call(Chat("hi").to("streaming/m"))).text == "good"


async def test_a_deadline_ends_a_call_at_its_provider():
    async with host() as h:
        with pytest.raises(DeadlineError):
            await h.call(Chat("hi").to("good/slow", timeout=0.05))
        assert running(h).closed.is_set()
        assert asyncio.current_task().cancelling() == 0


async def test_a_deadline_that_is_over_stops_the_call_before_it_starts():
    async with host() as h:
        await h.hooks.provide_models()
        with pytest.raises(DeadlineError):
            await h.call(Chat("hi").to("good/m", timeout=-1))
        assert running(h).requests == []


async def test_a_deadline_covers_the_whole_stream():
    async with host() as h:
        stream = h.stream(Chat("hi").to("good/stall", timeout=0.1))
        with pytest.raises(DeadlineError) as caught:
            await stream.collect()
        assert running(h).closed.is_set()
    assert caught.value.partial.text == "go"


@pytest.mark.parametrize("model", ["slow", "stall"])
async def test_cancelling_the_caller_reaches_the_provider(model):
    async with host() as h:
        await h.hooks.provide_models()
        task = asyncio.create_task(h.stream(Chat("hi").to(f"good/{model}")).collect())
        await running(h).waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert running(h).closed.is_set()
        assert not h._registry.find("provider", "good").leases


def voting(answer):
    class Voting(Plugin):
        asked: ClassVar = []

        def security_check(self, request, target):
            self.asked.append(target)
            return answer(request, target) if callable(answer) else answer

    return Voting


async def test_one_deny_wins_and_every_vote_is_heard():
    async with host(
        a=voting(Verdict.allow()), b=voting(Verdict.deny("no")), c=voting(Verdict.deny("nor I"))
    ) as h:
        with pytest.raises(SecurityDeniedError) as caught:
            await h.call(Chat("hi").to("good/m"))
        assert sorted(caught.value.votes) == ["b: no", "c: nor I"]
        assert running(h).requests == []


async def test_an_exception_in_a_vote_is_a_deny():
    async with host(guard=voting(lambda request, target: 1 / 0)) as h:
        with pytest.raises(SecurityDeniedError, match="guard: raised ZeroDivisionError"):
            await h.call(Chat("hi").to("good/m"))


@pytest.mark.parametrize("answer", [True, "yes", 1, object()])
async def test_what_is_no_verdict_is_a_deny(answer):
    async with host(guard=voting(answer)) as h:
        with pytest.raises(SecurityDeniedError, match="not a Verdict"):
            await h.call(Chat("hi").to("good/m"))


async def test_a_vote_may_be_a_coroutine():
    class Slow(Plugin):
        async def security_check(self, request, target):
            await asyncio.sleep(0)
            return Verdict.deny("after thought")

    async with host(guard=Slow) as h:
        with pytest.raises(SecurityDeniedError, match="after thought"):
            await h.call(Chat("hi").to("good/m"))


async def test_votes_are_asked_once_for_the_request_and_once_for_the_target():
    guard = voting(None)
    async with host(guard=guard) as h:
        await h.call(Chat("hi").to("good/m"))
    assert [target and str(target) for target in guard.asked] == [None, "good/m"]


async def test_a_target_that_is_denied_gives_way_to_one_that_is_allowed():
    guard = voting(
        lambda request, target: Verdict.deny("not here") if target and target.instance == "bad" else None
    )
    bad = failing(Reply("bad"))
    async with host(route("bad/m", "good/m"), bad=bad, guard=guard) as h:
        reply = await h.call(Chat("hi").to("r"))
    assert reply.text == "good"
    assert bad.asked == 0
    assert isinstance(reply.attempts[0].error, SecurityDeniedError)


async def test_a_guard_that_does_not_load_denies_every_call_and_says_why():
    class Broken(Plugin):
        def __init__(self, config, context):
            raise RuntimeError("no database")

        def security_check(self, request, target):
            return None

    async with host(guard=Broken) as h:
        with pytest.raises(SecurityDeniedError, match="no database"):
            await h.call(Chat("hi").to("good/m"))


async def test_middlewares_nest_around_call_and_attempt_and_are_asked_once():
    trace = []

    def wrapping(name):
        class Wrapping(Plugin):
            def wrap_call(self, route):
                trace.append(f"{name} compiles {route.name}")

                async def middleware(request, call_next):
                    trace.append(f"{name} before")
                    reply = await call_next(request)
                    trace.append(f"{name} after")
                    return reply.evolve(parts=Reply(reply.text + name).parts)

                return middleware

            def wrap_attempt(self, target):
                async def middleware(request, call_next):
                    trace.append(f"{name} tries {request.target}")
                    return await call_next(request)

                return middleware

        return Wrapping

    async with host(a=wrapping("a")) as h:
        for _ in range(2):
            assert (await h.call(Chat("hi").to("good/m"))).text == "gooda"
    assert trace == ["a compiles good/m", *["a before", "a tries good/m", "a after"] * 2]


async def test_a_middleware_that_cannot_be_made_fails_the_call():
    class Broken(Plugin):
        def wrap_call(self, route):
            raise RuntimeError("no")

    async with host(broken=Broken) as h:
        with pytest.raises(PluginError, match="wrap_call of 'broken' raised RuntimeError"):
            await h.call(Chat("hi").to("good/m"))


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("x"),
        OverloadedError("x"),
        AuthenticationError("x"),
        ResetError("x", sent=True),
        UnsupportedError("x"),
        ValueError("bug"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_target_answers_where_one_fails(error, stream):
    async with host(route("bad/m", "good/m"), bad=failing(error)) as h:
        request = Chat("hi").to("r")
        reply = await (h.stream(request).collect() if stream else h.call(request))
    assert reply.text == "good"
    assert [str(attempt.target) for attempt in reply.attempts] == ["bad/m"]
    assert str(reply.target) == "good/m"


async def test_an_error_of_the_request_is_not_tried_elsewhere():
    async with host(route("bad/m", "good/m"), bad=failing(InvalidRequestError("x"))) as h:
        with pytest.raises(InvalidRequestError):
            await h.call(Chat("hi").to("r"))
        assert running(h).requests == []


@pytest.mark.parametrize("sent, answered", [(False, True), (True, False), (None, False)])
async def test_a_tool_call_that_may_have_acted_is_never_repeated_elsewhere(sent, answered):
    class Tools(Good):
        def provide_tools(self):
            return [Tool("t")]

    bad = failing(ResetError("x", sent=sent), tools=True)
    async with host(route("bad/t", "tools/t"), bad=bad, tools=Tools) as h:
        request = ToolCall({}).to("r")
        if answered:
            assert (await h.call(request)).text == "good"
        else:
            with pytest.raises(ResetError):
                await h.call(request)
    assert bad.asked == 1


async def test_when_all_targets_fail_the_last_error_carries_the_attempts():
    bad, worse = failing(OverloadedError("one")), failing(RateLimitedError("two"))
    async with host(route("bad/m", "worse/m"), bad=bad, worse=worse) as h:
        with pytest.raises(RateLimitedError) as caught:
            await h.call(Chat("hi").to("r"))
    assert [str(attempt.error) for attempt in caught.value.attempts] == ["one"]
    assert caught.value.provider == "worse"


async def test_a_stream_falls_back_only_before_its_first_content():
    def breaking(after):
        class Breaking(Good):
            async def events(self, request):
                for _ in range(after):
                    yield TextDelta("x")
                raise ResetError("cut", sent=True)

        return Breaking

    async with host(route("early/m", "good/m"), early=breaking(0)) as h:
        assert (await h.stream(Chat("hi").to("r")).collect()).text == "good"
    async with host(route("late/m", "good/m"), late=breaking(1)) as h:
        with pytest.raises(ResetError) as caught:
            await h.stream(Chat("hi").to("r")).collect()
        assert caught.value.partial.text == "x"
        assert running(h).requests == []


async def test_a_stream_cut_cleanly_is_truncated_and_never_a_success():
    class Cut(Good):
        async def call(self, request):
            return Stream(self.events(request))

        async def events(self, request):
            yield TextDelta("x")

    async with host(cut=Cut) as h:
        with pytest.raises(TruncatedStreamError):
            await h.call(Chat("hi").to("cut/m"))
        with pytest.raises(TruncatedStreamError):
            await h.stream(Chat("hi").to("cut/m")).collect()


@pytest.mark.parametrize("answer", [None, "text", {"text": "x"}])
async def test_an_answer_of_the_wrong_type_is_a_fault_of_the_plugin(answer):
    async with host(bad=failing(answer)) as h:
        with pytest.raises(PluginError, match="answered with"):
            await h.call(Chat("hi").to("bad/m"))


async def test_an_operation_that_the_model_does_not_serve_never_reaches_the_provider():
    from gleitzeit import Embedding

    async with host() as h:
        with pytest.raises(UnsupportedError, match="does not serve embedding"):
            await h.call(Embedding("x").to("good/m"))
        assert running(h).requests == []


async def test_a_closed_host_refuses_calls():
    h = host()
    with pytest.raises(UsageError):
        await h.call(Chat("hi").to("good/m"))
    async with h:
        await h.call(Chat("hi").to("good/m"))
    with pytest.raises(UsageError):
        await h.call(Chat("hi").to("good/m"))


async def test_closing_waits_for_calls_then_ends_them_with_an_error():
    h = host({"host": {"drain_timeout": 0.05}})
    await h.open()
    await h.hooks.provide_models()
    provider = running(h)
    call = asyncio.create_task(h.call(Chat("hi").to("good/slow")))
    await provider.waiting.wait()
    await h.close()
    with pytest.raises(GleitzeitError, match="stopped during the call"):
        await call
    assert provider.closed.is_set()


async def test_closing_lets_a_call_finish_in_time():
    class Patient(Good):
        async def call(self, request):
            self.waiting.set()
            await asyncio.sleep(0.02)
            return Reply("done")

    h = host({"host": {"drain_timeout": 5.0}}, patient=Patient)
    await h.open()
    await h.hooks.provide_models()
    provider = running(h, "patient")
    call = asyncio.create_task(h.call(Chat("hi").to("patient/m")))
    await provider.waiting.wait()
    await h.close()
    assert (await call).text == "done"


async def test_calls_do_not_mix():
    class Echo(Good):
        async def call(self, request):
            await asyncio.sleep(0)
            return Reply(request.operation.messages[-1].text)

    async with host(echo=Echo) as h:
        replies = await asyncio.gather(*(h.call(Chat(str(n)).to("echo/m")) for n in range(200)))
    assert [reply.text for reply in replies] == [str(n) for n in range(200)]


async def test_a_custom_operation_travels_like_any_other():
    from attrs import field, frozen

    from gleitzeit.values import Operation

    @frozen(kw_only=True)
    class Translate(Operation):
        kind = "translate"
        text: str = field(kw_only=False)

    class Translator(Provider):
        def provide_models(self):
            yield Model("t", operations={Translate})

        async def call(self, request):
            return Reply(request.operation.text[::-1])

    async with host(translator=Translator) as h:
        assert (await h.call(Translate("abc").to("translator/t"))).text == "cba"


async def test_an_error_that_quotes_a_secret_is_scrubbed():
    class Leaky(Provider):
        def provide_models(self):
            yield Model("m")

        async def call(self, request):
            raise ValueError("key sk-canary-123 refused")

    async with host(leaky=Leaky) as h:
        await h.hooks.provide_models()
        h._registry.find("provider", "leaky").secrets = ("sk-canary-123",)
        with pytest.raises(PluginError) as caught:
            await h.call(Chat("hi").to("leaky/m"))
    assert "sk-canary-123" not in str(caught.value) + repr(caught.value)


async def test_a_guard_that_comes_up_later_opens_the_way():
    class Late(Plugin):
        tries = 0

        def __init__(self, config, context):
            super().__init__(config, context)
            type(self).tries += 1
            if self.tries == 1:
                raise RuntimeError("not yet")

        def security_check(self, request, target):
            return Verdict.allow()

    async with host(late=Late) as h:
        with pytest.raises(SecurityDeniedError, match="not yet"):
            await h.call(Chat("hi").to("good/m"))
        h._registry.find("plain", "late")._retry_at = time.monotonic()
        assert (await h.call(Chat("hi").to("good/m"))).text == "good"
