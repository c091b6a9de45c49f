"""Plugins come alive, fail and stop each for itself."""

import asyncio
import contextlib
import sys
import threading
import time
from typing import ClassVar

import pytest

from gleitzeit import Chat, Host, Model, Plugin, Provider, Reply
from gleitzeit.discovery import Entry, Index
from gleitzeit.errors import (
    DeadlineError,
    PermissionDeniedError,
    PluginError,
    PluginIncompatibleError,
    PluginLoadError,
    PluginNotFoundError,
)
from gleitzeit.registry.threads import in_thread
from gleitzeit.values import Health, State, Tool


class Good(Provider):
    def provide_models(self):
        yield Model("m")

    async def call(self, request):
        return Reply("good")


def host(config=None, **plugins):
    return Host(config or {}, plugins={"good": Good, **plugins}, environ={}, index=Index(()))


def instance(host, name, kind="provider"):
    return host._registry.find(kind, name)


async def test_nothing_is_built_before_it_is_needed():
    built = []

    class Watched(Good):
        def __init__(self, config, context):
            super().__init__(config, context)
            built.append(context.name)

    async with host(watched=Watched) as h:
        assert built == []
        await h.call(Chat("hi").to("good/m"))
        assert built == []
        await h.call(Chat("hi").to("watched/m"))
        assert built == ["watched"]


async def test_fifty_callers_start_a_plugin_once():
    starts = []

    class Slow(Good):
        @contextlib.asynccontextmanager
        async def lifespan(self):
            starts.append(True)
            await asyncio.sleep(0.01)
            yield

    async with host(slow=Slow) as h:
        await asyncio.gather(*(h.call(Chat("hi").to("slow/m")) for _ in range(50)))
    assert len(starts) == 1


async def test_a_caller_that_gives_up_does_not_spoil_the_start():
    go = asyncio.Event()

    class Slow(Good):
        @contextlib.asynccontextmanager
        async def lifespan(self):
            await go.wait()
            yield

    async with host(slow=Slow) as h:
        with pytest.raises(DeadlineError):
            await h.call(Chat("hi").to("slow/m", timeout=0.02))
        go.set()
        assert (await h.call(Chat("hi").to("slow/m"))).text == "good"


async def test_a_lifespan_is_entered_and_left_by_one_task():
    import anyio

    tasks = []

    class Scoped(Good):
        @contextlib.asynccontextmanager
        async def lifespan(self):
            async with anyio.create_task_group() as group:  # raises if left in another task than entered
                tasks.append(asyncio.current_task())
                group.start_soon(anyio.sleep_forever)
                yield
                tasks.append(asyncio.current_task())
                group.cancel_scope.cancel()

    async with host(scoped=Scoped) as h:
        await asyncio.gather(*(h.call(Chat("hi").to("scoped/m")) for _ in range(3)))
    assert len(tasks) == 2
    assert tasks[0] is tasks[1] is not asyncio.current_task()


@pytest.mark.parametrize("fault", [RuntimeError("boom"), SystemExit(3), TypeError("boom"), RecursionError()])
async def test_a_constructor_that_fails_is_a_state_and_others_go_on(fault):
    class Bad(Good):
        def __init__(self, config, context):
            raise fault

    async with host(bad=Bad) as h:
        with pytest.raises(PluginLoadError, match=type(fault).__name__):
            await h.call(Chat("hi").to("bad/m"))
        assert instance(h, "bad").state is State.FAILED
        assert (await h.call(Chat("hi").to("good/m"))).text == "good"


async def test_a_failed_start_is_tried_again_with_backoff():
    class Flaky(Good):
        tries = 0

        @contextlib.asynccontextmanager
        async def lifespan(self):
            type(self).tries += 1
            if self.tries == 1:
                raise OSError("not yet")
            yield

    async with host(flaky=Flaky) as h:
        for _ in range(5):
            with pytest.raises(PluginLoadError, match="not yet"):
                await h.call(Chat("hi").to("flaky/m"))
        assert Flaky.tries == 1
        instance(h, "flaky")._retry_at = time.monotonic()
        assert (await h.call(Chat("hi").to("flaky/m"))).text == "good"
        assert instance(h, "flaky").state is State.ACTIVE


