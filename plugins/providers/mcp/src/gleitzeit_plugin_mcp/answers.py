"""What a server's tools return, as replies of models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from gleitzeit.errors import MalformedAnswerError, ServerFaultError
from gleitzeit.values import (
    Classification,
    Embedding,
    FinishReason,
    Label,
    Operation,
    Part,
    Reply,
    TextPart,
    ToolCallPart,
    Usage,
)
from gleitzeit_plugin_mcp.content import parts

__all__ = ["reply"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "endTurn": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "stopSequence": "stop",
    "length": "length",
    "maxTokens": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "toolUse": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "refusal",
    "refusal": "refusal",
    "context_exceeded": "context_exceeded",
    "paused": "paused",
}
_TEXT: Final = (
    "text",
    "content",
    "generated_content",
    "generated_text",
    "completion",
    "response",
    "output",
    "result",
)


def reply(operation: Operation, results: Sequence[Mapping[str, Any]], model: str, server: str) -> Reply:
    """The reply to `operation` from the raw results of its calls.

    Raises `ServerFaultError` where the tool reports a failure, `MalformedAnswerError` where the
    result holds no such answer.
    """
    for result in results:
        if result.get("isError") is True:
            said = "".join(
                part.text for part in parts(result.get("content") or ()) if isinstance(part, TextPart)
            )
            raise ServerFaultError(
                f"the model {model!r} of server {server!r} failed: {said[:300]}",
                provider=server,
                sent=True,
                body=said,
            )
    raw = results[0] if len(results) == 1 else list(results)
    if isinstance(operation, Embedding):
        vectors = _inputs(results, len(operation.inputs), _vector, "embedding", server)
        return Reply(vectors=vectors, model=model, finish_reason="stop", raw=raw)
    if isinstance(operation, Classification):
        labels = _inputs(results, len(operation.inputs), _labels, "classification", server)
        return Reply(labels=labels, model=model, finish_reason="stop", raw=raw)
    return _generated(results[0], model)


def _generated(result: Mapping[str, Any], model: str) -> Reply:
    structured = result.get("structuredContent")
    said = structured if isinstance(structured, Mapping) else {}
    found: tuple[Part, ...] = parts(result.get("content") or ())
    text = next((said[key] for key in _TEXT if isinstance(said.get(key), str)), None)
    if text is not None:  # the content then only repeats the structure as JSON
        found = (TextPart(text),) if text else ()
    calls = tuple(_calls(said.get("tool_calls") or said.get("toolCalls")))
    if calls and text is None:
        found = tuple(part for part in found if not isinstance(part, TextPart))
    found += calls
    word = said.get("finish_reason") or said.get("stopReason") or said.get("stop_reason")
    word = word if isinstance(word, str) else None
    asks = any(isinstance(part, ToolCallPart) for part in found)
    return Reply(
        found,
        finish_reason="tool_calls" if asks else _FINISH.get(word or "", "stop"),
        raw_finish_reason=word,
        usage=_usage(said.get("usage")),
        model=said["model"] if isinstance(said.get("model"), str) else model,
        id=said["id"] if isinstance(said.get("id"), str) else None,
        data=structured,
        raw=result,
    )


def _calls(rows: Any) -> Iterable[ToolCallPart]:
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        function = row.get("function", row) if isinstance(row, Mapping) else {}
        name, given = function.get("name"), function.get("arguments", function.get("input"))
        if isinstance(name, str):
            id = str(row.get("id") or f"call_{number}")
            if isinstance(given, str):
                yield ToolCallPart.parse(id, name, given)
            else:
                yield ToolCallPart(id, name=name, arguments=given if isinstance(given, Mapping) else {})


def _usage(raw: Any) -> Usage | None:
    if not isinstance(raw, Mapping):
        return None

    def count(*keys: str) -> int | None:
        return next((raw[key] for key in keys if isinstance(raw.get(key), int)), None)

    return Usage(
        input=count("input", "input_tokens", "prompt_tokens", "inputTokens", "promptTokens"),
        output=count("output", "output_tokens", "completion_tokens", "outputTokens", "completionTokens"),
        cache_read=count("cache_read", "cache_read_input_tokens"),
        cache_write=count("cache_write", "cache_creation_input_tokens"),
        reasoning=count("reasoning", "reasoning_tokens"),
        raw=raw,
    )


def _inputs(
    results: Sequence[Mapping[str, Any]], count: int, read: Callable[[Any], Any], what: str, server: str
) -> tuple[Any, ...]:
    """One entry an input, wherever a tool puts them."""
    rows: list[Any] = []
    for result in results:
        found = [read(row) for row in _rows(result, single=len(results) == count)]
        rows += found
    if len(rows) != count or None in rows:
        raise MalformedAnswerError(
            f"server {server!r} gave {len(rows)} answers to {count} inputs, or none that is an {what}",
            provider=server,
            sent=True,
        )
    return tuple(rows)


def _rows(result: Mapping[str, Any], *, single: bool) -> list[Any]:
    value = result.get("structuredContent")
    if value is None:
        text = "".join(part.text for part in parts(result.get("content") or ()) if isinstance(part, TextPart))
        try:
            value = json.loads(text)
        except ValueError:
            return []
    keys = (
        "embeddings",
        "vectors",
        "labels",
        "classifications",
        "results",
        "data",
        "result",
        "embedding",
        "vector",
    )
    if isinstance(value, Mapping):
        value = next((value[key] for key in keys if key in value), value)
    if not isinstance(value, list):
        return [value]
    # One vector, or one list of scores, is the answer to one input and not a list of answers.
    flat = value and (
        isinstance(value[0], (int, float)) or (isinstance(value[0], Mapping) and _label(value[0]))
    )
    return [value] if single and flat else value


def _vector(row: Any) -> tuple[float, ...] | None:
    if isinstance(row, Mapping):
        row = row.get("embedding", row.get("vector"))
    if not isinstance(row, list) or not all(isinstance(x, (int, float)) for x in row):
        return None
    return tuple(float(x) for x in row)


def _labels(row: Any) -> tuple[Label, ...] | None:
    rows = row if isinstance(row, list) else [row]
    found = [_label(each) for each in rows]
    if isinstance(row, Mapping) and all(isinstance(value, (int, float)) for value in row.values()):
        found = [Label(name, score=float(score)) for name, score in row.items()]
    return tuple(label for label in found if label) if found and None not in found else None


def _label(row: Any) -> Label | None:
    if isinstance(row, str):
        return Label(row)
    if isinstance(row, Mapping):
        name = next((row[key] for key in ("label", "name", "class") if isinstance(row.get(key), str)), None)
        score = next((row[key] for key in ("score", "confidence", "probability") if key in row), None)
        if name is not None:
            return Label(name, score=float(score) if isinstance(score, (int, float)) else None)
    return None
