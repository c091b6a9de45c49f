"""The live list of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import Chat, Completion, Model
from gleitzeit.wire.exchange import decoded

__all__ = ["read_models"]

#: Our word for what the list says a model can do.
_WORDS: Final = {
    "image_input": "vision",
    "pdf_input": "documents",
    "thinking": "thinking",
    "structured_outputs": "structured_output",
    "citations": "citations",
    "code_execution": "code_execution",
    "server_tools": "server_tools",
    "batch": "batch",
}


def read_models(body: bytes) -> tuple[list[Model], dict[str, str] | None]:
    """The models on one page of `/v1/models`, and the query of the next."""
    page = decoded(body, "the list of models")
    rows = page.get("data") if isinstance(page, Mapping) else page
    if not isinstance(rows, list):
        raise MalformedAnswerError("the list of models is not a list", body=body, sent=True)
    return [model for row in rows if (model := _model(row)) is not None], _next(page)


def _next(page: Any) -> dict[str, str] | None:
    if not isinstance(page, Mapping) or page.get("has_more") is not True:
        return None
    last = page.get("last_id")
    return {"after_id": last} if isinstance(last, str) and last else None


def _model(row: Any) -> Model | None:
    name = row.get("id") if isinstance(row, Mapping) else None
    if not isinstance(name, str) or not name or row.get("lifecycle") == "retired":
        return None
    shown, found = row.get("display_name"), row.get("capabilities")
    known = found if isinstance(found, Mapping) else {}
    words = {
        word
        for key, word in _WORDS.items()
        if isinstance(known.get(key), Mapping) and known[key].get("supported") is True
    }
    return Model(
        name,
        operations=(Chat, Completion),
        capabilities=words | {"streaming", "tools"} if known else (),
        description=shown if isinstance(shown, str) else "",
        context_tokens=_count(row.get("max_input_tokens")),
        output_tokens=_count(row.get("max_tokens")),
        metadata=row,
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