async def test_a_lifespan_that_dies_takes_its_plugin_out_and_back():
    die = asyncio.Event()

    class Dying(Good):
        @contextlib.asynccontextmanager
        async def lifespan(self):
            async with asyncio.TaskGroup() as group:

                async def watch():
                    await die.wait()
                    raise OSError("lost")

                task = group.create_task(watch())
                yield
                task.cancel()

    async with host(dying=Dying) as h:
        await h.call(Chat("hi").to("dying/m"))
        die.set()
        await asyncio.wait({instance(h, "dying")._life})
        assert instance(h, "dying").state is State.FAILED
        with pytest.raises(PluginLoadError, match="lost"):
            await h.call(Chat("hi").to("dying/m"))
        die.clear()
        instance(h, "dying")._retry_at = time.monotonic()
        assert (await h.call(Chat("hi").to("dying/m"))).text == "good"


async def test_a_start_that_hangs_ends_at_its_limit():
    class Hanging(Good):
        @contextlib.asynccontextmanager
        async def lifespan(self):
            await asyncio.Event().wait()
            yield

    async with host({"host": {"start_timeout": 0.05}}, hanging=Hanging) as h:
        with pytest.raises(PluginLoadError, match=r"did not start within 0\.05 s"):
            await h.call(Chat("hi").to("hanging/m"))


async def test_a_broadcast_keeps_every_answer_and_every_failure():
    class Raising(Good):
        def provide_models(self):
            raise ValueError("no list")

    class Hanging(Good):
        async def provide_models(self):
            await asyncio.Event().wait()

    class Stubborn(Good):
        async def provide_models(self):
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.3)
                    return [Model("late")]

    class Streaming(Good):
        async def provide_models(self):
            yield Model("one")
            yield Model("two")

    plugins = {"raising": Raising, "hanging": Hanging, "stubborn": Stubborn, "streaming": Streaming}
    async with host({"host": {"hook_timeout": 0.05}}, **plugins) as h:
        outcomes = {outcome.plugin: outcome for outcome in await h.hooks.provide_models()}
        assert [model.name for model in outcomes["good"].value] == ["m"]
        assert [model.name for model in outcomes["streaming"].value] == ["one", "two"]
        assert "no list" in str(outcomes["raising"].error)
        assert isinstance(outcomes["hanging"].error, DeadlineError)
        assert isinstance(outcomes["stubborn"].error, DeadlineError)
        await asyncio.sleep(0.35)  # the stubborn one needs its time to end


@pytest.mark.parametrize("offer", ["text", [1, 2], [Model("a"), Model("a")], {"a": 1}, [Tool("t")]])
async def test_an_offer_of_the_wrong_shape_is_named(offer):
    class Wrong(Good):
        def provide_models(self):
            return offer

    async with host(wrong=Wrong) as h:
        (outcome,) = [o for o in await h.hooks.provide_models() if o.plugin == "wrong"]
    assert "provide_models of 'wrong'" in str(outcome.error)


async def test_equal_plugins_are_told_apart():
    class Equal(Good):
        def __eq__(self, other):
            return True

        def __hash__(self):
            return 1

    async with host(a=Equal, b=Equal) as h:
        assert {o.plugin for o in await h.hooks.provide_models()} == {"good", "a", "b"}
        assert str((await h.call(Chat("hi").to("b/m"))).target) == "b/m"


async def test_a_change_is_seen_at_the_next_question():
    class Growing(Good):
        names: ClassVar = ["one"]

        def provide_models(self):
            return [Model(name) for name in self.names]

    async with host(growing=Growing) as h:
        assert [m.name for m in (await h.offers("models"))[-1].items] == ["one"]
        Growing.names = ["one", "two"]
        assert [m.name for m in (await h.offers("models"))[-1].items] == ["one"]
        instance(h, "growing").object.context.changed()
        await asyncio.sleep(0)
        assert [m.name for m in (await h.offers("models"))[-1].items] == ["one", "two"]


