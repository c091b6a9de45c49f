"""What this process holds: tasks, threads, children, file descriptors, memory."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import threading
from pathlib import Path
from typing import NamedTuple

__all__ = ["Held", "held", "rss", "settled"]

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None  # glibc's


class Held(NamedTuple):
    """How much of each."""

    tasks: int
    threads: int
    children: int
    descriptors: int


def held() -> Held:
    """What is held now; the threads of the loop's own pool, which it starts as it likes, do not count."""
    children = 0
    for path in Path("/proc/self/task").glob("*/children"):
        children += len(path.read_text().split())
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    threads = sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())
    return Held(len(asyncio.all_tasks()), threads, children, descriptors)


async def settled(before: Held, seconds: float = 0.5) -> Held:
    """What is held as soon as it is no more than `before`, or after so long: sockets close in callbacks."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while any(now > then for now, then in zip(held(), before, strict=True)) and loop.time() < end:
        gc.collect()
        await asyncio.sleep(0.01)
    return held()


def rss() -> int:
    """Bytes of memory that are resident now; 0 where the system does not say.

    What the allocator keeps for later is given back first, where it can be asked to: it is no leak.
    """
    gc.collect()
    if _trim is not None:
        _trim(0)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
