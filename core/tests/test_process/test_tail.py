"""What is kept of an output, and what of it may be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.process import Tail, secrets_in


def test_only_the_end_is_kept() -> None:
    tail = Tail(100)
    for number in range(1000):
        tail.feed(b"line %d\n" % number)
    assert tail.text(2) == "line 998\nline 999"
    assert len(tail.text()) <= 100
    assert tail.total == sum(len(b"line %d\n" % number) for number in range(1000))


@given(st.integers(0, 30), st.integers(20, 40))
def test_a_secret_cut_by_the_limit_is_not_shown_in_part(before: int, limit: int) -> None:
    tail = Tail(limit, ["hunter2-hunter2"])
    tail.feed(b"x" * before + b" hunter2-hunter2\nlast\n")
    assert "unter" not in tail.text()
    assert "last" in tail.text()


def test_values_that_look_secret_are_found_by_name_and_by_themselves() -> None:
    env = {
        "API_KEY": "abcd",
        "GITHUB_TOKEN": "ghp_1",
        "ODD": "a8Zk21mPq07Lx99sTuV3",
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "MODE": "production",
    }
    found = secrets_in(env, ["surely"])
    assert set(found) == {"abcd", "ghp_1", "a8Zk21mPq07Lx99sTuV3", "surely"}
    assert list(found) == sorted(found, key=len, reverse=True)


@pytest.mark.parametrize(
    "said,shown",
    [
        ("connecting to postgres://me:pass@db/x", "connecting to postgres://***@db/x"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07", "red bell"),
        ("one\r\ntwo\r\n", "one\ntwo"),
    ],
)
def test_passwords_and_control_characters_are_taken_out(said: str, shown: str) -> None:
    tail = Tail(1000)
    tail.feed(said.encode())
    assert tail.text() == shown
