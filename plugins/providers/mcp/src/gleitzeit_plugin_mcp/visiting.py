"""A person has to visit an address before a server does what it was asked: error -32042 of 2025-11-25."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit
from weakref import ref

from gleitzeit.errors import GleitzeitError
from gleitzeit_plugin_mcp.riding import peer_of

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.riding import Peer
    from gleitzeit_plugin_mcp.session import Connection

__all__ = ["VISIT", "Visits", "addressed", "veiled", "visited"]

#: The code of the error. The server has not acted, so the call may be repeated.
VISIT: Final = -32042
#: Seconds for the server to tell that a visit is over; then it is asked again all the same.
PATIENCE: Final = 300.0
#: Visits of clients that are remembered, so that they hear of the end.
PASSED: Final = 256
#: Characters of an address that are shown.
SHOWN: Final = 200


class Elicits(Protocol):
    """Puts a question to a person."""

    async def elicit(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The protocol's raw result."""


class Visits:
    """The visits that one session waits for, by the ids that the server gave them."""

    def __init__(self) -> None:
        self._expected: dict[str, list[asyncio.Event]] = {}
        self._passed: OrderedDict[str, ref[Peer]] = OrderedDict()

    def ended(self, id: str) -> bool:
        """The server tells that a visit is over; is it one of those that an error told of?"""
        events, found = self._expected.get(id, ()), self._passed.pop(id, None)
        for event in events:
            event.set()
        if found is not None and (peer := found()) is not None:
            peer.visited(id)
        return bool(events) or found is not None

    def passed(self, id: str, peer: Peer) -> None:
        """A client was told to have somebody visit: it is to hear of the end."""
        self._passed[id] = ref(peer)
        while len(self._passed) > PASSED:
            self._passed.popitem(last=False)

    @contextmanager
    def expected(self, ids: list[str]) -> Iterator[list[asyncio.Event]]:
        """What is set as these visits end."""
        events = [asyncio.Event() for _ in ids]
        for id, event in zip(ids, events, strict=True):
            self._expected.setdefault(id, []).append(event)
        try:
            yield events
        finally:
            for id, event in zip(ids, events, strict=True):
                self._expected[id].remove(event)
                if not self._expected[id]:
                    del self._expected[id]


async def visited(asks: Elicits, connection: Connection, error: GleitzeitError, left: float | None) -> bool:
    """Has a person done what the server wants of them, as far as anybody can tell?

    Asks one after another, then waits for the server's word, which it need not give: for half of the
    seconds `left` at most. False where nobody could be asked or a person refused.
    """
    wanted = _wanted(error)
    peer = peer_of(asks, "elicitation")
    if peer is not None and not peer.rounds:  # its protocol has the same error: it knows what to do
        for each in wanted:
            connection.visits.passed(each["elicitationId"], peer)
        return False
    if peer is not None and "url" not in (peer.capabilities["elicitation"] or ()):
        return False
    with connection.visits.expected([each["elicitationId"] for each in wanted]) as events:
        for each in wanted:
            try:
                answer = await asks.elicit({**each, "mode": "url"})
            except GleitzeitError:
                return False
            if answer.get("action") != "accept":
                return False
        await _over(events, connection, PATIENCE if left is None else min(PATIENCE, left / 2))
    return bool(wanted)


async def _over(events: list[asyncio.Event], connection: Connection, seconds: float) -> None:
    """Wait for all of them, or for the loss of the session that would tell."""

    async def told() -> None:
        for event in events:
            await event.wait()

    tasks = {asyncio.ensure_future(told()), asyncio.ensure_future(connection.lost.wait())}
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _wanted(error: GleitzeitError) -> list[dict[str, Any]]:
    """The visits that the server wants; none where it says it in a way that cannot be followed."""
    try:
        data = json.loads(error.body or b"null")
    except ValueError:
        return []
    listed = data.get("elicitations") if isinstance(data, dict) else None
    found = listed if isinstance(listed, list) else []
    whole = all(
        isinstance(each, dict)
        and isinstance(each.get("elicitationId"), str)
        and isinstance(each.get("url"), str)
        and each.get("mode", "url") == "url"
        for each in found
    )
    return found if whole else []


def addressed(data: Any) -> str | None:
    """What a person is to do, for the hint of the error; None where the server names no address.

    A query may be a key to somebody's account: it stays in the error's body.
    """
    found = []
    for url in _addresses(data):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
        except ValueError:
            continue
        address = f"{parts.scheme}://{host}{port}{parts.path}"[:SHOWN]
        if host and parts.scheme in ("https", "http") and address.isprintable():
            hidden = parts.query or parts.fragment
            found.append(address + ("?… (all of it is in the error's body)" if hidden else ""))
    return f"a person has to visit {' and '.join(found)} first; then call again" if found else None


def veiled(message: str, data: Any) -> str:
    """What the server says beside it, without the addresses."""
    for url in _addresses(data):
        message = message.replace(url, "…") if url else message
    return message


def _addresses(data: Any) -> list[str]:
    listed = data.get("elicitations") if isinstance(data, Mapping) else None
    rows = [each for each in (listed if isinstance(listed, list) else ()) if isinstance(each, Mapping)]
    return [url for row in rows if isinstance(url := row.get("url"), str)]
