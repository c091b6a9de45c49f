"""Where a stored schema is older than the vendor's API or contradicts itself, with the reason.

An exception rewrites what is newer into something of the same place that the schema knows, so that all
else in the body is still checked. Its `example` shows that it is needed: a test checks that the schema
refuses it as it is, and takes it rewritten. It goes when its schema is renewed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

__all__ = ["EXCEPTIONS", "SpecException", "rewritten"]

_USER: Final = {"role": "user"}


@frozen(kw_only=True)
class SpecException:
    """Something that a schema refuses and the vendor takes, or says."""

    vendor: str
    schema: str
    reason: str
    #: Gives an object of the body as the schema knows it; the same object where it is not concerned.
    older: Callable[[dict[str, Any]], dict[str, Any]] = field(repr=False)
    example: Mapping[str, Any] = field(repr=False)


def rewritten(vendor: str, body: Any) -> Any:
    """The body without what the schemas of a vendor do not know yet."""
    for exception in EXCEPTIONS:
        if exception.vendor == vendor:
            body = _everywhere(exception.older, body)
    return body


def _everywhere(older: Callable[[dict[str, Any]], dict[str, Any]], node: Any) -> Any:
    if isinstance(node, list):
        return [_everywhere(older, each) for each in node]
    if isinstance(node, dict):
        return older({name: _everywhere(older, each) for name, each in node.items()})
    return node


def _file_source(node: dict[str, Any]) -> dict[str, Any]:
    source = node.get("source")
    if node.get("type") not in ("document", "image") or not isinstance(source, dict):
        return node
    if source.get("type") != "file" or source.keys() != {"type", "file_id"}:
        return node
    return {**node, "source": {"type": "url", "url": source["file_id"]}}


def _file_results(node: dict[str, Any]) -> dict[str, Any]:
    answer = node.get("functionResponse")
    if not isinstance(answer, dict) or not isinstance(answer.get("parts"), list):
        return node
    parts = [
        {"inlineData": {}} if isinstance(part, dict) and part.keys() == {"fileData"} else part
        for part in answer["parts"]
    ]
    return {**node, "functionResponse": {**answer, "parts": parts}}


EXCEPTIONS: Final[tuple[SpecException, ...]] = (
    SpecException(
        vendor="anthropic",
        schema="CreateMessageParams",
        reason="the file of May 2026 has no source of uploaded files; the types of the SDK have it",
        older=_file_source,
        example={
            "model": "m",
            "max_tokens": 1,
            "messages": [
                {
                    **_USER,
                    "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}],
                }
            ],
        },
    ),
    SpecException(
        vendor="gemini",
        schema="GenerateContentRequest",
        reason="the file knows data only in the parts of results; the types of the SDK take addresses",
        older=_file_results,
        example={
            "contents": [
                {
                    **_USER,
                    "parts": [
                        {"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": "gs://b/x"}}]}}
                    ],
                }
            ]
        },
    ),
)
