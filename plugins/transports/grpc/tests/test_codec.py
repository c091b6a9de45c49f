"""The message by hand is what protobuf makes of its definition."""

from typing import Any

import pytest
from gleitzeit_plugin_mcp_grpc.codec import pack, unpack
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st


def _line() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="mcp.proto", package="mcp.transport.v1", syntax="proto3")
    message = file.message_type.add(name="JsonRpcLine")
    message.field.add(name="line", number=1, type=9, label=1)
    # What a later version might add.
    for number, kind in ((2, 3), (3, 1), (4, 2), (5, 12)):
        message.field.add(name=f"new{number}", number=number, type=kind, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mcp.transport.v1.JsonRpcLine"))


Line = _line()


@given(st.text(max_size=300))
def test_both_read_what_both_write(text: str) -> None:
    assert unpack(pack(text.encode())) == text.encode()
    assert Line.FromString(pack(text.encode())).line == text
    assert unpack(Line(line=text).SerializeToString()) == text.encode()


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 2**21])
def test_every_width_of_the_length(size: int) -> None:
    assert Line.FromString(pack(b"x" * size)).line == "x" * size


@given(st.text(max_size=20), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=20))
def test_fields_of_a_later_version_are_passed_over(text: str, number: int, real: float, raw: bytes) -> None:
    message = Line(line=text, new2=number, new3=real, new4=0.5, new5=raw).SerializeToString()
    assert unpack(message) == text.encode()
    assert unpack(Line(new5=b"first").SerializeToString() + message) == text.encode()


@given(st.binary(max_size=40))
def test_what_is_no_message_is_told(data: bytes) -> None:
    try:
        line = unpack(data)
    except ValueError:
        return
    assert isinstance(line, bytes)


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x0a\xff", b"\x09\x01", b"\x0b", b"\x02\x00"])
def test_a_cut_or_foreign_message_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"ends|wire type|field number"):
        unpack(data)
