"""Text that is made of tokens grows only, and ends where it is to end."""

from __future__ import annotations

from collections.abc import Sequence

from gleitzeit_plugin_huggingface.worker.output import Pieces, StopStrings
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.sampled_from("ab ü你😀e\u0301"), max_size=30)


def decode(ids: Sequence[int]) -> str:
    """As tokenizers of bytes do it."""
    return bytes(ids).decode("utf-8", "replace")


def spaced(ids: Sequence[int]) -> str:
    """As tokenizers of words do it: the first word of what is decoded has no blank."""
    return " ".join(f"w{id}" for id in ids)


@given(TEXTS)
def test_pieces_of_bytes_are_the_text_and_never_half_a_character(text: str) -> None:
    pieces = Pieces(decode)
    got = [pieces.feed(id) for id in text.encode()]
    assert "".join(got) == text
    assert pieces.close() == ""


@given(st.lists(st.integers(0, 255)))
def test_bytes_that_are_no_text_lose_nothing_but_themselves(ids: list[int]) -> None:
    pieces = Pieces(decode)
    assert "".join([*map(pieces.feed, ids), pieces.close()]) == decode(ids)


@given(st.lists(st.integers(0, 9)))
def test_the_blank_between_words_is_kept(ids: list[int]) -> None:
    pieces = Pieces(spaced)
    assert "".join([*map(pieces.feed, ids), pieces.close()]) == spaced(ids)


def test_hidden_tokens_are_left_out() -> None:
    pieces = Pieces(decode, hidden={0})
    assert "".join(map(pieces.feed, b"a\0b\0")) == "ab"


def test_a_character_that_never_became_whole_is_given_at_the_end() -> None:
    pieces = Pieces(decode)
    assert [pieces.feed(id) for id in "aü".encode()[:-1]] == ["a", ""]
    assert pieces.close() == "\N{REPLACEMENT CHARACTER}"


@given(
    st.text("ab", max_size=20),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(1, 4), min_size=1),
)
def test_a_text_ends_before_its_first_stop_string_however_it_is_cut(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    one = StopStrings(stops)
    whole = one.feed(text) + one.close()
    parts, place, turn = StopStrings(stops), 0, 0
    got = ""
    while place < len(text):
        size = cuts[turn % len(cuts)]
        got += parts.feed(text[place : place + size])
        place, turn = place + size, turn + 1
    got += parts.close()
    assert text.startswith(got)
    if (parts.found, one.found) == (None, None):
        assert got == whole == text
    else:
        assert parts.found is not None
        assert text[len(got) :].startswith(parts.found)
        assert not any(stop in got for stop in stops)
        assert one.found is not None
        assert len(whole) <= len(got) or got == whole


def test_what_may_become_a_stop_string_waits() -> None:
    stops = StopStrings(["END"])
    assert [stops.feed(piece) for piece in ("so E", "N", "x E", "ND more")] == ["so ", "", "ENx ", ""]
    assert stops.found == "END"
    assert stops.close() == ""
