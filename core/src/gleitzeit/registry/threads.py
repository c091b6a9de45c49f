"""Runs slow synchronous work, such as an import, beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from gleitzeit.errors import PluginLoadError

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[], T], name: str) -> T:
    """The result of `work`, run in a daemon thread of its own.

    Cancelling the caller abandons the thread: synchronous code cannot be stopped, and a pool's
    thread would keep the interpreter from exiting. `SystemExit` out of `work` is a
    `PluginLoadError`: a plugin must not end its host.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # None only beside an error
        else:
            future.set_exception(error)

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except Exception as failure:  # noqa: BLE001 - it is handed to the waiting task
            error = failure
        except BaseException as failure:  # noqa: BLE001 - it is handed to the waiting task
            error = PluginLoadError(f"{name} raised {type(failure).__name__}: {failure}")
            error.__cause__ = failure
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=f"gleitzeit {name}", daemon=True).start()
    return await future
