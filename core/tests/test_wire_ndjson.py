"""The NDJSON decoder at byte level."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.wire.ndjson import NDJSONDecoder


def decode(*chunks: bytes, limit: int = 1 << 20) -> list[bytes]:
    decoder = NDJSONDecoder(limit)
    lines = [line for chunk in chunks for line in decoder.feed(chunk)]
    return lines + decoder.close()


def test_lines_in_any_chunks() -> None:
    assert decode(b'{"a":1}\n{"b"', b':2}\n{"c":3}\n') == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


def test_crlf_and_blank_lines() -> None:
    assert decode(b"\n\r\n1\r", b"\n  \n2 \n") == [b"1", b"2"]


def test_the_last_line_needs_no_end() -> None:
    assert decode(b"1\n2") == [b"1", b"2"]
    assert decode() == []


def test_utf8_cut_inside_a_character() -> None:
    wire = '"😀"\n'.encode()
    assert decode(*(wire[i : i + 1] for i in range(len(wire)))) == ['"😀"'.encode()]


@pytest.mark.parametrize("size", [1, 64, 4096])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_over_the_limit_is_refused(size: int, end: bytes) -> None:
    wire = b"1\n" + b"x" * 2000 + end
    with pytest.raises(MalformedAnswerError, match="longer than 1000 bytes"):
        decode(*(wire[i : i + size] for i in range(0, len(wire), size)), limit=1000)


@given(
    st.lists(st.sampled_from([b"{}", b'"\xc3\xbc"', b"\n", b"\r\n", b" ", b"[1,", b"2]"]), max_size=30),
    st.data(),
)
def test_cutting_the_input_anywhere_changes_nothing(pieces: list[bytes], cuts: st.DataObject) -> None:
    wire = b"".join(pieces)
    marks = sorted(cuts.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    chunks = [wire[a:b] for a, b in zip([0, *marks], [*marks, len(wire)], strict=True)]
    assert decode(*chunks) == decode(wire) == decode(*(wire[i : i + 1] for i in range(len(wire))))
