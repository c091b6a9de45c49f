"""The person at the terminal: is there one, and what does he or she say?"""

from __future__ import annotations

import asyncio
import sys
from typing import Final
from weakref import WeakKeyDictionary

from gleitzeit.cli.output import Output

__all__ = ["present", "read_line", "turn"]

_TURNS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()


def present(output: Output) -> bool:
    """Can somebody be asked: are standard input and error a terminal?"""
    return output.talks and sys.stdin is not None and sys.stdin.isatty()


def turn() -> asyncio.Lock:
    """Held by whoever asks, from the question to the answer: several may want to at once."""
    return _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Lock())


async def read_line() -> str:
    """The next line from the terminal; empty at its end. Can be cancelled, except on Windows."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def ready() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    try:
        loop.add_reader(sys.stdin, ready)
    except NotImplementedError:  # Windows
        return await asyncio.to_thread(sys.stdin.readline)
    try:
        return await line
    finally:
        loop.remove_reader(sys.stdin)
