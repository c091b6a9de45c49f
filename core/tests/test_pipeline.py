"""The corridor: deadlines, middlewares, cancellation, faults of plugins."""

import asyncio
import time

import pytest

from core.tests.toys import Good, failing, host, running
from gleitzeit import Chat, Model, Plugin, Provider, Reply, Stream, TextDelta, Verdict
from gleitzeit.errors import (
    DeadlineError,
    GleitzeitError,
    PluginError,
    UnsupportedError,
    UsageError,
)


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


@pytest.mark.parametrize("model, streams", [("slow", False), ("slow", True), ("stall", True)])
async def test_a_deadline_tells_who_was_being_asked(model, streams):
    async with host() as h:
        await h.hooks.provide_models()
        asked = Chat("hi").to(f"good/{model}", timeout=0.1)
        with pytest.raises(DeadlineError) as caught:
            await (h.stream(asked).collect() if streams else h.call(asked))
        assert caught.value.provider == ("good" if running(h).requests else None)


async def test_a_deadline_that_is_over_stops_the_call_before_it_starts():
    async with host() as h:
        await h.hooks.provide_models()
        with pytest.raises(DeadlineError) as caught:
            await h.call(Chat("hi").to("good/m", timeout=-1))
        assert running(h).requests == []
        assert caught.value.provider is None


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


async def test_a_cancellation_that_was_asked_for_before_the_call_is_one():
    async def cancel_then_call(h):
        asyncio.current_task().cancel()  # as a signal handler does while the task runs
        return await h.call(Chat("hi").to("good/slow"))

    async with host() as h:
        await h.hooks.provide_models()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(cancel_then_call(h))


async def test_a_provider_that_cancels_itself_does_not_cancel_its_caller():
    class Leaky(Good):
        async def call(self, request):
            raise asyncio.CancelledError

    async with host(leaky=Leaky) as h:
        with pytest.raises(PluginError, match="CancelledError"):
            await h.call(Chat("hi").to("leaky/m"))


async def test_closing_lets_calls_finish_wherever_they_are_on_their_way():
    class Pondering(Plugin):
        async def security_check(self, request, target):
            asked.set()
            await go.wait()
            return Verdict.allow()

    asked, go = asyncio.Event(), asyncio.Event()
    h = host(pondering=Pondering)
    await h.open()
    call = asyncio.create_task(h.call(Chat("hi").to("good/m")))
    await asked.wait()
    closing = asyncio.create_task(h.close())
    await asyncio.sleep(0)
    go.set()
    assert (await call).text == "good"
    await closing
