"""The SSE decoder at byte level."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.wire.sse import ServerEvent, SSEDecoder


def decode(*chunks: bytes, limit: int = 1 << 20) -> list[ServerEvent]:
    decoder = SSEDecoder(limit)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.close()


def data(*chunks: bytes) -> list[bytes]:
    return [event.data for event in decode(*chunks)]


def test_one_event_a_chunk() -> None:
    assert data(b"data: a\n\n", b"data: b\n\n") == [b"a", b"b"]


def test_several_events_in_one_chunk() -> None:
    assert data(b"data: a\n\ndata: b\n\n: ping\n\ndata: c\n\n") == [b"a", b"b", b"c"]


def test_several_events_in_a_later_chunk() -> None:
    assert data(b"data: a\n\n", b"data: b\n\ndata: c\n\n") == [b"a", b"b", b"c"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end(end: bytes) -> None:
    wire = end.join([b"event: x", b"data: a", b"data: b", b"", b"data: c", b"", b""])
    assert [(event.event, event.data) for event in decode(wire)] == [("x", b"a\nb"), ("message", b"c")]


def test_mixed_line_ends() -> None:
    assert data(b"data: a\r\ndata: b\r\r\ndata: c\n\rdata: d\n\n") == [b"a\nb", b"c", b"d"]


def test_crlf_cut_between_its_two_bytes() -> None:
    assert data(b"data: a\r", b"\n\r", b"\n", b"data: b\r\n\r", b"\n") == [b"a", b"b"]


def test_a_carriage_return_at_the_end_of_a_chunk_is_a_line_end_at_once() -> None:
    assert [event.data for event in SSEDecoder().feed(b"data: a\r\r")] == [b"a"]


def test_utf8_cut_inside_a_character() -> None:
    wire = "data: Grüße 你好 😀\n\n".encode()
    assert data(*(wire[i : i + 1] for i in range(len(wire)))) == ["Grüße 你好 😀".encode()]


def test_comments_are_dropped() -> None:
    assert data(b": OPENROUTER PROCESSING\n\n", b"data: a\n", b":\n", b"data: b\n\n") == [b"a\nb"]


def test_only_one_blank_after_the_colon_is_taken() -> None:
    assert data(b"data:a\n\ndata:  b\n\n") == [b"a", b" b"]


def test_blanks_after_the_data_are_kept_for_the_parser() -> None:
    assert data(b"data: {}   \n\n") == [b"{}   "]


def test_a_data_line_without_a_colon_is_an_empty_line_of_data() -> None:
    assert data(b"data\ndata: a\n\n") == [b"\na"]


def test_an_event_without_data_is_no_event() -> None:
    assert decode(b"event: ping\n\n", b"data: a\n\n") == [ServerEvent(b"a")]


def test_empty_data_is_an_event() -> None:
    assert data(b"data:\n\n", b"data: \n\n") == [b"", b""]


def test_junk_lines_are_dropped() -> None:
    assert data(b'loose text\n\x00\xff\n{"x": 1}\ndata: a\nnonsense: b\n\n') == [b"a"]


def test_the_byte_order_mark_is_dropped_also_when_cut() -> None:
    assert data(b"\xef\xbb", b"\xbfdata: a\n\n") == [b"a"]


def test_id_lasts_and_retry_does_not() -> None:
    first, second = decode(b"id: 7\nretry: 250\ndata: a\n\ndata: b\n\n")
    assert (first.id, first.retry, second.id, second.retry) == ("7", 250, "7", None)


def test_bad_id_and_retry_are_ignored() -> None:
    (event,) = decode(b"id: a\x00b\nretry: soon\nretry: -1\ndata: a\n\n")
    assert (event.id, event.retry) == (None, None)


def test_the_last_event_needs_no_blank_line() -> None:
    assert data(b"data: a\n\ndata: b\n") == [b"a", b"b"]
    assert data(b"data: a\n\ndata: b") == [b"a", b"b"]
    assert data(b"data: a\n\n", b"data: b") == [b"a", b"b"]


def test_nothing_in_nothing_out() -> None:
    assert decode() == []
    assert decode(b"", b"\n", b"\n\n") == []


@pytest.mark.parametrize(
    "wire", [b"data: " + b"x" * 2000, b"data: x\n" * 300, b"data\n" * 300, b": " + b"x" * 2000]
)
@pytest.mark.parametrize("size", [1, 64, 4096])
def test_an_event_over_the_limit_is_refused(wire: bytes, size: int) -> None:
    with pytest.raises(MalformedAnswerError, match="larger than 1000 bytes") as caught:
        decode(*(wire[i : i + size] for i in range(0, len(wire), size)), limit=1000)
    assert caught.value.retryable is False


def test_an_event_over_the_limit_in_one_chunk_is_refused() -> None:
    with pytest.raises(MalformedAnswerError):
        decode(b"data: a\n\n", b"data: " + b"x" * 2000 + b"\n\n", limit=1000)


def test_many_events_under_the_limit_pass() -> None:
    assert len(data(*[b"data: " + b"x" * 900 + b"\n\n"] * 50)) == 50
    decoder = SSEDecoder(1000)
    assert sum(len(decoder.feed(b"data: " + b"x" * 400 + b"\ndata: y\n\n")) for _ in range(50)) == 50


def test_an_endless_line_is_refused_before_it_eats_memory() -> None:
    decoder = SSEDecoder()
    piece = b"x" * (1 << 20)
    for _ in range(16):
        assert decoder.feed(piece) == []
    with pytest.raises(MalformedAnswerError):
        decoder.feed(piece)
    assert sys.getsizeof(decoder._pieces) + sum(map(len, decoder._pieces)) < 1 << 20


FIELDS = st.sampled_from(
    [b"data: ", b"data:", b"data", b"event: ", b"id: ", b"retry: ", b": ", b"junk ", b"\xef\xbb\xbf"]
)
LINES = st.builds(
    lambda field, value, end: field + value + end,
    FIELDS,
    st.text(st.characters(blacklist_characters="\r\n"), max_size=12).map(
        lambda text: text.encode("utf-8", "replace")
    ),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b""])
WIRES = st.lists(LINES | ENDS, max_size=24).map(b"".join)


@given(WIRES, st.lists(st.integers(0, 300), max_size=12))
def test_cutting_the_input_anywhere_changes_nothing(wire: bytes, cuts: list[int]) -> None:
    marks = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[a:b] for a, b in itertools.pairwise(marks)]
    whole = decode(wire)
    assert decode(*pieces) == whole
    assert decode(*(wire[i : i + 1] for i in range(len(wire)))) == whole


@given(
    st.lists(st.text(min_size=1, max_size=20), max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_what_a_server_writes_is_read(texts: list[str], end: str, comments: bool) -> None:
    sent = [text.replace("\r", "").replace("\n", "").encode("utf-8", "replace") for text in texts]
    line = end.encode()
    noise = b": ping" + line + line if comments else b""
    assert data(b"".join(noise + b"data: " + text + line + line for text in sent)) == sent
