"""Rate limits from the headers of an answer, whichever vendor's words they are in.

OpenAI and most who imitate it say `x-ratelimit-limit-requests`, Anthropic
`anthropic-ratelimit-requests-limit`, others the plain `ratelimit-limit` of an IETF draft. Where
several speak of one limit, that of a day stands back behind that of a minute.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gleitzeit.values import Limit, RateLimits

__all__ = ["duration", "rate_limits"]

_PIECES: Final = ("limit", "remaining", "reset")
#: Our field, and what vendors call it, the weightiest word first.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "requests": ("requests", "requests-minute", "req-minute", "requests-day"),
    "tokens": ("tokens", "tokens-minute"),
    "input_tokens": ("input-tokens", "tokens-prompt"),
    "output_tokens": ("output-tokens", "tokens-generated"),
}
_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6}
_PART: Final = re.compile(r"(\d{1,12}(?:\.\d{0,12})?)(ms|us|µs|[dhms])", re.ASCII)
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_LEADING: Final = re.compile(rb"\s*(\d{1,18})\s*(?:\Z|;|,\s)")
#: Seconds since 1970 where a span of time stands otherwise; the larger ones are milliseconds.
_EPOCH: Final = 1e9
_EPOCH_MS: Final = 1e12


def _names() -> dict[bytes, tuple[int, int, int]]:
    """Each header: the number of our field, the place in its `Limit`, and how far it stands back."""
    names: dict[bytes, tuple[int, int, int]] = {}
    for place, piece in enumerate(_PIECES):
        for field, words in enumerate(_FIELDS.values()):
            for rank, word in enumerate(words):
                names[f"x-ratelimit-{piece}-{word}".encode()] = (field, place, rank)
                names[f"anthropic-ratelimit-{word}-{piece}".encode()] = (field, place, rank)
        for rank, prefix in enumerate(("ratelimit", "x-ratelimit", "x-rate-limit"), start=8):
            names[f"{prefix}-{piece}".encode()] = (0, place, rank)
        names[f"ratelimitbysize-{piece}".encode()] = (1, place, 8)
        names[f"x-ratelimitbysize-{piece}-minute".encode()] = (1, place, 9)
    return names


_NAMES: Final = _names()
_SHORTEST: Final = min(map(len, _NAMES))


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """What `headers` say of rate limits; None where they say nothing. Never raises.

    What makes no sense counts as not said.
    """
    raw: list[tuple[bytes, bytes]] | None = getattr(headers, "raw", None)  # without decoding all of them
    if raw is None:
        raw = [
            (name.encode("utf-8", "replace"), text.encode("utf-8", "replace"))
            for name, text in headers.items()
        ]
    found = [pair for pair in raw if len(pair[0]) >= _SHORTEST and (b"imit" in pair[0] or b"IMIT" in pair[0])]
    return _read(found) if found else None


def _read(found: list[tuple[bytes, bytes]]) -> RateLimits | None:
    limits: list[list[Any]] = [[], [], [], []]
    ranks = [99] * 4
    for name, text in found:
        known = _NAMES.get(name) or _NAMES.get(name.lower())
        if known is None:
            continue
        field, place, rank = known
        value = _count(text) if place < 2 else _reset(text)
        if value is None or rank > ranks[field]:
            continue
        if rank < ranks[field]:
            ranks[field] = rank
            limits[field] = [None, None, None]
        limits[field][place] = value
    requests, tokens, input_tokens, output_tokens = limits
    if not (requests or tokens or input_tokens or output_tokens):
        return None
    return RateLimits(
        requests=Limit(*requests) if requests else None,
        tokens=Limit(*tokens) if tokens else None,
        input_tokens=Limit(*input_tokens) if input_tokens else None,
        output_tokens=Limit(*output_tokens) if output_tokens else None,
    )


def _count(text: bytes) -> int | None:
    """A whole number; the draft lets windows follow it, as in `100, 100;w=60`."""
    if text.isdigit() and len(text) <= 18:
        return int(text)
    match = _LEADING.match(text)
    return int(match[1]) if match else None


def _reset(raw: bytes) -> float | None:
    """Seconds from now, out of seconds, a span such as `6m0s`, a time since 1970, or a date."""
    text = raw[:64].decode("utf-8", "replace")
    seconds = duration(text)
    if seconds is None:
        text = text.strip()
        if len(text) < 16:
            return None  # too short for a date with its time
        try:
            seconds = datetime.fromisoformat(text).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            return None
    elif seconds >= _EPOCH:
        seconds = (seconds / 1000 if seconds >= _EPOCH_MS else seconds) - time.time()
    return max(0.0, seconds)


def duration(text: str) -> float | None:
    """Seconds in a text such as `6m0s`, `350ms` or `7.66`; None where it is no such text."""
    try:  # the usual ones without a regular expression, at a third of its price
        if text[-1:] != "s":
            seconds = float(text)
        elif text[-2:] == "ms":
            seconds = float(text[:-2]) / 1000
        else:
            minutes, mark, rest = text[:-1].rpartition("m")
            seconds = float(rest) + 60 * float(minutes) if mark else float(rest)
    except ValueError:
        if len(text) > 64 or _DURATION.fullmatch(text) is None:
            return None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return seconds if 0 <= seconds < math.inf else None
