"""Answers in OpenAI's shapes, and what a request asks for."""

from __future__ import annotations

import array
import base64
import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gleitzeit.testing.openai_server.script import Answer

__all__ = ["embeddings", "last", "stream", "whole"]

_PIECES: Final = re.compile(r"\s*\S+|\s+")


def last(body: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Who spoke last, the last user text, the tool results since, and the tool they came from."""
    if "messages" not in body:
        return "user", str(body.get("prompt", "")), "", ""
    user, tool = "", ""
    results: list[str] = []
    for message in body["messages"]:
        text = message.get("content") or ""
        if isinstance(text, list):
            text = "".join(part.get("text", "") for part in text)
        if message["role"] == "user":
            user, results = text, []
        elif message["role"] == "tool":
            results.append(text)
        for called in message.get("tool_calls") or ():
            tool = called["function"]["name"]
    return "tool" if body["messages"][-1]["role"] == "tool" else "user", user, "; ".join(results), tool


def _calls(answer: Answer, body: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    calls = answer.calls
    if calls == "auto":
        tools = [tool["function"] for tool in body.get("tools") or ()]
        user = last(body)[1]
        named = [tool for tool in tools if _speaks_of(user, tool["name"])]
        calls = tuple(
            {"name": tool["name"], "arguments": _sample(tool, user)} for tool in (named or tools)[:1]
        )
    made = []
    for index, call in enumerate(calls):
        arguments = call.get("arguments", {})
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        function = {"name": call["name"], "arguments": text}
        made.append(
            {"id": call.get("id", f"call_{number}_{index}"), "type": "function", "function": function}
        )
    return made


def _speaks_of(text: str, name: str) -> bool:
    """Is the tool named, by its name on the wire, its name in Gleitzeit, or the name at its server?"""
    spellings = "|".join(map(re.escape, (name, name.replace("__", "/"), name.rpartition("__")[2])))
    return re.search(rf"(?<![\w/-])(?:{spellings})(?![\w/-])", text) is not None


def _sample(tool: Mapping[str, Any], user: str) -> Any:
    """Arguments for a tool: a JSON object in the user's text, else something for each required property."""
    found = re.search(r"\{.*\}", user, re.S)
    if found is not None:
        return found[0]
    schema = tool.get("parameters") or {}
    samples = {"string": "scripted", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    made = {}
    for name in schema.get("required", ()):
        one = schema.get("properties", {}).get(name, {})
        choices = [one["default"]] if "default" in one else one.get("examples") or one.get("enum")
        made[name] = choices[0] if choices else samples.get(one.get("type"), "scripted")
    return made


def _finish(answer: Answer, calls: list[Any]) -> str:
    return answer.finish_reason or ("tool_calls" if calls else "stop")


def _usage(answer: Answer, body: Mapping[str, Any], calls: list[Any]) -> Any:
    """Counts words, and says so nowhere: a fake has no tokens."""
    if answer.usage != "count":
        return answer.usage
    read = len(json.dumps(body.get("messages", body.get("prompt", ""))).split())
    written = len(answer.text.split()) + len(answer.thinking.split()) + len(calls)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _head(answer: Answer, body: Mapping[str, Any], number: int, kind: str) -> dict[str, Any]:
    return {"id": f"fake-{number}", "object": kind, "created": 0, "model": answer.model or body["model"]}


def whole(answer: Answer, body: Mapping[str, Any], kind: str, number: int) -> dict[str, Any]:
    """The body of an answer that is not a stream."""
    calls = [] if kind == "completion" else _calls(answer, body, number)
    choice: dict[str, Any] = {"index": 0, "finish_reason": _finish(answer, calls), "logprobs": None}
    if kind == "completion":
        choice["text"] = answer.text
    else:
        content = answer.text or (None if calls else "")
        choice["message"] = {"role": "assistant", "content": content, "refusal": None}
        if answer.thinking:
            choice["message"]["reasoning_content"] = answer.thinking
        if calls:
            choice["message"]["tool_calls"] = calls
    shaped = _head(answer, body, number, "text_completion" if kind == "completion" else "chat.completion")
    usage = _usage(answer, body, calls)
    return {**shaped, "choices": [choice], **({} if usage is None else {"usage": usage})}


def stream(answer: Answer, body: Mapping[str, Any], kind: str, number: int) -> Iterator[Any]:
    """The data of the events of a stream."""
    if answer.frames is not None:
        yield from answer.frames
    else:
        yield from _chunks(answer, body, kind, number)
    if answer.done:
        yield "[DONE]"


def _chunks(answer: Answer, body: Mapping[str, Any], kind: str, number: int) -> Iterator[dict[str, Any]]:
    completion = kind == "completion"
    head = _head(answer, body, number, "text_completion" if completion else "chat.completion.chunk")
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    if wants_usage:
        head["usage"] = None
    calls = [] if completion else _calls(answer, body, number)

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        held = {"text": delta.get("content", ""), "logprobs": None} if completion else {"delta": delta}
        return {**head, "choices": [{"index": 0, **held, "finish_reason": finish}]}

    if not completion:
        yield chunk({"role": "assistant", "content": None if calls else ""})
    for piece in _PIECES.findall(answer.thinking):
        yield chunk({"reasoning_content": piece})
    for piece in _PIECES.findall(answer.text):
        yield chunk({"content": piece})
    for index, call in enumerate(calls):
        text = call["function"]["arguments"]
        first = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield chunk({"tool_calls": [first]})
        for start in range(0, len(text), 8):
            yield chunk(
                {"tool_calls": [{"index": index, "function": {"arguments": text[start : start + 8]}}]}
            )
    yield chunk({}, _finish(answer, calls))
    usage = _usage(answer, body, calls)
    if wants_usage and usage is not None:
        yield {**head, "choices": [], "usage": usage}


def embeddings(body: Mapping[str, Any], model: str, dimensions: int) -> dict[str, Any]:
    """Vectors for the inputs of a request."""
    inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data = []
    for index, text in enumerate(inputs):
        vector = _vector(text, body.get("dimensions") or dimensions)
        shown = _base64(vector) if body.get("encoding_format") == "base64" else list(vector)
        data.append({"object": "embedding", "index": index, "embedding": shown})
    words = sum(len(str(text).split()) for text in inputs)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _vector(text: Any, dimensions: int) -> array.array[float]:
    """A unit vector that depends on the text alone, in the precision of the wire."""
    blocks = (hashlib.sha256(f"{block}:{text}".encode()).digest() for block in itertools.count())
    numbers = list(itertools.islice((byte - 127.5 for block in blocks for byte in block), dimensions))
    length = math.sqrt(sum(number * number for number in numbers))
    return array.array("f", (number / length for number in numbers))


def _base64(vector: array.array[float]) -> str:
    little = vector[:]
    if sys.byteorder == "big":
        little.byteswap()
    return base64.b64encode(little.tobytes()).decode("ascii")
