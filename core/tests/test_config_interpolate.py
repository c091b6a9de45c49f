"""`${VAR}`, `${VAR:-default}` and `$$` in texts, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.config.interpolate import InterpolationError, interpolate, mentions

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
VALUES = st.text(max_size=12)


@pytest.mark.parametrize(
    "text, result",
    [
        ("plain", "plain"),
        ("${A}", "one"),
        ("<${A}-${B}>", "<one-two>"),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("${UNSET:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${A:-other}", "one"),
        ("${UNSET:-http://x:80/a-b}", "http://x:80/a-b"),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${UNSET:-$$5}", "$5"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$one"),
        ("$A and $", "$A and $"),
        ("}{", "}{"),
        ("${TRICKY}", "${A}$$"),
    ],
)
def test_replaces(text: str, result: str) -> None:
    environ = {"A": "one", "B": "two", "EMPTY": "", "TRICKY": "${A}$$"}
    assert interpolate(text, environ) == result


@pytest.mark.parametrize(
    "text, said",
    [
        ("${UNSET}", "UNSET is not set"),
        ("${HO-ST}", "`${HO-ST}` names no environment variable"),
        ("${}", "names no environment variable"),
        ("${1A}", "names no environment variable"),
        ("${A B}", "names no environment variable"),
        ("${A", "no closing"),
        ("x ${", "no closing"),
        ("${A:-${B}}", "another variable inside"),
        ("${A${B}}", "another variable inside"),
        ("${input:token}", "asks a person"),
        ("${A-default}", "names no environment variable"),
        ("${A:+x}", "names no environment variable"),
    ],
)
def test_refuses_what_it_cannot_complete(text: str, said: str) -> None:
    with pytest.raises(InterpolationError) as caught:
        interpolate(text, {"A": "1", "B": "2"})
    assert said in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["${A:-canary${B}}", "${HO-ST:-canary}", "${input:x:-canary}", "canary ${A"])
def test_a_refusal_quotes_no_default_and_no_text_around(text: str) -> None:
    with pytest.raises(InterpolationError) as caught:
        interpolate(text, {"A": "1"})
    assert "canary" not in str(caught.value) + caught.value.hint


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.lists(st.one_of(NAMES, st.text("ab {}:-", max_size=5))))
def test_what_is_put_in_is_never_looked_at_again(environ: dict[str, str], parts: list[str]) -> None:
    text = "".join(f"${{{part}}}" if part in environ else part for part in parts)
    expected = "".join(environ.get(part, part) for part in parts)
    assert interpolate(text, environ) == expected


@given(st.text())
def test_doubling_the_dollars_makes_any_text_literal(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}) == text


@given(st.text("${}:-A$ ", max_size=20))
def test_any_text_is_replaced_or_refused(text: str) -> None:
    try:
        result = interpolate(text, {"A": "value"})
    except InterpolationError:
        assert mentions(text)
    else:
        assert mentions(text) or result == text.replace("$$", "$")
