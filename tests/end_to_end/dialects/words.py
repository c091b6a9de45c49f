"""What every vendor says, each in its own words: a thought with two parallel calls, then a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

__all__ = ["CALLS", "KEY", "MODEL", "READ", "SENTENCE", "THOUGHT", "WROTE", "Dialect", "written"]

THOUGHT: Final = "Two lookups at once."
SENTENCE: Final = "Rain at noon, says the desk."
CALLS: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("desk__weather", {"city": "Oslo"}),
    ("desk__clock", {"city": "Oslo", "zone": "CET"}),
)
MODEL: Final = "m-1"
KEY: Final = "k-voice-0123456789"
#: Tokens read and written in each turn.
READ, WROTE = 20, 9


@frozen(kw_only=True)
class Dialect:
    """How a wire spells the two turns."""

    name: str = field(kw_only=False)
    #: The body with both calls; with a `state`, the thought and what must come back with it.
    calls: Callable[[str | None], Any]
    #: The body with the sentence.
    sentence: Callable[[], Any]
    #: The frames of a stream that says the same as a body, to its very end.
    frames: Callable[[Any], Iterable[bytes]]


def written(arguments: Mapping[str, Any]) -> str:
    """Arguments as the text of a wire that wants text."""
    return json.dumps(arguments)
