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
from operator import itemgetter
from typing import Final, TypeAlias

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
#: For one of our fields, the families that speak of it, the weightiest first: the numbers of the headers
#: of `limit`, `remaining` and `reset`; -1 for one that is not there.
_Families: TypeAlias = tuple[tuple[int, int, int], ...]
#: How many headers there are, and the families of each field; None where none of the headers is ours.
_Plan: TypeAlias = tuple[int, tuple[_Families, ...]] | None
#: By the names of the headers, as an upstream sends the same ones each time.
_plans: dict[bytes, _Plan] = {}
_MOST_PLANS: Final = 256
_LONGEST_PLAN: Final = 4096
_UNSEEN: Final = (-1, ())
_NAME: Final = itemgetter(0)


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
    names = b"\n".join(map(_NAME, raw))
    plan = _plans.get(names, _UNSEEN)
    if plan is not None and plan[0] != len(raw):
        plan = _plan(names, raw)
    if plan is None:
        return None
    requests, tokens, read, written = plan[1]
    first = _limit(requests, raw) if requests else None
    second = _limit(tokens, raw) if tokens else None
    third = _limit(read, raw) if read else None
    fourth = _limit(written, raw) if written else None
    if first is second is third is fourth is None:
        return None
    return RateLimits(requests=first, tokens=second, input_tokens=third, output_tokens=fourth)


def _plan(names: bytes, raw: list[tuple[bytes, bytes]]) -> _Plan:
    """Which of these headers say what; None where none says anything."""
    found: list[dict[int, list[int]]] = [{}, {}, {}, {}]
    for number, (name, _) in enumerate(raw):
        known = _NAMES.get(name.lower())
        if known is not None:
            field, place, rank = known
            found[field].setdefault(rank, [-1, -1, -1])[place] = number
    plan: _Plan = None
    if any(found):
        families = (sorted(each.items()) for each in found)
        plan = (
            len(raw),
            tuple(tuple((three[0], three[1], three[2]) for _, three in each) for each in families),
        )
    # Names with a line break in them could be taken for others.
    if len(names) <= _LONGEST_PLAN and names.count(b"\n") == len(raw) - 1:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()
        _plans[names] = plan
    return plan


def _limit(families: _Families, raw: list[tuple[bytes, bytes]]) -> Limit | None:
    """What the weightiest family says that says anything; they never mix."""
    for limit, remaining, reset in families:
        most = None if limit < 0 else _count(raw[limit][1])
        left = None if remaining < 0 else _count(raw[remaining][1])
        seconds = None if reset < 0 else _reset(raw[reset][1])
        if most is not None or left is not None or seconds is not None:
            return Limit(most, left, seconds)
    return None


def _count(text: bytes) -> int | None:
    """A whole number; the draft lets windows follow it, as in `100, 100;w=60`."""
    if text.isdigit() and len(text) <= 18:
        return int(text)
    match = _LEADING.match(text)
    return int(match[1]) if match else None


def _reset(raw: bytes) -> float | None:
    """Seconds from now, out of seconds, a span such as `6m0s`, a time since 1970, or a date."""
    if raw[10:11] == b"T" and (left := _until(raw[:64].decode("utf-8", "replace"))) is not None:
        return left
    seconds = _span(raw)
    if seconds is None:
        text = raw[:64].decode("utf-8", "replace")
        seconds = _spelled(text)
        if seconds is None:
            return _until(text.strip())
    if seconds >= _EPOCH:
        seconds = max(0.0, (seconds / 1000 if seconds >= _EPOCH_MS else seconds) - time.time())
    return seconds


def _until(text: str) -> float | None:
    """Seconds until a date with its time; 0 for one that has passed."""
    if len(text) < 16:
        return None
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - time.time())
    except (ValueError, OverflowError, OSError):
        return None


def duration(text: str) -> float | None:
    """Seconds in a text such as `6m0s`, `350ms` or `7.66`; None where it is no such text."""
    seconds = _span(text.encode("utf-8", "replace"))
    return _spelled(text) if seconds is None else seconds


def _span(text: bytes) -> float | None:
    """The usual spans without a regular expression, at a third of its price."""
    try:
        if text[-1:] != b"s":
            seconds = float(text)
        elif text[-2:] == b"ms":
            seconds = float(text[:-2]) / 1000
        else:
            minutes, mark, rest = text[:-1].rpartition(b"m")
            seconds = float(rest) + 60 * float(minutes) if mark else float(rest)
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _spelled(text: str) -> float | None:
    """Spans of any units."""
    if len(text) > 64 or _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
