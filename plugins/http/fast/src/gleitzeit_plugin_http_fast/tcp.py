"""A TCP connection to a name: its addresses are tried one after the other, and beside each other if need be.

The event loop's own way loses a socket where it is cancelled between the connecting and the handing over.
"""

from __future__ import annotations

import asyncio
import socket
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

__all__ = ["abort", "connect"]

#: Seconds after which the next address is tried beside one that does not answer (RFC 8305).
_STAGGER: Final = 0.25

Address: TypeAlias = tuple[Any, Any, int, str, Any]


async def connect(host: str, port: int) -> socket.socket:
    """A connected socket, which the caller closes. Raises `OSError`; cancelled, it leaves nothing open."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError(f"{host} has no address")
    if len(found) == 1:
        return await _try(loop, found[0])
    return await _race(loop, _in_turns(found))


async def _try(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    family, kind, protocol, _, place = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


async def _race(loop: asyncio.AbstractEventLoop, addresses: list[Address]) -> socket.socket:
    """The first that connects wins; the next one starts when one has failed or been slow."""
    running: set[asyncio.Task[socket.socket]] = set()
    errors: list[BaseException] = []
    left = iter(addresses)
    more = True
    try:
        while True:
            address = next(left, None)
            more = address is not None
            if address is not None:
                running.add(loop.create_task(_try(loop, address)))
            elif not running:
                raise errors[0]
            done, _ = await asyncio.wait(
                running, timeout=_STAGGER if more else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None:
                    running.discard(task)
                    return task.result()
                running.discard(task)
                errors.append(error)
    finally:
        for task in running:
            task.add_done_callback(_discard)
            task.cancel()


def _discard(task: asyncio.Task[socket.socket]) -> None:
    """Close what has connected all the same."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _in_turns(addresses: list[Address]) -> list[Address]:
    """The families by turns, each in the resolver's order: a broken one costs one wait, not many."""
    families: dict[Any, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    return [address for address in chain(*zip_longest(*families.values())) if address is not None]


def abort(transport: asyncio.WriteTransport | None) -> None:
    """Close at once, in whatever state it is."""
    if transport is not None:
        try:
            transport.abort()
        except AttributeError:
            pass  # early releases of 3.11 take a TLS transport that is lost for one that stands
