"""What a running host tells: its statistics, over its socket too; probes; and that closing waits."""

import asyncio
import json

import pytest

from core.tests.toys import Good, failing, host, route, running
from gleitzeit import Chat, Health, Reply
from gleitzeit.errors import ConfigError, OverloadedError


async def test_the_snapshot_counts_calls_targets_and_fallbacks():
    config = {**route("bad/m", "good/m"), "host": {"retry": {"max_retries": 0}}}
    async with host(config, bad=failing(OverloadedError("busy"))) as h:
        await h.call(Chat("hi").to("r"))
        with pytest.raises(OverloadedError):
            await h.call(Chat("hi").to("bad/m"))
        snapshot = h.snapshot()
    calls = {series.name: series for series in snapshot.calls}
    assert (dict(calls["r"].outcomes), calls["r"].fallbacks) == ({"ok": 1}, 1)
    assert dict(calls["bad/m"].outcomes) == {"overloaded": 1}
    assert dict(snapshot.total("bad").attempts) == {"overloaded": 2}
    assert snapshot.total("good").duration.count == 1


async def test_a_name_that_leads_nowhere_is_counted_without_being_kept():
    async with host() as h:
        for number in range(20):
            with pytest.raises(Exception, match="no model"):
                await h.call(Chat("hi").to(f"nobody/{number}"))
        (series,) = h.snapshot().calls
    assert (series.name, dict(series.outcomes)) == ("(unresolved)", {"unknown_model": 20})


async def test_the_socket_tells_what_the_host_knows(tmp_path):
    path = str(tmp_path / "s")
    async with host({"host": {"status_socket": path}}) as h:
        await h.call(Chat("hi").to("good/m"))
        reader, writer = await asyncio.open_unix_connection(path)
        told = json.loads(await reader.read())
        writer.close()
        await writer.wait_closed()
    assert told["snapshot"]["targets"][0]["attempts"] == {"ok": 1}
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(path)


async def test_a_socket_that_cannot_be_made_keeps_the_host_shut(tmp_path):
    (tmp_path / "s").write_text("not a socket")
    h = host({"host": {"status_socket": str(tmp_path / "s")}})
    with pytest.raises(ConfigError, match="another kind"):
        await h.open()
    (tmp_path / "s").unlink()
    async with h:
        assert (await h.call(Chat("hi").to("good/m"))).text == "good"


async def test_whoever_closes_too_waits_until_it_is_closed():
    class Patient(Good):
        async def call(self, request):
            self.waiting.set()
            await self.closed.wait()
            return Reply("done")

    h = host({"host": {"drain_timeout": 5.0}}, patient=Patient)
    await h.open()
    await h.hooks.provide_models()
    provider = running(h, "patient")
    call = asyncio.create_task(h.call(Chat("hi").to("patient/m")))
    await provider.waiting.wait()
    first, second = asyncio.create_task(h.close()), asyncio.create_task(h.close())
    await asyncio.sleep(0)
    assert not second.done()
    provider.closed.set()
    await asyncio.gather(first, second)
    assert call.done()
    assert (await call).text == "done"


class Ailing(Good):
    """Says of itself what the test wants, and notes that it was asked."""

    status = "error"

    def __init__(self, config, context):
        super().__init__(config, context)
        self.probed = asyncio.Event()

    async def health(self, deep=False):
        assert not deep  # a probe costs nothing
        self.probed.set()
        return Health(self.status)


async def test_a_probe_makes_an_ill_provider_the_last_choice_until_it_is_well():
    config = {**route("ailing/m", "good/m"), "host": {"health_interval": 0.01}}
    async with host(config, ailing=Ailing) as h:
        assert str((await h.call(Chat("hi").to("r"))).target) == "ailing/m"
        ailing = running(h, "ailing")
        await probed(ailing)
        assert str((await h.call(Chat("hi").to("r"))).target) == "good/m"
        assert str((await h.call(Chat("hi").to("ailing/m"))).target) == "ailing/m"  # there is no other
        ailing.status = "ok"
        await probed(ailing)
        assert str((await h.call(Chat("hi").to("r"))).target) == "ailing/m"


async def probed(provider):
    """A whole probe has passed: one that begins now, and its result is known."""
    for _ in range(2):
        provider.probed.clear()
        await provider.probed.wait()


@pytest.mark.parametrize("limits", [{}, {"targets": {"*": {"rate_limit": {"requests_per_minute": 1e9}}}}])
async def test_names_that_callers_invent_keep_no_gates(limits, monkeypatch):
    class Any(Good):
        complete = False

    monkeypatch.setattr("gleitzeit.pipeline.gates.MAX_GATES", 20)
    async with host({"providers": {"any": limits}}, any=Any) as h:
        for number in range(100):
            await h.call(Chat("hi").to(f"any/{number}"))
        assert len(h._pipeline._gates._gates) <= 21
        assert h.snapshot().total().count == 100
