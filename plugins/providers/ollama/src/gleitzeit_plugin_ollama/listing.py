"""The live list of models: what is there, and what `/api/show` says of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gleitzeit.errors import MalformedAnswerError
from gleitzeit.values import Chat, Completion, Embedding, Model, Operation
from gleitzeit.wire.exchange import decoded

__all__ = ["described", "full_name", "is_remote", "record", "rows_of", "short_name"]

_LATEST: Final = ":latest"
_OPERATIONS: Final[Mapping[str, tuple[type[Operation], ...]]] = {
    "completion": (Chat, Completion),
    "embedding": (Embedding,),
}


def short_name(name: str) -> str:
    """The name as people write it: the tag `latest` goes without saying."""
    return name.removesuffix(_LATEST)


def full_name(name: str) -> str:
    """The name with its tag; two spellings of one model have the same."""
    return name if ":" in name.rpartition("/")[2] else name + _LATEST


def record(body: bytes, what: str) -> Mapping[str, Any]:
    """The JSON object in `body`; raises `MalformedAnswerError` naming `what`."""
    found = decoded(body, what)
    if not isinstance(found, Mapping):
        raise MalformedAnswerError(f"{what} is not a JSON object", body=body, sent=True)
    return found


def rows_of(body: bytes) -> list[Mapping[str, Any]]:
    """The models in an answer of `/api/tags`, each with a `name`."""
    rows = record(body, "the list of models").get("models")
    if rows is None:
        rows = []  # Go writes an empty list as null in places
    if not isinstance(rows, list):
        raise MalformedAnswerError("the list of models is not a list", body=body, sent=True)
    named = [row for row in rows if isinstance(row, Mapping)]
    return [{**row, "name": name} for row in named if (name := _text(row, "name") or _text(row, "model"))]


def described(row: Mapping[str, Any], shown: Mapping[str, Any] | None) -> Model:
    """The model of a row, and of what was shown of it (None: not known)."""
    shown = shown or {}
    words = shown.get("capabilities", row.get("capabilities"))
    words = [word for word in words if isinstance(word, str)] if isinstance(words, list) else []
    info = shown.get("model_info")
    info = info if isinstance(info, Mapping) else {}
    capabilities = [word for word in words if word not in _OPERATIONS]
    if is_remote(row) or is_remote(shown):
        capabilities.append("remote")
    digest = _text(row, "digest")
    return Model(
        short_name(row["name"]),
        operations=[kind for word in words for kind in _OPERATIONS.get(word, ())],
        capabilities=capabilities,
        description=_described(row.get("details")),
        version=digest.removeprefix("sha256:")[:12] or None,
        context_tokens=_context(info),
        metadata={**row, "embedding_length": length}
        if (length := _ending(info, ".embedding_length"))
        else row,
    )


def is_remote(found: Mapping[str, Any]) -> bool:
    """Does the server pass this model's calls on to another machine?"""
    return bool(found.get("remote_host") or found.get("remote_model"))


def _described(details: Any) -> str:
    if not isinstance(details, Mapping):
        return ""
    keys = ("family", "parameter_size", "quantization_level")
    return " ".join(word for key in keys if (word := _text(details, key)))


def _context(info: Mapping[str, Any]) -> int | None:
    length = info.get(f"{info.get('general.architecture')}.context_length")
    return length if _is_count(length) else _ending(info, ".context_length")


def _ending(info: Mapping[str, Any], ending: str) -> int | None:
    return _first(value for key, value in info.items() if str(key).endswith(ending))


def _first(values: Iterable[Any]) -> int | None:
    return next((value for value in values if _is_count(value)), None)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""
