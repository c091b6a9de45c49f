"""Whatever a server sends, it is an answer or an error of ours."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from gleitzeit_plugin_ollama.downloads import read_pull
from gleitzeit_plugin_ollama.listing import described, rows_of
from gleitzeit_plugin_ollama.reader import AnswerReader
from gleitzeit_plugin_ollama.stream import LineParser
from gleitzeit_plugin_ollama.vectors import read_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit.errors import GleitzeitError
from gleitzeit.testing import strategies as some
from gleitzeit.values import Event
from gleitzeit.values.fold import fold
from gleitzeit.wire.codec import to_json
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

ANY = some.json_values()


def mapping(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the fields, each of its own kind or any other."""
    return st.fixed_dictionaries({}, optional={name: kind | ANY for name, kind in fields.items()})


CALL = mapping(
    id=some.names(), function=mapping(name=some.texts(), arguments=some.json_objects() | some.texts())
)
MESSAGE = mapping(
    content=some.texts(), thinking=some.texts(), tool_calls=st.lists(CALL, max_size=2), images=st.lists(ANY)
)
LINE = mapping(
    model=some.names(),
    message=MESSAGE,
    response=some.texts(),
    thinking=some.texts(),
    done=st.booleans(),
    done_reason=some.names(),
    error=st.none(),
    eval_count=st.integers(),
    prompt_eval_count=st.integers(),
)
LINES = st.lists(LINE, max_size=4).map(
    lambda found: b"".join(json.dumps(item).encode() + b"\n" for item in found)
)


def read(data: bytes, *, whole: bool) -> None:
    """Read it either way; what comes must be fit for storage."""
    events: deque[Event] = deque()
    reader = AnswerReader(WireNames(), "ollama:test:m")
    try:
        if whole:
            LineParser(reader, answer_error).whole(data, events)
        else:
            parser = LineParser(reader, answer_error)
            parser.feed(data, events)
            parser.close(events)
    except GleitzeitError as error:
        json.dumps(error.to_dict())
    json.dumps(to_json(fold(events)))


@settings(max_examples=60, deadline=None)
@given(data=LINES, whole=st.booleans())
def test_lines_of_any_content(data: bytes, whole: bool) -> None:
    read(data, whole=whole)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes(data: bytes) -> None:
    read(data, whole=True)
    read(b'{"message": {"content": "a"}}\n' + data, whole=False)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        mapping(name=some.names(), model=some.names(), digest=some.texts(), details=ANY), max_size=3
    ),
    shown=mapping(capabilities=st.lists(ANY, max_size=3), model_info=some.json_objects(), remote_host=ANY),
)
def test_any_list_of_models(rows: list[dict[str, Any]], shown: dict[str, Any]) -> None:
    for row in rows_of(json.dumps({"models": rows}).encode()):
        json.dumps(to_json(described(row, shown)))


@settings(max_examples=40, deadline=None)
@given(
    body=mapping(
        embeddings=st.lists(st.lists(st.floats(-1, 1) | ANY, max_size=3), max_size=3), error=st.none()
    )
)
def test_any_embeddings(body: dict[str, Any]) -> None:
    try:
        found = read_vectors(json.dumps(body).encode(), 2, answer_error)
    except GleitzeitError:
        return
    assert len(found.vectors) == 2


STATUS = mapping(
    status=some.texts(),
    digest=some.names(),
    total=st.integers(0, 9),
    completed=st.integers(0, 9),
    error=st.none(),
)


@settings(max_examples=40, deadline=None)
@given(lines=st.lists(STATUS, max_size=4))
def test_any_download(lines: list[dict[str, Any]]) -> None:
    from gleitzeit_plugin_ollama.pulls import _Pull

    async def chunks() -> Any:
        for line in lines:
            yield json.dumps(line).encode() + b"\n"

    told = _Pull("m")
    running = read_pull("m", chunks(), answer_error, told.tell)
    try:
        running.send(None)  # nothing in it waits
    except (StopIteration, GleitzeitError):
        pass
    if told.progress is not None:
        assert told.progress.total is not None
        assert 0 <= told.progress.progress <= told.progress.total
