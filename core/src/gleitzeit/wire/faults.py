"""What an error answer says: its words, message and waiting hints, from a body of any shape."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec
from attrs import field, frozen

from gleitzeit.errors import BODY_LIMIT
from gleitzeit.wire.limits import duration

__all__ = ["Fault", "read_fault", "retry_after", "should_retry"]

_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.I | re.S)
_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{0,15})?|\.\d{1,15}", re.ASCII)
#: "Please try again in 1m30s", "retry after 5 seconds", "wait 350 ms before …".
_TOLD: Final = re.compile(
    r"""
    \b(?:try\ again|retry|retrying|wait)\b (?:\ (?:in|after|for|at\ least|about)\b){0,3} \s{0,4}
    ( (?: \d{1,9} (?:\.\d{1,9})? \ ?
          (?: milliseconds? | ms | seconds? | secs? | s | minutes? | mins? | m | hours? | h | days? | d )
          (?![a-z]) [ ,]{0,2} | \d{1,9} (?:\.\d{1,9})? (?: ms|[dhms]) (?=\d) ){1,5} )
    """,
    re.I | re.X | re.ASCII,
)
_SPACED: Final = re.compile(r"(\d+(?:\.\d+)?)\ ?(milliseconds?|ms|[a-z])", re.I | re.ASCII)
#: Seconds; more is no time that anybody means.
_LONGEST: Final = 1e15
#: Bodies that say it in a number, in seconds.
_HINTS: Final = ("retry_after", "retryAfter", "retry_after_seconds", "estimated_time")
#: Parsing more than this for an error is no help to anybody.
_PARSE_LIMIT: Final = 1 << 20


@frozen(kw_only=True)
class Fault:
    """An error as its sender describes it; `words` are codes and types, the most telling first."""

    message: str = ""
    words: tuple[str, ...] = ()
    #: The first word as it was written.
    code: str = ""
    #: An HTTP status that the body names, as some do inside a stream.
    status: int | None = None
    #: Seconds to wait, as the body says: a `google.rpc.RetryInfo`, a field, or the message's own words.
    retry_delay: float | None = None
    #: A quota that does not refill within minutes is used up, though the words speak of a rate.
    exhausted: bool = False
    raw: str = field(default="", repr=False)


def read_fault(body: object) -> Fault:
    """The fault in `body`: bytes, text, or decoded JSON. Never raises."""
    if isinstance(body, (bytes, bytearray, str)):
        raw = body if isinstance(body, str) else bytes(body[:_PARSE_LIMIT]).decode("utf-8", "replace")
        text = raw.strip()
        if text[:1] not in ("{", "["):
            return Fault(message=_plain(text), retry_delay=_told(text), raw=raw[:BODY_LIMIT])
        try:
            data = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return Fault(message=text, raw=raw[:BODY_LIMIT])
    else:
        data = body
        try:
            raw = msgspec.json.encode(body).decode()
        except (TypeError, UnicodeError, RecursionError):
            raw = ""
    return _read(data, raw[:BODY_LIMIT])


def _plain(text: str) -> str:
    if not text.startswith("<"):
        return text
    title = _TITLE.search(text[:65536])
    return html.unescape(title[1]).strip() if title else "an HTML page"


def _read(data: Any, raw: str) -> Fault:
    if isinstance(data, list):
        data = data[0] if data else {}
    if not isinstance(data, Mapping):
        return Fault(message=str(data), raw=raw)
    inner = data.get("error")
    if isinstance(inner, list) and inner:
        inner = inner[0]
    if not isinstance(inner, Mapping):
        inner = {**data, "error": None, "message": data.get("message") or inner}
        if isinstance(data.get("error"), str) and data.get("message"):
            inner["code"] = data.get("code") or data["error"]
    details = [item for item in _list(inner.get("details")) if isinstance(item, Mapping)]
    said = list(_words(inner, data, details))
    code = inner.get("code", data.get("code"))
    status = int(code) if isinstance(code, int | str) and re.fullmatch(r"[345]\d\d", str(code)) else None
    message = _message(inner, data)
    return Fault(
        message=message,
        words=tuple(word.lower() for word in said),
        code=said[0] if said else "",
        status=status,
        retry_delay=_hinted(inner, data, details, message),
        exhausted=any(_exhausted(item) for item in details),
        raw=raw,
    )


def _words(
    inner: Mapping[str, Any], data: Mapping[str, Any], details: list[Mapping[str, Any]]
) -> Iterator[str]:
    """Codes and types from the most to the least specific."""
    nested = inner.get("details")
    candidates = [
        nested.get("error_code") if isinstance(nested, Mapping) else None,  # Anthropic
        *(item.get("reason") for item in details),  # google.rpc.ErrorInfo
        inner["innererror"].get("code") if isinstance(inner.get("innererror"), Mapping) else None,  # Azure
        inner.get("code"),
        inner.get("status"),
        inner.get("type"),
        inner.get("error_type"),
        data.get("code"),
        data.get("error_type"),
    ]
    for word in candidates:
        if isinstance(word, str) and 0 < len(word) <= 80 and not word.isdigit() and word != "error":
            yield word


def _message(inner: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    for value in (inner.get("message"), data.get("message"), data.get("detail"), inner.get("detail")):
        if isinstance(value, str) and value:
            return value
        if isinstance(value, Mapping) and isinstance(value.get("message"), str):
            return str(value["message"])
        lines = [line for item in _list(value) if (line := _line(item))]
        if lines:
            return "; ".join(lines)
    return ""


def _line(item: Any) -> str:
    """One entry of FastAPI's list of faults; `input` is left out, as it quotes the request."""
    if isinstance(item, Mapping):
        place = ".".join(str(step) for step in _list(item.get("loc")))
        text = item.get("msg") or item.get("message") or ""
        return f"{place}: {text}" if place else str(text)
    return item if isinstance(item, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _exhausted(detail: Mapping[str, Any]) -> bool:
    quotas = [item for item in _list(detail.get("violations")) if isinstance(item, Mapping)]
    return any("PerDay" in str(item.get("quotaId")) or str(item.get("quotaValue")) == "0" for item in quotas)


def _hinted(
    inner: Mapping[str, Any], data: Mapping[str, Any], details: list[Mapping[str, Any]], message: str
) -> float | None:
    """Seconds to wait, from the most to the least exact word."""
    waits = [_delay(item.get("retryDelay")) for item in details]
    waits += [_delay(place.get(key)) for place in (inner, data) for key in _HINTS]
    return next((wait for wait in (*waits, _told(message)) if wait is not None), None)


def _delay(value: Any) -> float | None:
    """Seconds as a number, as text such as `37s`, or as a `google.protobuf.Duration` in fields."""
    if isinstance(value, str):
        return duration(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1.0 if 0 <= value <= _LONGEST else None
    if isinstance(value, Mapping) and ("seconds" in value or "nanos" in value):
        seconds, nanos = _delay(value.get("seconds", 0)), _delay(value.get("nanos", 0))
        return None if seconds is None or nanos is None else seconds + nanos / 1e9
    return None


def _told(message: str) -> float | None:
    """Seconds in the words of a message."""
    match = _TOLD.search(message, 0, 4096)
    if match is None:
        return None
    pieces = [
        f"{number}{'ms' if unit.lower().startswith(('ms', 'milli')) else unit[0].lower()}"
        for number, unit in _SPACED.findall(match[1])
    ]
    return sum(filter(None, map(duration, pieces)))


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What `x-should-retry` decides; None where it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def retry_after(headers: Mapping[str, str], fault: Fault | None = None) -> float | None:
    """Seconds to wait: `retry-after-ms`, else `retry-after` as seconds or date, else the body's hint.

    Finite and never negative; a date that has passed means now.
    """
    wait = _positive(headers.get("retry-after-ms"), 1000.0)
    if wait is not None:
        return wait
    text = headers.get("retry-after")
    if text:
        wait = _positive(text, 1.0)
        wait = _until(text[:64]) if wait is None else wait
    return wait if wait is not None or fault is None else fault.retry_delay


def _until(text: str) -> float | None:
    """Seconds until a date in one of the three forms of RFC 9110, 5.6.7."""
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # asctime, which is in UTC here
            date = date.replace(tzinfo=UTC)
        now = datetime.now(UTC)
        if "-" in text and date.year > now.year + 50:  # of two digits: the century that has passed
            date = date.replace(year=date.year - 100)
        return max(0.0, (date - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _positive(text: str | None, divisor: float) -> float | None:
    """A plain number that is not negative, divided; None where it is none."""
    text = (text or "").strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    return float(text) / divisor
