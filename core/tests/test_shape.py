"""Shapes of JSON: what fits, and what is told of what does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from gleitzeit.testing import strategies as some
from gleitzeit.testing.shape import Each, Fields, Misfit, Null, Number, Tagged, Text, Values, Words, misfit

POINT = Fields({"x": float, "y": float, "label": str}, ["x", "y"])
SHAPE = Tagged("kind", {"dot": Fields({"kind": str, "at": POINT}, ["at"])}, others=["cloud"])
DRAWING = Fields(
    {
        "name": Text(1, 5, r"\A[a-z]+\Z"),
        "shapes": Each(SHAPE, 1, 2),
        "scale": Null(Number(0, 1)),
        "copies": Number(1, whole=True),
        "colour": Words("red green"),
        "tags": Values(str),
        "size": (int, Words("full")),
        "shown": bool,
    },
    ["name"],
)
DOT = {"kind": "dot", "at": {"x": 1, "y": 0.5}}


@pytest.mark.parametrize(
    "body",
    [
        {"name": "abc"},
        {"name": "a", "shapes": [DOT, {"kind": "cloud", "whatever": 1}], "scale": None, "copies": 2.0},
        {"name": "a", "scale": 1, "colour": "red", "tags": {"a": "b"}, "size": "full", "shown": False},
    ],
)
def test_what_fits(body: Any) -> None:
    assert misfit(DRAWING, body) is None


@pytest.mark.parametrize(
    "body, kind, at",
    [
        ([], "type", ""),
        ({}, "missing", "name"),
        ({"name": ""}, "value", "name"),
        ({"name": "abcdef"}, "value", "name"),
        ({"name": "A"}, "value", "name"),
        ({"name": 3}, "type", "name"),
        ({"name": "a", "bogus": 1}, "unknown", "bogus"),
        ({"name": "a", "shapes": []}, "value", "shapes"),
        ({"name": "a", "shapes": [DOT] * 3}, "value", "shapes"),
        ({"name": "a", "shapes": [DOT, {}]}, "missing", "shapes[1].kind"),
        ({"name": "a", "shapes": [{"kind": 3}]}, "type", "shapes[0].kind"),
        ({"name": "a", "shapes": [{"kind": "blob"}]}, "value", "shapes[0].kind"),
        ({"name": "a", "shapes": [{**DOT, "at": {"x": 1}}]}, "missing", "shapes[0].at.y"),
        ({"name": "a", "shapes": [{**DOT, "at": {"x": 1, "y": True}}]}, "type", "shapes[0].at.y"),
        ({"name": "a", "scale": 2}, "value", "scale"),
        ({"name": "a", "copies": 0}, "value", "copies"),
        ({"name": "a", "copies": 1.5}, "type", "copies"),
        ({"name": "a", "copies": None}, "type", "copies"),
        ({"name": "a", "colour": "blue"}, "value", "colour"),
        ({"name": "a", "tags": {"a": 1}}, "type", "tags.a"),
        ({"name": "a", "size": "half"}, "value", "size"),
        ({"name": "a", "shown": 1}, "type", "shown"),
    ],
)
def test_what_does_not_fit_and_where(body: Any, kind: str, at: str) -> None:
    found = misfit(DRAWING, body)
    assert found is not None
    assert (found.kind, found.dotted(brackets=True)) == (kind, at)


def test_a_misfit_tells_its_place() -> None:
    found = Misfit("type", ("messages", 0, "content"))
    assert (found.dotted(), found.dotted(brackets=True)) == ("messages.0.content", "messages[0].content")
    assert (found.name, Misfit("type", ("a", 0)).name, Misfit("type", ()).name) == ("content", "a", "")


@settings(max_examples=60, deadline=None)
@given(body=some.json_values())
def test_anything_is_judged(body: Any) -> None:
    found = misfit(DRAWING, body)
    assert found is None or found.kind in ("missing", "unknown", "type", "value")
