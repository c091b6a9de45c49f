"""Rate limits in the words of every vendor; nonsense is not said."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gleitzeit.wire.limits as limits_module
from gleitzeit.values import Limit, RateLimits
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.exchange import Answer
from gleitzeit.wire.limits import duration, rate_limits

OPENAI = {
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "1999712",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "1m30.5s",
}


def test_openai_and_all_who_imitate_it() -> None:
    assert rate_limits(OPENAI) == RateLimits(
        requests=Limit(10000, 9999, 0.006), tokens=Limit(2_000_000, 1_999_712, 90.5)
    )


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_names_of_any_case_from_the_client(change: object) -> None:
    assert callable(change)
    headers = httpx2.Headers({"content-type": "x", **{change(name): text for name, text in OPENAI.items()}})
    assert rate_limits(headers) == rate_limits(OPENAI)


def test_anthropic_says_when_not_how_long() -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
    limits = rate_limits(
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": soon,
            "anthropic-ratelimit-tokens-remaining": "90000",
            "anthropic-ratelimit-input-tokens-limit": "40000",
            "anthropic-ratelimit-input-tokens-reset": "2001-01-01T00:00:00+02:00",
            "anthropic-ratelimit-output-tokens-remaining": "0",
        }
    )
    assert limits is not None
    assert limits.requests is not None
    assert limits.requests.reset is not None
    assert 50 < limits.requests.reset <= 60
    assert limits.requests.limit == 50
    assert limits.tokens == Limit(None, 90000, None)
    assert limits.input_tokens == Limit(40000, None, 0.0)
    assert limits.output_tokens == Limit(None, 0, None)


@pytest.mark.parametrize(
    "headers, limits",
    [
        ({"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "7", "ratelimit-reset": "12"},
         RateLimits(requests=Limit(100, 7, 12.0))),
        ({"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2.5"},
         RateLimits(requests=Limit(5, 0, 2.5))),
        ({"x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-tokens-minute": "400"},
         RateLimits(requests=Limit(60), tokens=Limit(None, 400))),
        ({"ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "499"},
         RateLimits(tokens=Limit(500000, 499))),
        ({"x-ratelimit-limit-requests-day": "9", "x-ratelimit-limit-tokens-minute": "8",
          "x-ratelimit-reset-requests-day": "33011.2"},
         RateLimits(requests=Limit(9, None, 33011.2), tokens=Limit(8))),
        ({"x-ratelimit-remaining-tokens-prompt": "1", "x-ratelimit-remaining-tokens-generated": "2"},
         RateLimits(input_tokens=Limit(None, 1), output_tokens=Limit(None, 2))),
        # Two families never mix in one limit: the weightier word stands alone, in any order.
        ({"x-ratelimit-limit": "1", "x-ratelimit-limit-requests": "2", "x-ratelimit-remaining": "3"},
         RateLimits(requests=Limit(2))),
        ({"x-ratelimit-limit-requests-day": "1000", "x-ratelimit-limit-requests-minute": "10"},
         RateLimits(requests=Limit(10))),
        ({"x-ratelimit-remaining-requests": "0"}, RateLimits(requests=Limit(None, 0))),
    ],
)  # fmt: skip
def test_other_words(headers: dict[str, str], limits: RateLimits) -> None:
    assert rate_limits(headers) == limits


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_time_since_1970_is_no_span(unit: int) -> None:
    limits = rate_limits({"x-ratelimit-reset": str(int((time.time() + 100) * unit))})
    assert limits is not None
    assert limits.requests is not None
    assert limits.requests.reset is not None
    assert 90 < limits.requests.reset <= 100
    past = rate_limits({"x-ratelimit-reset": str(int((time.time() - 100) * unit))})
    assert past == RateLimits(requests=Limit(None, None, 0.0))


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("6m0s", 360), ("1s", 1), ("20ms", 0.02), ("7.66", 7.66), ("0", 0), ("2m59.56s", 179.56),
        ("1h2m3.5s", 3723.5), ("1d", 86400), ("5m", 300), ("1h", 3600), ("12us", 1.2e-5), ("1m20ms", 60.02),
        ("", None), ("s", None), ("ms", None), ("soon", None), ("-1s", None), ("-5", None), ("nans", None),
        ("inf", None), ("1e999", None), ("1x", None), ("1s!", None), ("m5s", None), ("9" * 400, None),
    ],
)  # fmt: skip
def test_spans_of_time(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds, rel=1e-12))


@pytest.mark.parametrize(
    "text", ["", "many", "-1", "1.5", "1e3", "0x10", "９", "9" * 30, "1,000 or so", "\x00", "unlimited"]
)
def test_nonsense_is_not_said(text: str) -> None:
    limits = rate_limits({"x-ratelimit-limit-requests": text, "x-ratelimit-remaining-requests": "3"})
    assert limits == RateLimits(requests=Limit(None, 3))


def test_where_nothing_is_said_there_are_no_limits() -> None:
    assert rate_limits({}) is None
    assert rate_limits(httpx2.Headers({"content-type": "x", "x-ratelimit-policy": "sometimes"})) is None
    assert rate_limits({"x-ratelimit-limit-requests": "?"}) is None


NAMES = st.sampled_from(
    [
        "x-ratelimit-limit-requests", "x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens",
        "anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-requests-limit", "x-ratelimit-reset",
        "ratelimit-limit", "ratelimit-reset", "X-RateLimit-Limit-Tokens",
    ]
) | st.text(max_size=30)  # fmt: skip
TEXTS = (
    st.text(max_size=40)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.datetimes().map(datetime.isoformat)
    | st.from_regex(r"\A[-+]?[0-9]{1,5}(\.[0-9]+)?(ms|s|m|h|d|)([0-9]+s)?\Z")
)


def test_names_that_look_alike_when_put_together_are_not_mixed_up() -> None:
    name = b"x-ratelimit-limit-requests"
    assert rate_limits(httpx2.Headers([(b"a", b"1"), (name, b"2")])) == RateLimits(requests=Limit(2))
    assert rate_limits(httpx2.Headers([(b"a\n" + name, b"1")])) is None
    assert rate_limits(httpx2.Headers([(name, b"1"), (b"a", b"2")])) == RateLimits(requests=Limit(1))


def test_ever_other_names_are_not_remembered_without_end() -> None:
    for number in range(600):
        assert rate_limits({f"x-{number}": "1", "ratelimit-limit": "5"}) == RateLimits(requests=Limit(5))
    assert len(limits_module._plans) <= limits_module._MOST_PLANS
    rate_limits({"x" * 9999: "1"})
    assert all(len(names) <= limits_module._LONGEST_PLAN for names in limits_module._plans)


@given(st.dictionaries(NAMES, TEXTS, max_size=6))
def test_no_headers_break_the_reading(headers: dict[str, str]) -> None:
    limits = rate_limits(headers)
    if limits is not None:
        said = [limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens]
        assert any(said)
        for limit in filter(None, said):
            assert limit != Limit()
            assert all(count is None or count >= 0 for count in (limit.limit, limit.remaining))
            assert limit.reset is None or 0 <= limit.reset < math.inf


@given(st.lists(st.tuples(NAMES.map(str.encode), st.binary(max_size=40)), max_size=6))
def test_no_bytes_break_the_reading(raw: list[tuple[bytes, bytes]]) -> None:
    assert isinstance(rate_limits(httpx2.Headers(raw)), RateLimits | None)


def test_answers_and_errors_carry_them() -> None:
    assert Answer(httpx2.Headers(OPENAI), b"").limits == rate_limits(OPENAI)
    assert answer_error(b"", status=429, headers=OPENAI).limits == rate_limits(OPENAI)
    assert answer_error(b"", status=429).limits is None
