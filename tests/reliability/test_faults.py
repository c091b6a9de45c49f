"""After very many calls, a fifth of them with faults, nothing is left of them."""

import asyncio
import gc
import os
import sys

import pytest

from gleitzeit import Chat, Host
from gleitzeit.discovery import Index
from gleitzeit.errors import PluginError
from tests.reliability.faults import FAULTS, Backup, Faulty, plans, run

CONFIG = {
    "host": {"retry": {"base_delay": 0.0001}, "circuit_breaker": {"enabled": False}},
    "routes": {"route": {"targets": ["faulty/m", "backup/m"]}},
}


def host():
    return Host(CONFIG, plugins={"faulty": Faulty, "backup": Backup}, environ={}, index=Index())


def leases(host):
    return {instance.name: instance.leases for instance in host._registry if instance.leases}


def timers():
    """The timers that will still fire; asyncio keeps cancelled ones for a while."""
    return [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]


def descriptors():
    return os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []


def blocks():
    gc.collect()
    return sys.getallocatedblocks()


async def test_ten_thousand_calls_with_faults_leave_nothing_and_memory_does_not_grow():
    before = len(descriptors())
    async with host() as h:
        half = plans(4000, seed=7)
        await run(h, plans(2000, seed=1))  # caches and pools reach their size
        await run(h, half)
        first = blocks()
        outcomes = await run(h, half)
        grown = blocks() - first
        assert outcomes.strange == []
        assert leases(h) == {}
        assert len(timers()) <= 1  # the host's clock
        assert {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}} == {
            "gleitzeit faulty",
            "gleitzeit backup",
        }
        assert len(descriptors()) == before
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert timers() == []
    assert grown < len(half) / 20, (
        f"{grown} more blocks of memory after {len(half)} more calls: {outcomes.ended}"
    )


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_each_kind_ends_in_a_typed_error_or_an_answer(fault):
    todo = [plan for plan in plans(20_000, seed=3) if plan.fault == fault][:150]
    async with host() as h:
        outcomes = await run(h, todo)
        assert outcomes.strange == []
        assert sum(outcomes.ended.values()) == len(todo)
        assert leases(h) == {}
    assert timers() == []


class Broken(Backup):
    """Cannot be built."""

    def __init__(self, config, context):
        raise ValueError("no such account")


@pytest.mark.parametrize("name", ["missing", "broken"])
async def test_calls_to_a_plugin_that_does_not_run_use_no_more_memory_with_each(name):
    config = {"providers": {"missing": {"plugin": "nowhere"}, "broken": {"plugin": "broken"}}}
    async with Host(config, plugins={"broken": Broken}, environ={}, index=Index()) as h:

        async def ask(count):
            for _ in range(count):
                with pytest.raises(PluginError):
                    await h.call(Chat("hi").to(f"{name}/m"))
                await asyncio.sleep(0)  # the loop forgets cancelled timers between callbacks

        await ask(100)
        first = blocks()
        await ask(400)
        assert blocks() - first < 100
