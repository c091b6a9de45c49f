"""What rides on a call from a client of a server of ours to the MCP server that answers it.

The corridor knows operations and replies; what the protocol says beside them (`_meta`, a result's
unknown fields) travels here, so that it reaches the other side as it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

__all__ = [
    "NAMES",
    "Peer",
    "Slip",
    "aboard",
    "declared",
    "landed",
    "overheard",
    "passed_on",
    "peer_of",
    "riding",
    "seen_off",
    "tasked",
    "unrelated",
    "with_extras",
]

#: The parameter that names what a method is about.
NAMES: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class Peer(Protocol):
    """The client that waits for a call, which may be asked something meanwhile."""

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What it says that it can be asked."""

    @property
    def rounds(self) -> bool:
        """Does it take a server's questions as a result, and repeat the call with its answers?"""

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Its raw answer; raises a `GleitzeitError` where it gives none."""

    def tell(self, params: Mapping[str, Any]) -> None:
        """Pass on a log message of the server's, in raw; never waits."""

    @property
    def held(self) -> bool:
        """Does it wait no longer, as the call goes on as a task?"""

    def tasked(self, poll: float, said: str | None) -> None:
        """The server goes on with the call as a task, to be looked at every `poll` seconds.

        `said` is what it is at. Never waits; called again when it is at something else.
        """

    def visited(self, id: str) -> None:
        """Tell that a visit is over which the client was told of by an error; never waits."""


class Slip:
    """Belongs to one request: only the call to this instance, of this method, on this thing, takes it."""

    __slots__ = ("extras", "instance", "method", "name", "peer", "result")

    def __init__(
        self, instance: str, method: str, name: str, extras: Mapping[str, Any], peer: Peer | None
    ) -> None:
        self.instance = instance
        self.peer = peer
        self.method = method
        self.name = name
        #: Parameters beside the name and the arguments.
        self.extras = extras
        #: The raw result, once it has come.
        self.result: Mapping[str, Any] | None = None

    def fits(self, instance: str, method: str, params: Mapping[str, Any]) -> bool:
        """Is it the call that this belongs to?"""
        key = NAMES.get(method)
        return (
            key is not None
            and method == self.method
            and instance == self.instance
            and params.get(key) == self.name
        )


#: Who waits for the calls in flight at a server, by what answers that server; None: the application itself.
_waiting: WeakKeyDictionary[Any, list[Peer | None]] = WeakKeyDictionary()
_current: ContextVar[Slip | None] = ContextVar("gleitzeit-mcp-slip", default=None)


@contextmanager
def riding(slip: Slip) -> Iterator[Slip]:
    """Let the calls made inside of the block take the slip."""
    token = _current.set(slip)
    try:
        yield slip
    finally:
        _current.reset(token)


@contextmanager
def unrelated() -> Iterator[None]:
    """For tasks that may have been started in the midst of a call, and belong to none."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def with_extras(instance: str, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters with what rides on the call."""
    slip = _current.get()
    if slip is None or not slip.extras or not slip.fits(instance, method, params):
        return params
    return {**slip.extras, **params}


def landed(instance: str, method: str, params: Mapping[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """The result, noted for who asked."""
    slip = _current.get()
    if slip is not None and slip.fits(instance, method, params):
        slip.result = result
    return result


def passed_on(instance: str, method: str, params: Mapping[str, Any]) -> bool:
    """Are the server's questions the client's to answer, in the next round?"""
    slip = _current.get()
    return (
        slip is not None
        and slip.peer is not None
        and slip.peer.rounds
        and not slip.peer.held
        and slip.fits(instance, method, params)
    )


def tasked(instance: str, method: str, params: Mapping[str, Any], poll: float, said: str | None) -> None:
    """The server goes on with the call as a task; the client that waits for it may take it as such."""
    slip = _current.get()
    if slip is not None and slip.peer is not None and slip.fits(instance, method, params):
        slip.peer.tasked(poll, said)


@contextmanager
def aboard(asks: Any) -> Iterator[None]:
    """A call is in flight at the server whose questions `asks` answers."""
    slip = _current.get()
    peer = None if slip is None else slip.peer
    waiting = _waiting.setdefault(asks, [])
    waiting.append(peer)
    try:
        yield
    finally:
        waiting.remove(peer)


def peer_of(asks: Any, capability: str) -> Peer | None:
    """The client that a server's question is for, if it can be asked such.

    A server of the handshake era does not say which call made it ask: where several wait, nobody is
    asked what may be somebody else's.
    """
    slip = _current.get()
    found = _only(asks) if slip is None else slip.peer
    return found if found is not None and capability in found.capabilities else None


def declared(own: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a modern server may ask during this call: of who waits for it, or what is our `own`."""
    slip = _current.get()
    if slip is None or slip.peer is None:
        return own
    if not slip.peer.rounds:
        return {**own, **slip.peer.capabilities}
    # Extensions are the host's: what a server answers by them it takes apart itself.
    extensions = own.get("extensions")
    return {**slip.peer.capabilities, "extensions": extensions} if extensions else slip.peer.capabilities


def overheard(asks: Any, params: Mapping[str, Any]) -> None:
    """A log message of the server's: for the client whose calls alone are in flight there."""
    peer = _only(asks)
    if peer is not None:
        peer.tell(params)


def seen_off(asks: Any, id: str) -> None:
    """A visit is over that the server had asked for in the midst of a call: for the one client that waits."""
    peer = _only(asks)
    if peer is not None:
        peer.visited(id)


def _only(asks: Any) -> Peer | None:
    waiting = _waiting.get(asks) or [None]
    return waiting[0] if all(each is waiting[0] for each in waiting) else None
