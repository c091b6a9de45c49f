"""What a failed job, or the death of the worker, is in our errors."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from gleitzeit.errors import (
    CannotConnectError,
    GleitzeitError,
    InvalidRequestError,
    OverloadedError,
    PluginError,
    ProcessDiedError,
    ServerFaultError,
    TooLongError,
    UnknownModelError,
    UnsupportedError,
    WireError,
)

__all__ = ["died", "failed"]

_KINDS: Final[Mapping[str, type[GleitzeitError]]] = {
    "invalid": InvalidRequestError,
    "missing": PluginError,
    "no_memory": OverloadedError,
    "no_room": OverloadedError,
    "too_long": TooLongError,
    "unknown_model": UnknownModelError,
    "unsupported": UnsupportedError,
}
#: What does not pass by waiting.
_LASTING: Final = frozenset({"no_room", "fault"})


def failed(frame: Mapping[str, Any], instance: str) -> GleitzeitError:
    """The error of a job that failed."""
    kind = str(frame.get("kind"))
    made = _KINDS.get(kind, ServerFaultError)
    return made(
        f"{instance}: {frame.get('message')}",
        hint=frame.get("hint"),
        provider=instance,
        vendor_code=kind,
        retryable=False if kind in _LASTING else None,
        sent=True,
    )


def died(instance: str, status: int | None, words: str, *, ready: bool) -> WireError:
    """The error of a call whose worker ended; nothing is asked again, as the same call may have killed it."""
    said = f"its last words on stderr:\n{words}" if words else "it wrote nothing to stderr"
    if not ready:
        return CannotConnectError(
            f"{instance}: the worker does not start: it {_ending(status)}",
            hint=f"is `python` an interpreter of Python 3.10 or newer? {said}",
            provider=instance,
        )
    return ProcessDiedError(
        f"{instance}: the worker {_ending(status)}",
        hint=f"perhaps memory ran out: see `memory_budget`; {said}" if status is None or status < 0 else said,
        provider=instance,
        retryable=False,
        sent=True,
    )


def _ending(status: int | None) -> str:
    if status is None:
        return "closed its output"
    if status >= 0:
        return f"ended with exit status {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
