"""JSON-RPC errors of servers as errors of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from gleitzeit.errors import (
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    ResetError,
    ServerFaultError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.wire.scrub import scrub
from gleitzeit_plugin_mcp.typed import kind_of, known
from gleitzeit_plugin_mcp.visiting import VISIT, addressed, veiled

__all__ = ["MALFORMED", "AtOnceError", "ProbeEndedItError", "again", "from_rpc", "unwrap"]

#: Marks an answer that could not even be read; only this process makes it, as the `data` of an error.
MALFORMED: Final = object()
#: What a transport answers for one failed exchange where others go on: `data.sent` says if it went out,
#: `data.error` what sort of failure it was.
_UPSTREAM: Final = -32050

_KINDS: Final[Mapping[int, tuple[type[GleitzeitError], str | None]]] = {
    -32700: (InvalidRequestError, None),
    -32600: (InvalidRequestError, None),
    -32601: (UnsupportedError, "the server does not know this method"),
    -32602: (InvalidRequestError, None),
    -32002: (UnknownModelError, None),
    -32021: (UnsupportedError, "the server wants something of its client that this host does not offer"),
    -32022: (UnsupportedError, "the server speaks another version of the protocol"),
    VISIT: (UnsupportedError, "the server wants a person to visit an address first"),
}
_SHOWN: Final = 500

E = TypeVar("E", bound=GleitzeitError)


class AtOnceError(Exception):
    """No session came to stand, and there is reason to try again at once, in another way."""


class ProbeEndedItError(AtOnceError):
    """The server ended at the modern greeting, as some old ones do; the handshake may still work."""


def from_rpc(
    code: int, message: str, data: Any, *, server: str, what: str, secrets: Iterable[str] = ()
) -> GleitzeitError:
    """The error that a server's answer to `what` amounts to; servers quote `secrets` that they refuse."""
    if data is MALFORMED:
        return MalformedAnswerError(
            f"server {server!r} answered {what} with something that is no result", provider=server, sent=True
        )
    details: dict[str, Any] = {
        "provider": server,
        "vendor_code": str(code),
        "sent": True,
        "body": _body(data),
    }
    if code == _UPSTREAM and isinstance(data, Mapping) and "sent" in data:
        details["sent"] = bool(data["sent"])
        broken = kind_of(data.get("error")) or ResetError
        return broken(f"server {server!r}: {scrub(message, secrets, limit=_SHOWN)}", **details)
    kind, hint = _KINDS.get(code, (ServerFaultError, None))
    if code == VISIT:
        hint, message = addressed(data) or hint, veiled(message, data)
    if (typed := known(data)) is not None:  # another Gleitzeit
        kind, details["retry_after"] = typed
    said = scrub(message, secrets, limit=_SHOWN)
    return kind(f"server {server!r} refused {what}: {said}", hint=hint, **details)


def again(error: E, *, sent: bool | None = None) -> E:
    """A fresh copy to raise for one more caller: a traceback and `sent` belong to one call."""
    copy = type(error).__new__(type(error))
    copy.__dict__.update(error.__dict__)
    copy.args = error.args
    copy.sent = sent
    return copy


def unwrap(error: BaseException) -> BaseException:
    """The first cause inside exception groups, errors of ours before others."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [unwrap(item) for item in error.exceptions]
    return next((leaf for leaf in leaves if isinstance(leaf, GleitzeitError)), leaves[0])


def _body(data: Any) -> bytes | None:
    if data is None:
        return None
    try:
        return msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError):
        return None
