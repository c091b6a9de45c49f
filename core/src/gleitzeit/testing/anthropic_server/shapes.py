"""Answers in the shapes of the Messages API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import field, frozen

from gleitzeit.testing import faulty

__all__ = ["Answer", "events", "message"]

_PIECES: Final = re.compile(r"\s*\S+|\s+")
_DIRECT: Final = {"type": "direct"}
#: What the vendor's usage always has.
_UNCOUNTED: Final[Mapping[str, Any]] = dict.fromkeys(
    (
        "cache_creation",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "inference_geo",
        "server_tool_use",
        "service_tier",
    )
)
#: Of these the end of a stream says nothing.
_AT_START: Final = ("cache_creation", "inference_geo", "service_tier")
_ENDING: Final = ("stop_reason", "stop_sequence", "stop_details", "container")


@frozen(kw_only=True)
class Answer(faulty.Answer):
    """One answer. `text` may hold {user} and {result}.

    `thinking` comes before the text, signed; `blocks` are further blocks of the wire, `calls` tool
    calls (`{"name": …, "input": …}`). `usage` None leaves usage out, `told` is merged into the
    message, and into the `message_delta` of a stream.
    """

    text: str = field(default="", kw_only=False)
    thinking: str = ""
    blocks: tuple[Mapping[str, Any], ...] = ()
    calls: tuple[Mapping[str, Any], ...] = ()
    stop_reason: str | None = None
    usage: Mapping[str, Any] | None = field(factory=lambda: {"input_tokens": 5, "output_tokens": 7})
    told: Mapping[str, Any] = field(factory=dict)

    @classmethod
    def error(cls, status: int, message: str, *, type: str = "invalid_request_error", **more: Any) -> Answer:
        """An error in Anthropic's shape; `details` goes into it, all else are fields of `Answer`."""
        details = more.pop("details", None)
        error = {"type": type, "message": message, **({"details": details} if details else {})}
        body = {"type": "error", "error": error, "request_id": "req_in_body"}
        return cls(status=status, body=body, **more)


def message(answer: Answer, body: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The body of an answer that is not a stream."""
    blocks: list[dict[str, Any]] = []
    if answer.thinking:
        blocks.append({"type": "thinking", "thinking": answer.thinking, "signature": f"sig+/{number}=="})
    blocks += map(dict, answer.blocks)
    user, result = _spoken(body)
    text = answer.text.replace("{user}", user).replace("{result}", result)
    if text or not (answer.calls or blocks):
        blocks.append({"type": "text", "text": text, "citations": None})
    for place, call in enumerate(answer.calls):
        made = {"type": "tool_use", "id": f"toolu_{number}_{place}", "input": {}, "caller": _DIRECT, **call}
        blocks.append(made)
    return {
        "id": f"msg_fake_{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": answer.stop_reason or ("tool_use" if answer.calls else "end_turn"),
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        **({} if answer.usage is None else {"usage": {**_UNCOUNTED, **answer.usage}}),
        **answer.told,
    }


def _spoken(body: Mapping[str, Any]) -> tuple[str, str]:
    """The last text of the user, and the results of tools in the last turn."""
    user, results = "", []
    for turn in body["messages"]:
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if turn["role"] != "user":
            continue
        said = [block["text"] for block in blocks if block["type"] == "text"]
        user = "".join(said) or user
        results = [_text(block.get("content")) for block in blocks if block["type"] == "tool_result"]
    return user, "; ".join(results)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(block.get("text", "") for block in content)
    return content or ""


def events(whole: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a stream that amounts to a message."""
    usage = whole.get("usage")
    begun = {**whole, "content": [], **dict.fromkeys(_ENDING)}
    managed = begun.pop("context_management", None)
    if usage is not None:
        begun["usage"] = {**usage, "output_tokens": 1}
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for index, block in enumerate(whole["content"]):
        start, deltas = _split(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    last: dict[str, Any] = {
        "type": "message_delta",
        "delta": {name: whole.get(name) for name in _ENDING},
    }
    if managed is not None:
        last["context_management"] = managed
    if usage is not None:
        last["usage"] = {name: count for name, count in usage.items() if name not in _AT_START or count}
    yield last
    yield {"type": "message_stop"}


def _split(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How a block begins, and what is added to it."""
    kind = block["type"]
    deltas: list[dict[str, Any]] = []
    if kind == "text":
        cited = block.get("citations") or ()
        deltas += [{"type": "citations_delta", "citation": each} for each in cited]
        deltas += [{"type": "text_delta", "text": piece} for piece in _PIECES.findall(block["text"])]
        return {**block, "text": "", **({"citations": []} if cited else {})}, deltas
    if kind == "thinking":
        pieces = _PIECES.findall(block["thinking"])
        deltas += [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    if kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        pieces = ["", *(text[at : at + 8] for at in range(0, len(text), 8))]
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        return {**block, "input": {}}, deltas
    return dict(block), deltas
