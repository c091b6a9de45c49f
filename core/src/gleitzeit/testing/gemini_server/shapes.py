"""Answers in Gemini's shapes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from attrs import field, frozen

from gleitzeit.testing import faulty

__all__ = ["Answer", "pieces", "said", "vector", "whole"]

_PIECES: Final = re.compile(r"\s*\S+|\s+")


@frozen(kw_only=True)
class Answer(faulty.Answer):
    """One answer. `text` and `thinking` may hold {user} and {results}.

    `calls` are function calls as on the wire (`{"name": …, "args": …}`), the first of them with
    `signature` where one is given, else the text; `parts` replaces all parts. `usage` None leaves
    usage out. `body` replaces the whole body, `frames` the pieces of the stream.
    """

    text: str = field(default="", kw_only=False)
    thinking: str = ""
    calls: Sequence[Mapping[str, Any]] = ()
    signature: str | None = None
    parts: Sequence[Mapping[str, Any]] | None = None
    finish_reason: str | None = "STOP"
    usage: Mapping[str, Any] | Literal["count"] | None = "count"

    @classmethod
    def error(
        cls, status: int, message: str, *, word: str = "INVALID_ARGUMENT", details: Any = (), **more: Any
    ) -> Answer:
        """An error in Gemini's shape."""
        error = {"code": status, "message": message, "status": word, "details": list(details)}
        return cls(status=status, body={"error": error}, **more)


def said(body: Mapping[str, Any]) -> dict[str, str]:
    """The last text of the user, and the results that came last."""
    user, results = "", ""
    for content in body.get("contents", ()):
        if content.get("role", "user") == "user":
            answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
            results = "; ".join(str(answer.get("response", {}).get("output", "")) for answer in answers)
            user = "".join(part.get("text", "") for part in content["parts"]) or user
    return {"user": user, "results": results}


def whole(answer: Answer, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer that is not a stream."""
    *_, last = pieces(answer, model, body)
    parts = _parts(answer, said(body))
    content = {"content": {"role": "model", "parts": parts}} if parts else {"content": {}}
    return {**last, "candidates": [{**last["candidates"][0], **content}]}


def pieces(answer: Answer, model: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The pieces of a stream: text word by word, anything else whole."""
    head = {"modelVersion": model, "responseId": "fake"}
    parts = _parts(answer, said(body))
    made: list[dict[str, Any]] = []
    for part in parts:
        words = _PIECES.findall(part["text"]) if "text" in part and "thoughtSignature" not in part else []
        made += [{**part, "text": word} for word in words] or [part]
    for written, part in enumerate(made or [{"text": ""}], start=1):
        last = written >= len(made)
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
        if last and answer.finish_reason is not None:
            candidate["finishReason"] = answer.finish_reason
        usage = _usage(answer, body, written)
        yield {"candidates": [candidate], **({} if usage is None else {"usageMetadata": usage}), **head}


def _parts(answer: Answer, marks: Mapping[str, str]) -> list[dict[str, Any]]:
    if answer.parts is not None:
        return [dict(part) for part in answer.parts]

    def filled(text: str) -> str:
        return re.sub(r"\{(user|results)\}", lambda match: marks[match[1]], text)

    parts: list[dict[str, Any]] = []
    if answer.thinking:
        parts.append({"text": filled(answer.thinking), "thought": True})
    if answer.text:
        parts.append({"text": filled(answer.text)})
    for index, call in enumerate(answer.calls):
        signed = {"thoughtSignature": answer.signature} if answer.signature and not index else {}
        parts.append({"functionCall": dict(call), **signed})
    return parts


def _usage(answer: Answer, body: Mapping[str, Any], written: int) -> Any:
    """Counts words and parts, and says so nowhere: a fake has no tokens."""
    if answer.usage != "count":
        return answer.usage
    read = len(str(body.get("contents", "")).split())
    return {"promptTokenCount": read, "candidatesTokenCount": written, "totalTokenCount": read + written}


def vector(text: str, size: int) -> list[float]:
    """Numbers that depend on the text alone."""
    found = hashlib.shake_256(text.encode()).digest(size)
    return [(byte - 127.5) / 127.5 for byte in found]
