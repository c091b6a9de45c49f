"""The live list of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import Model
from gleitzeit.wire.exchange import decoded

__all__ = ["read_models"]

#: Where servers say how large a context is.
_CONTEXT: Final = ("context_length", "context_window", "max_model_len", "max_context_length")
_OUTPUT: Final = ("max_completion_tokens", "max_output_tokens", "max_output_length")


def read_models(body: bytes) -> tuple[list[Model], dict[str, str] | None]:
    """The models on one page of `/models`, and the query of the next."""
    page = decoded(body, "the list of models")
    rows = page if isinstance(page, list) else None
    if isinstance(page, Mapping):
        rows = next((page[key] for key in ("data", "models") if isinstance(page.get(key), list)), None)
    if rows is None:
        raise MalformedAnswerError("the list of models is not a list", body=body, sent=True)
    return [model for row in rows if (model := _model(row)) is not None], _next(page)


def _next(page: Any) -> dict[str, str] | None:
    if not isinstance(page, Mapping) or page.get("has_more") is not True:
        return None
    last, rows = page.get("last_id"), page.get("data")
    if not isinstance(last, str):
        last = (
            rows[-1].get("id") if isinstance(rows, list) and rows and isinstance(rows[-1], Mapping) else None
        )
    return {"after": last} if isinstance(last, str) else None


def _model(row: Any) -> Model | None:
    if isinstance(row, str) and row:
        return Model(row)
    name = row.get("id") or row.get("name") if isinstance(row, Mapping) else None
    if not isinstance(name, str) or not name:
        return None
    described = row.get("description")
    return Model(
        name,
        description=described if isinstance(described, str) else "",
        context_tokens=_count(row, _CONTEXT),
        output_tokens=_count(row, _OUTPUT),
        metadata=row,
    )


def _count(row: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((row[name] for name in names if type(row.get(name)) is int and row[name] > 0), None)
