"""What the end of a gRPC stream means, in errors of ours.

Status codes: https://grpc.io/docs/guides/status-codes/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from gleitzeit.errors import (
    AuthenticationError,
    CannotConnectError,
    GleitzeitError,
    OverloadedError,
    PermissionDeniedError,
    ResetError,
)
from gleitzeit.wire.scrub import scrub

__all__ = ["reason"]

_KINDS: Final[Mapping[str, tuple[type[GleitzeitError], str, str | None]]] = {
    "OK": (ResetError, "ended the session", None),
    "UNAUTHENTICATED": (
        AuthenticationError,
        "does not know who we are",
        'give its token in `headers`: authorization = "Bearer ${TOKEN}"',
    ),
    "PERMISSION_DENIED": (PermissionDeniedError, "does not let us in", None),
    "UNIMPLEMENTED": (
        CannotConnectError,
        "speaks gRPC, but has no mcp.transport.v1.Mcp/Session",
        "is this the address of an MCP server?",
    ),
}
_SHOWN: Final = 300


def reason(name: str, code: str, details: str, *, stood: bool, secrets: Iterable[str] = ()) -> GleitzeitError:
    """The error for a stream to server `name` that ended with a status; `stood`: did it ever stand?

    Of what the server says of it, `secrets` are not quoted.
    """
    if code in _KINDS:
        kind, what, hint = _KINDS[code]
    elif code == "RESOURCE_EXHAUSTED" and "larger than max" in details:
        kind, what, hint = (
            ResetError,
            "sent too large a message",
            "raise `max_message_bytes` of the transport",
        )
    elif code == "RESOURCE_EXHAUSTED":
        kind, what, hint = OverloadedError, "has no room for another session", None
    elif stood:
        kind, what, hint = ResetError, "was lost", None
    else:
        kind, what, hint = CannotConnectError, "cannot be reached", "check `url`, and that the server runs"
    said = f": {scrub(details, secrets, limit=_SHOWN)}" if details else ""
    sent = False if kind is CannotConnectError else None
    return kind(f"server {name!r} {what} ({code}{said})", hint=hint, provider=name, sent=sent)
