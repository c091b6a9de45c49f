"""Runs a command that needs the host: opens it, ends it in order whatever signal comes."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gleitzeit.cli.failures import HANGUP, TERMINATED
from gleitzeit.cli.form import form
from gleitzeit.cli.logs import logs
from gleitzeit.cli.settings import read
from gleitzeit.host import Host

if TYPE_CHECKING:
    from argparse import Namespace

    from gleitzeit.cli.output import Output

__all__ = ["Drain", "Signals", "StoppedError", "run", "stoppable", "with_host"]

T = TypeVar("T")
_SIGNALS: Final = {"SIGTERM": TERMINATED, "SIGHUP": HANGUP}
#: Seconds to print an answer that came at the last moment.
GRACE: Final = 0.5


class StoppedError(KeyboardInterrupt):
    """A signal asks the process to end; its argument is the exit code."""


class Drain:
    """Lets work finish what is in flight once it has been asked to end: `ask` may come from any thread."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Is there something that could finish?"""
        return self._loop is not None

    def ask(self) -> None:
        """Start no more calls, and end within `host.drain_timeout`."""
        if self._loop is None:
            self._asked.set()
        else:
            self._loop.call_soon_threadsafe(self._asked.set)

    async def run(self, host: Host, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. After `ask` the host is closed, and cancelled is what then still waits.

        Cancelling this cancels the work at once.
        """
        self._loop = asyncio.get_running_loop()
        task = asyncio.create_task(work)
        asked = asyncio.create_task(self._asked.wait())
        steps: set[asyncio.Task[Any]] = {task, asked}
        try:
            await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                seconds = host.config.host.drain_timeout
                self._output.note(f"ending: {seconds:g} s for what is in flight, the next signal ends it now")
                closing = asyncio.create_task(host.close())
                steps.add(closing)
                await asyncio.wait({closing})
                await asyncio.wait({task}, timeout=GRACE)
        finally:
            asked.cancel()
            task.cancel()
            await asyncio.wait(steps)
        return task.result()


class Signals:
    """Turns SIGTERM and SIGHUP into `StoppedError` in the main thread.

    While `gentle` is set the first signal calls it instead, and only the second raises.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.gentle: Callable[[], None] | None = None

    def check(self) -> None:
        """Raise `StoppedError` if a signal has come."""
        if self.code is not None:
            raise StoppedError(self.code)

    def __call__(self, number: int, frame: object) -> None:
        first = self.code is None
        self.code = self.code or 128 + number
        if first and self.gentle is not None:
            self.gentle()
        else:
            raise StoppedError(self.code)


@contextmanager
def stoppable() -> Iterator[Signals]:
    """End by SIGTERM and SIGHUP inside of the block, as Python does by SIGINT."""
    signals = Signals()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in _SIGNALS:
            if hasattr(signal, name):  # Windows has no SIGHUP
                before[getattr(signal, name)] = signal.signal(getattr(signal, name), signals)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def with_host(
    options: Namespace,
    output: Output,
    work: Callable[[Host], Coroutine[Any, Any, T]],
    *,
    drains: bool = True,
    person: bool = False,
) -> T:
    """What `work` gives with an open host; after a signal it is closed, and `StoppedError` raised.

    The first SIGTERM or SIGHUP lets calls in flight finish, for at most `host.drain_timeout`, unless
    not `drains`; the second, and Ctrl-C, cancel them. With `person`, questions of servers are put to
    whoever sits at the terminal.
    """
    config, index = read(options, output)
    drain = Drain(output)

    async def main() -> T:
        async with Host(config, index=index, on_elicit=form(output) if person else None) as host:
            return await (drain.run(host, work(host)) if drains else work(host))

    with logs(output):
        return run(main(), drain)


def run(main: Coroutine[Any, Any, T], drain: Drain | None = None) -> T:
    """The result of a coroutine in a loop of its own; a signal cancels it, or asks `drain` first."""
    stopped: list[int] = []

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def stop(code: int) -> None:
            stopped.append(code)
            if len(stopped) == 1 and drain is not None and drain.begun:
                drain.ask()
            else:
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
            result = runner.run(guarded())
    except (Exception, asyncio.CancelledError) as error:
        if stopped:
            raise StoppedError(stopped[0]) from error
        raise
    if stopped:
        raise StoppedError(stopped[0])
    return result
