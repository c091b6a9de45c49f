"""The names by which a configuration speaks of errors: our codes, and the words that others use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gleitzeit import errors

__all__ = ["NAMES", "codes"]


def _known() -> dict[str, tuple[str, ...]]:
    """Each code with those of the errors that stand beneath it in the tree."""
    classes = [getattr(errors, name) for name in errors.__all__]
    return {
        above.code: tuple(below.code for below in classes if issubclass(below, above)) for above in classes
    }


_CODES: Final[Mapping[str, tuple[str, ...]]] = _known()
_WORDS: Final[Mapping[str, str]] = {
    "auth": "authentication",
    "authentication_failed": "authentication",
    "connect": "wire",
    "connection_error": "wire",
    "content_filter": "content_refused",
    "context_length": "too_long",
    "deadline_exceeded": "deadline",
    "internal_error": "server_fault",
    "mid_stream": "truncated_stream",
    "not_found": "unknown_model",
    "permission_denied": "permission",
    "quota_exceeded": "quota_exhausted",
    "rate_limit_exceeded": "rate_limited",
    "server_error": "server_fault",
    "service_unavailable": "overloaded",
    "timeout": "deadline",
    "too_large": "too_long",
}
#: Every name that means something; upper and lower case are the same.
NAMES: Final = tuple(sorted((*_CODES, *_WORDS)))


def codes(name: str) -> tuple[str, ...]:
    """The codes that a name stands for, `capacity` for all errors of its kind; empty: none."""
    folded = name.casefold()
    return _CODES.get(_WORDS.get(folded, folded), ())
