"""Plugins that are installed and not used cost a call nothing."""

import asyncio
import gc
import os
import selectors
import sys

import pytest

from gleitzeit import Chat, Host
from gleitzeit.discovery import Index, scan
from tests.benchmarks.synthetic import TELLTALE, make
from tests.reliability.faults import Backup

COUNT = 100
LOOP = (os.path.dirname(asyncio.__file__) + os.sep, selectors.__file__)


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    """An index of very many idle plugins, importable and ready to tell on their import."""
    monkeypatch.setenv(TELLTALE, str(tmp_path / "imported"))
    folder = str(make(tmp_path / "plugins", COUNT))
    monkeypatch.syspath_prepend(folder)
    index = scan([folder])
    assert len(index.of_kind("provider")) == COUNT
    return index


async def least_work(index):
    """The work of a call without what the process has to do beside it at times, which only adds."""
    return min([await work_of_a_call(index) for _ in range(5)], key=len)


async def work_of_a_call(index):
    """The calls of functions, Python's and C's, that one `host.call` makes once its route is compiled.

    Not those of the event loop, which may be woken by what earlier tests left to its threads.
    """
    async with Host({}, plugins={"backup": Backup}, environ={}, index=index) as host:
        request = Chat("hi").to("backup/m")
        await host.call(request)
        made = []

        def note(frame, event, function):
            if event in ("call", "c_call") and not frame.f_code.co_filename.startswith(LOOP):
                made.append(frame.f_code.co_name if event == "call" else function.__name__)

        gc.collect()
        gc.disable()  # a collection in the middle would be noted as work of the call
        sys.setprofile(note)
        try:
            await host.call(request)
        finally:
            sys.setprofile(None)
            gc.enable()
        return made


async def test_idle_plugins_do_not_change_what_a_call_does(crowd):
    alone = await least_work(Index())
    assert await least_work(crowd) == alone
    assert 50 < len(alone) < 200


async def test_idle_plugins_are_not_imported_by_opening_calling_and_listing(crowd, tmp_path):
    before = set(sys.modules)
    async with Host({}, plugins={"backup": Backup}, environ={}, index=crowd) as host:
        await host.call(Chat("hi").to("backup/m"))
        await asyncio.sleep(0)
        assert len(list(host._registry)) == COUNT + 1
    assert not [name for name in set(sys.modules) - before if name.startswith("bench_idle")]
    assert not (tmp_path / "imported").exists()


async def test_a_synthetic_plugin_is_a_real_one(crowd, tmp_path):
    async with Host({}, environ={}, index=crowd) as host:
        assert (await host.call(Chat("hi").to("idle007/small"))).text == "idle"
    assert (tmp_path / "imported").read_text().split() == ["bench_idle_007"]
    del sys.modules["bench_idle_007"]
