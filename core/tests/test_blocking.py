"""The host without await."""

import asyncio
import os
import signal
import threading

import pytest

from gleitzeit import BlockingHost, Chat, Finished, Model, Provider, Reply, Stream, TextDelta
from gleitzeit.discovery import Index
from gleitzeit.errors import PluginError, UnknownModelError, UsageError


class Good(Provider):
    closed = None

    def provide_models(self):
        return [Model("m"), Model("slow")]

    async def call(self, request):
        if request.name == "slow":
            self.context.logger.debug("waiting")
            type(self).waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                type(self).closed.set()
        return Stream(self.events()) if request.stream else Reply("good", finish_reason="stop")

    async def events(self):
        yield TextDelta("go")
        yield TextDelta("od")
        yield Finished("stop")


class Bad(Provider):
    def __init__(self, config, context):
        raise RuntimeError("no")


@pytest.fixture
def host():
    Good.waiting, Good.closed = threading.Event(), threading.Event()
    with BlockingHost({}, plugins={"good": Good}, environ={}, index=Index(())) as host:
        yield host


def test_a_call_needs_no_await(host):
    assert host.call(Chat("hi").to("good/m")).text == "good"


def test_a_stream_is_a_for_loop(host):
    with host.stream(Chat("hi").to("good/m")) as stream:
        assert [event.text for event in stream if isinstance(event, TextDelta)] == ["go", "od"]
    assert stream.reply.text == "good"


def test_the_snapshot_counts_what_went_through(host):
    host.call(Chat("hi").to("good/m"))
    assert dict(host.snapshot().total("good").attempts) == {"ok": 1}


def test_providers_are_started_and_found_by_their_models():
    config = {
        "providers": {"good": {"models": ["m"]}},
        "routes": {"both": {"targets": ["bad/x", "good/m"]}, "lost": {"targets": ["bad/x", "nobody"]}},
        "aliases": {"any": "both", "self": "self"},
    }
    plugins = {"good": Good, "bad": Bad}
    with BlockingHost(config, plugins=plugins, environ={}, index=Index(())) as host:
        assert not host.provider_of("good/m").connected
        assert host.start() == {"good": True, "bad": False}
        assert [host.provider_of(name).name for name in ("good/m", "m", "any", "both")] == ["good"] * 4
        assert host.provider_of("good/m").connected
        assert [host.provider_of(name) for name in ("nobody", "good/nobody", "self")] == [None] * 3
        with pytest.raises(PluginError, match="bad"):
            host.provider_of("lost")


def test_leaving_a_stream_early_closes_it(host):
    with host.stream(Chat("hi").to("good/m")) as stream:
        next(iter(stream))
    assert list(stream) == []


def test_errors_come_through(host):
    with pytest.raises(UnknownModelError):
        host.call(Chat("hi").to("good/none"))


def test_many_threads_share_one_host(host):
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.append(host.call(Chat("hi").to("good/m")).text))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == ["good"] * 16


def test_a_call_in_its_own_thread_is_refused(host):
    async def inside():
        host.call(Chat("hi").to("good/m"))

    with pytest.raises(UsageError, match="wait for itself"):
        host.run(inside())


def test_a_closed_host_refuses_calls():
    host = BlockingHost({}, plugins={"good": Good}, environ={}, index=Index(()))
    with pytest.raises(UsageError, match="not open"):
        host.call(Chat("hi").to("good/m"))
    with host:
        pass
    with pytest.raises(UsageError, match="not open"):
        host.call(Chat("hi").to("good/m"))
    host.close()


def test_ctrl_c_cancels_the_call_at_its_provider(host):
    host.offers("models")

    def interrupt():
        Good.waiting.wait(5)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        host.call(Chat("hi").to("good/slow"))
    thread.join()
    assert Good.closed.wait(5)
    assert host.call(Chat("hi").to("good/m")).text == "good"
