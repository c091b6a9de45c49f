"""Runs a command that needs the host: opens it, ends it in order whatever signal comes."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gleitzeit.cli.failures import HANGUP, TERMINATED
from gleitzeit.cli.logs import logs
from gleitzeit.cli.settings import read
from gleitzeit.host import Host

if TYPE_CHECKING:
    from argparse import Namespace

    from gleitzeit.cli.output import Output

__all__ = ["StoppedError", "run", "stoppable", "with_host"]

T = TypeVar("T")
_SIGNALS: Final = {"SIGTERM": TERMINATED, "SIGHUP": HANGUP}


class StoppedError(KeyboardInterrupt):
    """A signal asks the process to end; its argument is the exit code."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `StoppedError` in the main thread, as Python turns SIGINT into its own."""

    def stop(number: int, frame: object) -> None:
        raise StoppedError(128 + number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in _SIGNALS:
            if hasattr(signal, name):  # Windows has no SIGHUP
                before[getattr(signal, name)] = signal.signal(getattr(signal, name), stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def with_host(options: Namespace, output: Output, work: Callable[[Host], Coroutine[Any, Any, T]]) -> T:
    """What `work` gives with an open host. Ctrl-C and SIGTERM cancel it, close the host, and then raise."""
    config, index = read(options, output)

    async def main() -> T:
        async with Host(config, index=index) as host:
            return await work(host)

    with logs(output):
        return run(main())


def run(main: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine in a loop of its own."""
    stopped: list[int] = []

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def stop(code: int) -> None:
            stopped.append(code)
            task.cancel()

        for name, code in _SIGNALS.items():
            if hasattr(signal, name) and threading.current_thread() is threading.main_thread():
                try:
                    loop.add_signal_handler(getattr(signal, name), stop, code)
                except NotImplementedError:  # Windows: the process just ends
                    break
        return await main

    try:
        with asyncio.Runner() as runner:
            return runner.run(guarded())
    except asyncio.CancelledError:
        if stopped:
            raise StoppedError(stopped[0]) from None
        raise
