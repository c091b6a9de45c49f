"""Frames survive any cutting, and what is none is noticed."""

from __future__ import annotations

import json

import pytest
from gleitzeit_plugin_huggingface.worker import frames
from gleitzeit_plugin_huggingface.worker.frames import HEAD, Frames, TooLarge, pack
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.integers() | st.text(st.sampled_from('ab\\"ü😀\0'), max_size=9) | st.lists(st.none(), max_size=2)
FRAMES = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), min_size=1, max_size=5)


@given(FRAMES, st.lists(st.integers(1, 9), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    sent: list[dict[str, object]], cuts: list[int]
) -> None:
    data = b"".join(map(pack, sent))
    reader, got, place, turn = Frames(), [], 0, 0
    while place < len(data):
        size = cuts[turn % len(cuts)]
        got += reader.feed(data[place : place + size])
        place, turn = place + size, turn + 1
    assert got == sent
    assert reader.rest == 0


@given(FRAMES)
def test_a_frame_that_is_cut_is_not_given(sent: list[dict[str, object]]) -> None:
    reader = Frames()
    assert reader.feed(b"".join(map(pack, sent))[:-1]) == sent[:-1]
    assert reader.rest > 0


@pytest.mark.parametrize("body", [b"[]", b"{", b'"text"', b"\xff\xff"])
def test_what_is_no_object_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, UnicodeDecodeError)):
        Frames().feed(len(body).to_bytes(HEAD, "big") + body)


def test_a_frame_that_is_too_large_is_refused_by_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LIMIT", 10)
    with pytest.raises(TooLarge):
        pack({"text": "longer than ten"})
    with pytest.raises(TooLarge):
        Frames().feed((11).to_bytes(HEAD, "big"))


def test_half_a_character_does_not_break_a_frame() -> None:
    assert json.loads(pack({"text": "a\ud800b"})[HEAD:]) == {"text": "a?b"}
