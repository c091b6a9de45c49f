"""The states that clients of the modern era bring back: sealed, and of nobody but whom they were given to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

from gleitzeit.errors import ConfigError

__all__ = ["principal", "sealed"]

#: Bytes of a key: fewer could be guessed.
LEAST: Final = 32
_MAKE: Final = 'python -c "import secrets; print(secrets.token_hex(32))"'


def principal(context: ServerRequestContext[Any, Any]) -> str | None:
    """Whose request it is; None where the wire does not say."""
    found: str | None = None
    if context.request is not None:
        found = context.request.scope.get("gleitzeit.principal")
    return found


def sealed(keys: Sequence[str], audience: str) -> RequestStateBoundary:
    """A middleware that seals states with the first key and opens those of all; without keys only its own.

    Raises `ConfigError` for a key that is too short.
    """
    for key in keys:
        if len(key.encode()) < LEAST:
            raise ConfigError(
                f"a state key has {len(key.encode())} bytes, of the {LEAST} that it needs", hint=_MAKE
            )
    if keys:
        security = RequestStateSecurity(keys=list(dict.fromkeys(keys)), bind_principal=principal)
    else:
        security = RequestStateSecurity.ephemeral()
        security.bind_principal = principal
    return RequestStateBoundary(security, default_audience=audience)
