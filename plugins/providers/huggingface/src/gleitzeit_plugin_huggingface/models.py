"""Models on this machine: where a name leads, and what the files of a model say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gleitzeit.errors import UnknownModelError
from gleitzeit.near import near
from gleitzeit.values import Model
from gleitzeit_plugin_huggingface.config import HuggingFaceConfig

__all__ = ["Models", "describe"]

#: What a name of the hub, or of a folder in `folders`, may be: it never leads anywhere else.
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_REVISION: Final = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)*")
_WEIGHTS: Final = ("*.safetensors", "*.bin", "*/*.safetensors")


class Models:
    """Finds models.

    A name is one of `paths`, a folder in `folders`, or a name of the hub with or without `@revision`.
    """

    def __init__(self, instance: str, config: HuggingFaceConfig) -> None:
        self._instance = instance
        self._config = config

    def source(self, name: str) -> dict[str, Any]:
        """Where the worker finds a model. Raises `UnknownModelError`: a request names no folders."""
        config = self._config
        if name in config.paths:
            return {"path": str(Path(config.paths[name]).expanduser().absolute())}
        bare, _, revision = name.partition("@")
        if not _NAME.fullmatch(bare) or (revision and not _REVISION.fullmatch(revision)):
            raise self._unknown(name, "a name is of the form owner/model, or stands in `paths` or `folders`")
        if not revision:
            for folder in config.folders:
                path = Path(folder).expanduser().absolute() / bare
                if _is_model(path):
                    return {"path": str(path)}
        cached = self._cached(bare, revision or "main")
        if cached is not None and (_has_weights(cached) or not config.download):
            return {"path": str(cached)}
        if config.download:
            return {"repo": bare, "revision": revision or None}
        raise self._unknown(
            name, f"run `hf download {bare}`, or set `download = true` in [providers.{self._instance}]"
        )

    def listing(self) -> list[Model]:
        """The models that are here, with what their files say."""
        found: dict[str, Model] = {}
        for name, path in self._here():
            if name not in found:
                model = describe(name, path)
                if model.operations:
                    found[name] = model
        return list(found.values())

    def _here(self) -> Iterator[tuple[str, Path]]:
        config = self._config
        for name, place in config.paths.items():
            yield name, Path(place).expanduser().absolute()
        for place in config.folders:
            root = Path(place).expanduser().absolute()
            for path in sorted((*root.glob("*/config.json"), *root.glob("*/*/config.json"))):
                name = path.parent.relative_to(root).as_posix()
                if _NAME.fullmatch(name) and not _is_model(path.parent.parent):  # else it is a part of one
                    yield name, path.parent
        for folder in sorted(config.hub().glob("models--*")):
            name = folder.name.removeprefix("models--").replace("--", "/", 1)
            snapshot = self._cached(name, "main") if _NAME.fullmatch(name) else None
            if snapshot is not None and _has_weights(snapshot):
                yield name, snapshot

    def _cached(self, name: str, revision: str) -> Path | None:
        """The snapshot of a model in the cache; None where there is none."""
        folder = self._config.hub() / f"models--{name.replace('/', '--')}"
        try:
            commit = (folder / "refs" / revision).read_text("ascii").strip()
        except (OSError, ValueError):
            commit = revision
        snapshot = folder / "snapshots" / commit
        return snapshot.absolute() if _REVISION.fullmatch(commit) and _is_model(snapshot) else None

    def _unknown(self, name: str, hint: str) -> UnknownModelError:
        close = near(name, [model.name for model in self.listing()])
        return UnknownModelError(
            f"{self._instance} has no model {name[:200]!r} on this machine",
            near=close,
            hint=None if close else hint,
            provider=self._instance,
            sent=False,
        )


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / "modules.json").is_file()


def _has_weights(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in _WEIGHTS)


def describe(name: str, folder: Path) -> Model:
    """What the files of a model say; without operations where it is none that can be asked here."""
    config = _json(folder / "config.json")
    told = config.get("architectures")
    kinds = [kind for kind in told if isinstance(kind, str)] if isinstance(told, list) else []
    operations, capabilities = set(), {"streaming"}
    context = None
    if (folder / "modules.json").is_file():
        operations.add("embedding")
    elif any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in kinds):
        operations.add("completion")
        context = config.get("max_position_embeddings")
        template = _template(folder)
        if template:
            operations.add("chat")
            capabilities |= {word for word in ("tools",) if word in template}
            capabilities |= {"thinking"} if "<think>" in template else set()
    elif any(kind.endswith("ForSequenceClassification") for kind in kinds):
        operations.add("classification")
    elif any(kind.endswith("Model") for kind in kinds):
        operations.add("embedding")
    return Model(
        name,
        operations=operations,
        capabilities=capabilities if "completion" in operations else set(),
        context_tokens=context if type(context) is int and context > 0 else None,
        metadata={"architecture": kinds[0]} if kinds else {},
    )


def _template(folder: Path) -> str:
    try:
        return (folder / "chat_template.jinja").read_text("utf-8")
    except (OSError, ValueError):
        template = _json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):  # several, by name
        return "".join(str(each.get("template")) for each in template if isinstance(each, dict))
    return template if isinstance(template, str) else ""


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
