"""Lines and messages, however the bytes are cut."""

import json
from typing import Any

import pytest
from gleitzeit_plugin_mcp_stdio.framing import Lines
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.wire.jsonrpc import messages

LIMIT = 64


@given(st.lists(st.binary(max_size=LIMIT).map(lambda line: line.replace(b"\n", b""))), st.data())
def test_lines_do_not_depend_on_how_the_bytes_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    reader, found, at = Lines(LIMIT), [], 0
    while at < len(whole):
        size = data.draw(st.integers(1, 20))
        found += reader.feed(whole[at : at + size])
        at += size
    assert found == lines
    assert not reader.overflow


@given(st.integers(1, 50), st.integers(1, 200))
def test_a_line_over_the_limit_is_noticed_and_nothing_after_it_is_given(limit: int, cut: int) -> None:
    reader, found = Lines(limit), []
    data = b"a\n" + b"x" * (limit + 1) + b"\nafter\n"
    for at in range(0, len(data), cut):
        found += reader.feed(data[at : at + cut])
    assert reader.overflow
    assert found == [b"a"]


def test_a_line_at_the_limit_passes() -> None:
    reader = Lines(5)
    assert reader.feed(b"12345\n") == [b"12345"]
    assert not reader.overflow


@given(st.binary(max_size=200))
def test_any_line_is_messages_or_junk(line: bytes) -> None:
    found = messages(line)
    assert found is None or all(isinstance(message, dict) for message in found)


@pytest.mark.parametrize(
    "line",
    [
        b"Server ready on stdio",
        b'{"level": "info", "msg": "x"}',
        b"[]",
        b"[1]",
        b"3",
        b'{"id":',
        b"\xff{}",
        b"[" * 99999,
    ],
)
def test_what_is_no_json_rpc_is_junk(line: bytes) -> None:
    assert messages(line) is None


@pytest.mark.parametrize("line", [b"", b"\r", b"  \t"])
def test_a_blank_line_is_nothing(line: bytes) -> None:
    assert messages(line) == []


@pytest.mark.parametrize(
    "line,value",
    [
        (b'{"method": "m", "params": {"n": 123456789012345678901}}\r', {"n": 123456789012345678901}),
        (b'{"method": "m", "params": {"s": "\\ud800"}}', {"s": "\ud800"}),
        (b'{"method": "m", "params": {"x": Infinity}}', {"x": float("inf")}),
    ],
)
def test_what_other_languages_write_is_read(line: bytes, value: Any) -> None:
    assert messages(line) == [{"method": "m", "params": value}]


def test_a_batch_is_several_messages() -> None:
    batch = [{"id": 1, "result": {}}, {"method": "notifications/x"}]
    assert messages(json.dumps(batch).encode()) == batch