async def test_a_list_that_fails_later_is_stale_and_says_so():
    class Flaky(Good):
        broken = False

        def provide_models(self):
            if self.broken:
                raise OSError("down")
            return [Model("one")]

    async with host(flaky=Flaky) as h:
        await h.offers("models")
        Flaky.broken = True
        instance(h, "flaky").object.context.changed()
        await asyncio.sleep(0)
        offer = (await h.offers("models"))[-1]
    assert offer.stale
    assert "down" in str(offer.error)
    assert [m.name for m in offer.items] == ["one"]


async def test_health_is_told_for_each_by_state_or_by_itself():
    class Ill(Good):
        async def health(self, deep=False):
            return Health("degraded", detail=f"deep={deep}")

    class Raising(Good):
        async def health(self, deep=False):
            raise RuntimeError("sick")

    async with host(ill=Ill, raising=Raising) as h:
        assert {row.health.status for row in await h.health()} == {"unknown"}
        rows = {row.name: row for row in await h.health(deep=True)}
    assert rows["good"].health.status == "ok"
    assert rows["ill"].health.detail == "deep=True"
    assert rows["raising"].health.status == "error"
    assert "sick" in rows["raising"].health.detail


async def test_only_an_instance_that_may_ask_can_ask_the_host():
    class Asking(Good):
        async def call(self, request):
            return await self.context.ask(Chat("?").to("good/m"))

    async with host(asking=Asking) as h:
        with pytest.raises(PermissionDeniedError, match="may_ask"):
            await h.call(Chat("hi").to("asking/m"))
    async with host({"providers": {"asking": {"may_ask": True}}}, asking=Asking) as h:
        assert (await h.call(Chat("hi").to("asking/m"))).text == "good"


async def test_two_instances_of_one_plugin_live_beside_each_other():
    config = {"providers": {"one": {"plugin": "good"}, "two": {"plugin": "good"}}}
    async with host(config) as h:
        replies = await asyncio.gather(*(h.call(Chat("hi").to(f"{name}/m")) for name in ("one", "two")))
        assert [reply.target.instance for reply in replies] == ["one", "two"]
        assert instance(h, "good") is None


async def test_a_disabled_instance_says_so():
    async with host({"providers": {"good": {"enabled": False}}}) as h:
        with pytest.raises(PluginError):
            await h.call(Chat("hi").to("good/m"))
        assert instance(h, "good").state is State.DISABLED


def entry(name, value, **details):
    return Entry(name, kind="provider", value=value, distribution=f"dist-{name}", version="1", **details)


def write_module(folder, name, text):
    (folder / f"{name}.py").write_text(text)


