from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import KW_ONLY
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit import records


@records.record(frozen=True)
class Ours:
    """One of ours."""

    name: str
    _: KW_ONLY
    size: int = 3
    more: Mapping[str, int] = records.field(default_factory=dict)
    secret: str = records.field(default="", repr=False)
    beside: Any = records.field(default=None, compare=False)

    @cached_property
    def twice(self) -> str:
        return self.name * 2


@dataclasses.dataclass(frozen=True)
class Theirs:
    name: str
    _: KW_ONLY
    size: int = 3
    more: Mapping[str, int] = dataclasses.field(default_factory=dict)
    secret: str = dataclasses.field(default="", repr=False)
    beside: Any = dataclasses.field(default=None, compare=False)


FIELDS = st.fixed_dictionaries(
    {"name": st.sampled_from("ab")},
    optional={
        "size": st.integers(3, 4),
        "more": st.dictionaries(st.sampled_from("xy"), st.integers(0, 1), max_size=1),
        "secret": st.sampled_from(["", "hush"]),
        "beside": st.sampled_from([None, 1]),
    },
)


@given(FIELDS, FIELDS)
def test_two_values_are_what_the_standard_ones_are(one: dict[str, Any], two: dict[str, Any]) -> None:
    ours, theirs = (Ours(**one), Ours(**two)), (Theirs(**one), Theirs(**two))
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
    assert repr(ours[0]) == repr(theirs[0]).replace("Theirs", "Ours")
    assert dataclasses.asdict(ours[0]) == dataclasses.asdict(theirs[0]) == vars(ours[0])
    changed = records.replace(ours[0], **two)
    assert changed == dataclasses.replace(ours[0], **two)
    assert vars(changed) == vars(dataclasses.replace(theirs[0], **two))


def test_the_standard_module_finds_the_fields() -> None:
    told = [(each.name, each.default, each.kw_only, each.repr) for each in dataclasses.fields(Ours)]
    assert told == [(each.name, each.default, each.kw_only, each.repr) for each in dataclasses.fields(Theirs)]


@pytest.mark.parametrize(
    "how",
    [
        lambda kind: kind(),
        lambda kind: kind("a", 4),
        lambda kind: kind("a", name="b"),
        lambda kind: kind("a", colour="red"),
    ],
    ids=["missing", "by position", "twice", "unknown"],
)
def test_what_the_standard_one_refuses_is_refused(how: Any) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            how(kind)


def test_a_value_cannot_be_changed() -> None:
    value = Ours("a")
    with pytest.raises(dataclasses.FrozenInstanceError, match="size"):
        value.size = 4  # type: ignore[misc]  # that is what is tried
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.size
    assert value.size == 3


def test_defaults_are_made_anew_and_values_can_be_hashed_copied_and_kept() -> None:
    assert Ours("a").more is not Ours("a").more
    value = Ours("a", more=())  # type: ignore[arg-type]  # a mapping has no hash
    assert hash(value) == hash(Ours("a", more=(), beside=1))  # type: ignore[arg-type]  # as above
    assert value.twice == "aa"  # kept beside the fields, and no part of the value
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


def test_a_listing_imports_neither_dataclasses_nor_what_they_import() -> None:
    code = (
        "import sys; from gleitzeit.cli import main; main(['plugins']); "
        "sys.exit(' '.join({'dataclasses', 'inspect', 'attr', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
