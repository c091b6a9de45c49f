"""Errors of ours as the protocol's, without what only the operator should read."""

from __future__ import annotations

import json
from typing import Any, Final

from mcp import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, REQUEST_TIMEOUT

from gleitzeit.errors import (
    AmbiguousModelError,
    ConfigError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    PluginError,
    TooLongError,
    UnknownModelError,
    UnsupportedError,
    UsageError,
    WireError,
)
from gleitzeit_plugin_mcp.typed import DATA

__all__ = ["refusal", "wrong"]

#: What these say is about this machine: paths, commands, settings.
_INNER: Final = (ConfigError, PluginError, UsageError, WireError)
_CODES: Final[tuple[tuple[type[GleitzeitError], int], ...]] = (
    (InvalidRequestError, INVALID_PARAMS),
    (TooLongError, INVALID_PARAMS),
    (UnknownModelError, INVALID_PARAMS),
    (AmbiguousModelError, INVALID_PARAMS),
    (UnsupportedError, INVALID_PARAMS),
    (DeadlineError, REQUEST_TIMEOUT),
)
#: Codes with a meaning between a server and its own client alone.
_PRIVATE: Final = frozenset({-32000, -32020, -32022, -32050})


def refusal(error: BaseException) -> MCPError:
    """The answer to a request that failed with `error`."""
    if not isinstance(error, GleitzeitError):
        return MCPError(code=INTERNAL_ERROR, message="Internal error")
    code = next((code for kind, code in _CODES if isinstance(error, kind)), INTERNAL_ERROR)
    said: dict[str, Any] = {"code": error.code, "retryable": error.retryable}
    if error.retry_after is not None:
        said["retry_after"] = error.retry_after
    if isinstance(error, _INNER):
        where = f" of {error.provider!r}" if error.provider else ""
        return MCPError(code=code, message=f"the upstream{where} is not available", data={DATA: said})
    data: dict[str, Any] = {DATA: said}
    # What an upstream answered in the protocol's own words is passed on in them.
    try:
        theirs = int(error.vendor_code or "")
    except ValueError:
        theirs = 0
    if -32768 <= theirs < -31999 and theirs not in _PRIVATE:
        code = theirs
        if error.body:
            try:
                found = json.loads(error.body)
            except ValueError:
                found = None
            if isinstance(found, dict):
                data = {**found, **data}
    return MCPError(code=code, message=error.message, data=data)


def wrong(message: str) -> MCPError:
    """The answer to parameters that cannot be meant."""
    return MCPError(code=INVALID_PARAMS, message=message)
