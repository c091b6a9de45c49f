"""Templates of URIs: which they fit, at no great cost."""

import re

import pytest
from gleitzeit_plugin_mcp.serve.templates import LONGEST, Template
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text("ab/?{}", max_size=4)
PIECES = st.lists(st.one_of(st.sampled_from("ab/?"), st.sampled_from(["{x}", "{+x}"])), max_size=5)


@pytest.mark.parametrize(
    "template, uri, fits",
    [
        ("test://item/{id}", "test://item/7", True),
        ("test://item/{id}", "test://item/", False),
        ("test://item/{id}", "test://item/7/8", False),
        ("file:///{+path}", "file:///a/b?c", True),
        ("file:///{path}.txt", "file:///a.txt.txt", True),
        ("x://{a}-{b}", "x://1-2-3", True),
        ("x://{a", "x://{a", True),
        ("x://y{?q}", "x://y?q=1", True),
    ],
)
def test_templates_fit_what_their_server_would_take(template: str, uri: str, fits: bool) -> None:
    assert Template.of(template).fits(uri) is fits


@given(PIECES, st.text("ab/?", max_size=8))
def test_they_fit_what_a_regular_expression_would(pieces: list[str], uri: str) -> None:
    wild = {"{x}": "[^/?#]+", "{+x}": ".*"}
    pattern = "".join(wild.get(piece) or re.escape(piece) for piece in pieces)
    assert Template.of("".join(pieces)).fits(uri) is (re.fullmatch(pattern, uri) is not None)


def test_a_template_made_to_be_slow_is_not() -> None:
    """A regular expression of these pieces would be at it for longer than the world is old."""
    for piece in ("{x}", "{x}a", "{+x}a"):
        evil = Template.of(f"x://{piece * 40}!")
        assert not evil.fits("x://" + "a" * (LONGEST - 10))
    assert not Template.of("{+x}").fits("a" * (LONGEST + 1))
