"""What an error answer says: its words, message and waiting hints, from a body of any shape."""

from __future__ import annotations

import html
import math
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec
from attrs import field, frozen

from gleitzeit.errors import BODY_LIMIT

__all__ = ["Fault", "read_fault", "retry_after", "should_retry"]

_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.I | re.S)
_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)s")
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
    #: Seconds, from a `google.rpc.RetryInfo`.
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
            return Fault(message=_plain(text), raw=raw[:BODY_LIMIT])
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
    return Fault(
        message=_message(inner, data),
        words=tuple(word.lower() for word in said),
        code=said[0] if said else "",
        status=status,
        retry_delay=next(
            (wait for item in details if (wait := _delay(item.get("retryDelay"))) is not None), None
        ),
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


def _delay(value: Any) -> float | None:
    if isinstance(value, str) and (match := _SECONDS.fullmatch(value.strip())):
        return float(match[1])
    if isinstance(value, Mapping):
        seconds, nanos = value.get("seconds", 0), value.get("nanos", 0)
        return _positive(f"{seconds}", 1.0) if not nanos else (_positive(str(seconds), 1) or 0) + nanos / 1e9
    return None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What `x-should-retry` decides; None where it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def retry_after(headers: Mapping[str, str], fault: Fault | None = None) -> float | None:
    """Seconds to wait: `retry-after-ms`, else `retry-after` as seconds or date, else the body's hint."""
    wait = _positive(headers.get("retry-after-ms"), 1000.0)
    if wait is not None:
        return wait
    text = headers.get("retry-after")
    wait = _positive(text, 1.0)
    if wait is None and text:
        try:
            wait = max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            wait = None
    return wait if wait is not None or fault is None else fault.retry_delay


def _positive(text: str | None, divisor: float) -> float | None:
    try:
        number = float(text or "") / divisor
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
