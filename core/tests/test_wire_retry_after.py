"""How long an upstream asks to be left alone, in every spelling of it."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.testing import strategies as some
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.faults import read_fault, retry_after, should_retry


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "0"}, 0.0),
        ({"retry-after-ms": "12.5"}, 0.0125),
        ({"retry-after-ms": "x", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "-5", "retry-after": "1"}, 1.0),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 2 "}, 2.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": ".5"}, 0.5),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": "999999999999"}, 999999999999.0),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "1_000"}, None),
        ({"retry-after": "５"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_headers_in_numbers(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds
    assert answer_error(b"", status=429, headers=headers).retry_after == seconds


def asctime(seconds: float) -> str:
    date = time.gmtime(seconds)
    return time.strftime(f"%a %b {date.tm_mday:2} %H:%M:%S %Y", date)


def rfc850(seconds: float) -> str:
    return time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime(seconds))


def fixdate(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone cannot be changed here")
@pytest.mark.parametrize("spelled", [fixdate, rfc850, asctime])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_dates_in_all_three_forms_wherever_one_lives(
    spelled: Any, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        wait = retry_after({"retry-after": spelled(time.time() + 90)})
        assert wait is not None
        assert 60 < wait <= 90
        assert retry_after({"retry-after": spelled(time.time() - 90)}) == 0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 GMT",
    ],
)
def test_a_date_long_ago_means_now(text: str) -> None:
    assert retry_after({"retry-after": text}) == 0


def test_a_year_of_two_digits_is_never_more_than_fifty_years_ahead() -> None:
    ahead = datetime.now(UTC) + timedelta(days=365 * 20)
    wait = retry_after({"retry-after": ahead.strftime("%A, %d-%b-%y %H:%M:%S GMT")})
    assert wait == pytest.approx(365 * 20 * 86400, abs=5)
    past = (datetime.now(UTC).year + 60) % 100
    assert retry_after({"retry-after": f"Sunday, 06-Nov-{past:02} 08:49:37 GMT"}) == 0


@pytest.mark.parametrize(
    "text", ["Mon, 99 Foo 2026 01:02:03 GMT", "06 Nov", "Nov Nov Nov Nov", ",,,", "-" * 99]
)
def test_what_is_no_date_says_nothing(text: str) -> None:
    assert retry_after({"retry-after": text}) is None


def openai(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "tokens", "code": "rate_limit_exceeded"}}


def gemini(delay: Any) -> dict[str, Any]:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    return {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "No.", "details": [info]}}


@pytest.mark.parametrize(
    "body, seconds",
    [
        (openai("Rate limit reached for gpt in org on TPM: Limit 3, Used 3. Please try again in 20s."), 20),
        (openai("Please try again in 1m30s. Visit https://example.org to learn more."), 90),
        (openai("Please try again in 350ms."), 0.35),
        (openai("Please try again in 2m59.56s. Need more tokens?"), 179.56),
        (openai("Please try again in 6m0s"), 360),
        (openai("Please try again in 1h12m3.5s"), 4323.5),
        (openai("Please retry after 86400 seconds."), 86400),
        (openai("Please retry in 34.074824224s."), 34.074824224),
        (openai("Try again in 1 minute, 5 seconds"), 65),
        (openai("Please wait 2 minutes before the next call"), 120),
        (openai("Please try again in 2 days"), 172800),
        (openai("Please try again later."), None),
        (openai("Please try again in 5 sandwiches"), None),
        (openai("Please try again in 5 months"), None),
        (openai("Limit 30, used 20s"), None),
        (openai("retry"), None),
        (b"Too many requests, try again in 7 seconds", 7),
        (gemini("37s"), 37),
        (gemini("34.4s"), 34.4),
        (gemini("0s"), 0),
        (gemini({"seconds": 3, "nanos": 500_000_000}), 3.5),
        (gemini({"seconds": "3"}), 3),
        (gemini({"nanos": 5_000_000}), 0.005),
        (gemini({"seconds": -3}), None),
        (gemini({"seconds": 10**400}), None),
        (gemini({}), None),
        (gemini("soon"), None),
        (gemini(True), None),
        ({"error": {"type": "rate_limit_error", "message": "x", "retry_after": 5}}, 5),
        ({"error": "Model x is currently loading", "estimated_time": 20.5}, 20.5),
        ({"message": "limited", "retry_after": 0.75}, 0.75),
        ({"message": "limited", "retry_after": "12"}, 12),
        ({"message": "limited", "retry_after": -1}, None),
        ({"message": "limited", "retry_after": math.inf}, None),
        ({"message": "limited", "retry_after": math.nan}, None),
    ],
)
def test_hints_of_the_body(body: Any, seconds: float | None) -> None:
    assert read_fault(body).retry_delay == (None if seconds is None else pytest.approx(seconds))
    assert retry_after({"retry-after": "1"}, read_fault(body)) == 1, "a header weighs more"
    assert retry_after({"retry-after": "never"}, read_fault(body)) == read_fault(body).retry_delay


@pytest.mark.parametrize(
    "word, decided",
    [("true", True), ("false", False), (" True ", True), ("FALSE", False), ("1", None), ("", None)],
)
def test_x_should_retry(word: str, decided: bool | None) -> None:
    assert should_retry({"x-should-retry": word}) is decided
    assert should_retry({}) is None


NAMES = st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry"])
TEXTS = (
    st.text(max_size=70)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.integers(-(10**10), 10**11).map(formatdate)
    | st.from_regex(
        r"\A[A-Z][a-z]{2,8},? [0-9 ]{1,3}[- ][A-Z][a-z]{2}[- ][0-9]{1,5} [0-9:]{4,9}( [A-Z0-9+-]{3,6})?\Z"
    )
)
WORDS = st.from_regex(
    r"\A(Please )?(try again|retry|wait) (in |after )?[0-9.]{0,12} ?[a-z]{0,8}[0-9.hms ]{0,9}\Z"
)
DELAYS = st.sampled_from(
    ["retry_after", "retryAfter", "estimated_time", "details", "message", "code", "error"]
)
BODIES = (
    WORDS.map(lambda text: {"error": {"message": text}})
    | some.json_values().map(gemini)
    | st.dictionaries(DELAYS, some.json_values() | st.floats() | WORDS)
    | st.dictionaries(DELAYS, st.dictionaries(DELAYS, st.integers() | st.floats() | TEXTS))
)


@given(st.dictionaries(NAMES, TEXTS), BODIES)
def test_a_wait_is_a_sane_number_or_none(headers: dict[str, str], body: Any) -> None:
    for fault in (None, read_fault(body), read_fault(json.dumps(body).encode())):
        wait = retry_after(headers, fault)
        assert wait is None or 0 <= wait < math.inf
    assert should_retry(headers) in (True, False, None)