@pytest.mark.parametrize(
    "text, said",
    [
        ("raise RuntimeError('boom')", "RuntimeError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("this is no python", "SyntaxError"),
        ("X = 1", "Thing"),
    ],
)
async def test_an_import_that_fails_is_a_state_with_its_reason(tmp_path, monkeypatch, text, said):
    monkeypatch.syspath_prepend(tmp_path)
    write_module(tmp_path, "gz_broken", text)
    monkeypatch.delitem(sys.modules, "gz_broken", raising=False)
    index = Index((entry("broken", "gz_broken:Thing"),))
    async with Host({}, plugins={"good": Good}, environ={}, index=index) as h:
        with pytest.raises(PluginLoadError, match=said):
            await h.call(Chat("hi").to("broken/m"))
        assert (await h.call(Chat("hi").to("good/m"))).text == "good"


async def test_an_import_never_blocks_the_loop(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_module(tmp_path, "gz_slow", "import gz_gate\ngz_gate.event.wait(5)\nfrom gz_gate import Thing")
    gate = type(sys)("gz_gate")
    gate.event, gate.Thing = threading.Event(), Good
    monkeypatch.setitem(sys.modules, "gz_gate", gate)
    index = Index((entry("slow", "gz_slow:Thing"),))
    async with Host({}, plugins={"good": Good}, environ={}, index=index) as h:
        slow = asyncio.create_task(h.call(Chat("hi").to("slow/m")))
        assert (await h.call(Chat("hi").to("good/m"))).text == "good"
        gate.event.set()
        assert (await slow).text == "good"


async def test_denied_distributions_are_never_imported():
    index = Index((entry("evil", "gz_must_never_be_imported:Thing"),))
    for lists in ({"deny": ["dist-*"]}, {"allow": ["other"]}):
        async with Host({"host": lists}, environ={}, index=index) as h:
            with pytest.raises(PluginError, match=r"denied|not allowed"):
                await h.call(Chat("hi").to("evil/m"))
            assert instance(h, "evil").state is State.DISABLED
    assert "gz_must_never_be_imported" not in sys.modules


async def test_a_plugin_for_a_newer_api_is_incompatible():
    class Future(Good):
        api_version = "1.99"

    async with host(future=Future) as h:
        with pytest.raises(PluginIncompatibleError, match=r"plugin API 1\.99"):
            await h.call(Chat("hi").to("future/m"))
        assert instance(h, "future").state is State.INCOMPATIBLE


async def test_a_configured_plugin_that_is_not_installed_is_missing():
    async with host({"providers": {"nope": {}}}) as h:
        with pytest.raises(PluginNotFoundError):
            await h.call(Chat("hi").to("nope/m"))
        assert instance(h, "nope").state is State.MISSING


async def test_what_is_no_provider_is_refused_with_the_protocol_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_module(tmp_path, "gz_empty", "class Thing:\n    def __init__(self, config, context): pass\n")
    async with Host({}, environ={}, index=Index((entry("empty", "gz_empty:Thing"),))) as h:
        with pytest.raises(PluginLoadError, match=r"is no provider.*kinds\.Provider"):
            await h.call(Chat("hi").to("empty/m"))


async def test_an_abandoned_import_does_not_hold_up_the_caller():
    gate = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await in_thread(lambda: gate.wait(5), "a slow import")
    gate.set()


async def test_hooks_are_called_in_pluggys_order():
    from gleitzeit import hookimpl

    order = []

    def named(name, **options):
        class Named(Plugin):
            @hookimpl(**options)
            def wrap_call(self, route):
                order.append(name)

        return Named

    async with host(a=named("a"), b=named("b", tryfirst=True), c=named("c", trylast=True)) as h:
        await h.call(Chat("hi").to("good/m"))
    assert sorted(order) == ["a", "b", "c"]
    assert order[::-1] == ["b", "a", "c"]  # folded from the inside: the first hook becomes the outermost


async def test_closing_waits_for_a_start_that_hangs_no_longer_than_for_calls():
    begun = asyncio.Event()

    class Hanging(Good):
        @contextlib.asynccontextmanager
        async def lifespan(self):
            begun.set()
            await asyncio.Event().wait()
            yield

    h = host({"host": {"drain_timeout": 0.05}}, hanging=Hanging)
    await h.open()
    call = asyncio.create_task(h.call(Chat("hi").to("hanging/m")))
    await begun.wait()
    async with asyncio.timeout(30):  # the start itself would go on for a minute
        await h.close()
    with pytest.raises(PluginError, match="stopped while it started"):
        await call


async def test_a_plugin_that_comes_back_is_asked_anew_what_it_offers():
    class Restarting(Good):
        starts = 0

        @contextlib.asynccontextmanager
        async def lifespan(self):
            type(self).starts += 1
            yield

        def provide_models(self):
            return [Model(f"m{self.starts}")]

    async with host(restarting=Restarting) as h:
        assert (await h.call(Chat("hi").to("restarting/m1"))).text == "good"
        await instance(h, "restarting").stop(1.0)
        assert (await h.call(Chat("hi").to("restarting/m2"))).text == "good"
