"""Names survive wires that allow little."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.wire.names import WireNames

OPENAI = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")


def test_instance_and_tool_are_readable_on_the_wire() -> None:
    names = WireNames()
    assert names.encode("git/git_status") == "git__git_status"
    assert names.decode("git__git_status") == "git/git_status"


def test_a_plain_name_comes_back_without_having_been_encoded_here() -> None:
    assert WireNames().decode("time__now") == "time/now"


def test_an_unknown_name_of_the_model_is_passed_on() -> None:
    assert WireNames(["time/now"]).decode("no_such_tool") == "no_such_tool"


def test_a_long_name_is_cut_and_comes_back() -> None:
    name = "server/" + "very_" * 40 + "long"
    names = WireNames()
    wire = names.encode(name)
    assert len(wire) == 64
    assert wire.startswith("server_very_")
    assert names.decode(wire) == name


def test_a_shorter_limit_is_kept() -> None:
    assert len(WireNames(limit=32).encode("x" * 40)) == 32


def test_names_that_would_collide_get_different_wires() -> None:
    names = ["a/b", "a__b", "a_/b", "a/_b", "a//b", "a.b", "a b", "a_b", "é", "ü", "", "1", "_1", "a/b/c"]
    table = WireNames(names)
    wires = [table.encode(name) for name in names]
    assert len(set(wires)) == len(names)
    assert [table.decode(wire) for wire in wires] == names


@pytest.mark.parametrize("hash_first", [True, False])
def test_a_name_that_looks_like_the_hash_of_another_does_not_shadow_it(hash_first: bool) -> None:
    twin = WireNames().encode("wétter")
    table = WireNames(["wétter", twin] if hash_first else [twin, "wétter"])
    assert table.encode("wétter") != table.encode(twin)
    assert table.decode(table.encode("wétter")) == "wétter"
    assert table.decode(table.encode(twin)) == twin


def test_encoding_is_the_same_in_every_process() -> None:
    assert WireNames().encode("wétter/heute") == WireNames(["other"]).encode("wétter/heute")


@given(
    st.lists(
        st.text(max_size=80) | st.from_regex(r"[a-z_/-]{1,12}", fullmatch=True), unique=True, max_size=12
    )
)
def test_any_names_come_back_and_suit_the_strictest_vendor(names: list[str]) -> None:
    table = WireNames(names)
    wires = [table.encode(name) for name in names]
    assert len(set(wires)) == len(names)
    assert all(OPENAI.fullmatch(wire) for wire in wires)
    assert [table.decode(wire) for wire in wires] == names
