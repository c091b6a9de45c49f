"""The live list of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import Model
from gleitzeit.wire.exchange import decoded
from gleitzeit_plugin_gemini.address import plain_name

__all__ = ["read_models"]

#: Operations by the vendor's method.
_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "generateContent": ("chat", "completion"),
    "embedContent": ("embedding",),
    "batchEmbedContents": ("embedding",),
}


def read_models(body: bytes) -> tuple[list[Model], dict[str, str] | None]:
    """The models on a page of the list, and the query of the next."""
    page = decoded(body, "the list of models")
    if not isinstance(page, Mapping):
        raise MalformedAnswerError("the list of models is not an object", body=body, sent=True)
    rows: list[Any] = next(
        (page[key] for key in ("models", "publisherModels") if isinstance(page.get(key), list)), []
    )
    token = page.get("nextPageToken")
    models = [model for row in rows if (model := _model(row)) is not None]
    return models, {"pageToken": token} if isinstance(token, str) and token else None


def _model(row: Any) -> Model | None:
    name = row.get("name") if isinstance(row, Mapping) else None
    if not isinstance(name, str) or not plain_name(name):
        return None
    given = row.get("supportedGenerationMethods")
    methods = [method for method in given if isinstance(method, str)] if isinstance(given, list) else []
    operations = {operation for method in methods for operation in _METHODS.get(method, ())}
    capabilities = {"thinking"} if row.get("thinking") is True else set()
    if "countTokens" in methods:
        capabilities.add("count_tokens")
    return Model(
        plain_name(name),
        operations=sorted(operations),
        capabilities=sorted(capabilities),
        description=_text(row, "description") or _text(row, "displayName"),
        version=_text(row, "version") or _text(row, "versionId") or None,
        context_tokens=_count(row, "inputTokenLimit"),
        output_tokens=_count(row, "outputTokenLimit"),
        metadata=row,
    )


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _count(row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    return value if type(value) is int and value > 0 else None
