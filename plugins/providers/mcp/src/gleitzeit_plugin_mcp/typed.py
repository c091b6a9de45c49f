"""Errors of a Gleitzeit that serves MCP, recognised by a Gleitzeit that is its client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit import errors
from gleitzeit.errors import GleitzeitError

__all__ = ["DATA", "kind_of", "known"]

#: The key in the data of a JSON-RPC error.
DATA: Final = "gleitzeit"

#: What may be believed of another server: that it is busy, that the request is wrong, that it failed.
_KINDS: Final[Mapping[str, type[GleitzeitError]]] = {
    kind.code: kind
    for kind in (
        errors.AuthenticationError,
        errors.BreakerOpenError,
        errors.ContentRefusedError,
        errors.DeadlineError,
        errors.InvalidRequestError,
        errors.MalformedAnswerError,
        errors.OverloadedError,
        errors.PermissionDeniedError,
        errors.QueueFullError,
        errors.QuotaExhaustedError,
        errors.RateLimitedError,
        errors.SecurityDeniedError,
        errors.ServerFaultError,
        errors.TooLongError,
        errors.ToolFailedError,
        errors.TruncatedStreamError,
        errors.UnknownModelError,
        errors.UnsupportedError,
    )
}


def kind_of(code: Any) -> type[GleitzeitError] | None:
    """The kind of error with this code, if it is one that others may tell of."""
    return _KINDS.get(code) if isinstance(code, str) else None


def known(data: Any) -> tuple[type[GleitzeitError], float | None] | None:
    """The kind of error that the data tells of, and when to ask again; None where it tells nothing."""
    said = data.get(DATA) if isinstance(data, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(said.get("code"), str):
        return None
    kind, after = kind_of(said["code"]), said.get("retry_after")
    if kind is None:
        return None
    return kind, float(after) if isinstance(after, (int, float)) and after >= 0 else None
