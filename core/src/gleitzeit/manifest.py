"""The data file that says what a plugin is and offers, so that nobody need import it to know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.errors import ConfigError, PluginError, PluginLoadError
from gleitzeit.near import did_you_mean
from gleitzeit.records import KW_ONLY, field, record

if TYPE_CHECKING:
    from gleitzeit.discovery import Entry
    from gleitzeit.modeldata import ModelData
    from gleitzeit.values import Model

__all__ = ["EXTRAS", "Manifest", "Shipped", "as_model", "build", "check", "dumps", "model_faults"]

#: What the class attribute `manifest` of a plugin may say; all else is read off the code.
EXTRAS: Final = (
    "summary",
    "models",
    "models_unless",
    "model_data",
    "patterns",
    "capabilities",
    "secrets",
    "commands",
)

_TEXTS: Final = ("operations", "capabilities")
_NUMBERS: Final = ("context_tokens", "output_tokens")
_MODEL: Final = ("name", *_TEXTS, "description", "version", *_NUMBERS, "metadata")


@record(frozen=True)
class Manifest:
    """What a plugin says of itself without being imported."""

    name: str
    _: KW_ONLY
    kind: str = "provider"
    summary: str = ""
    api_version: str = "1.0"
    #: The static models as the file has them, each with a `name`; reading them imports nothing.
    model_rows: tuple[Mapping[str, Any], ...] = ()
    #: Configuration keys that each make the static models void, as they decide what there is.
    models_unless: tuple[str, ...] = ()
    #: The file beside the manifest that knows windows and prices of models; empty without one.
    model_data: str = ""
    #: fnmatch patterns of the model names that the plugin serves.
    patterns: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    #: Key of the configuration -> environment variables, the first of which that is set fills it
    #: where nothing else does.
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: The JSON Schema of the plugin's `Config`; None where it takes no configuration or does not say.
    config_schema: Mapping[str, Any] | None = None
    hooks: tuple[str, ...] = ()
    commands: tuple[Any, ...] = ()

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """The static models as values; the first look imports `gleitzeit.values`."""
        return tuple(as_model(row) for row in self.model_rows)

    def rows_for(self, values: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """The static models of an instance that is configured with `values`."""
        return () if any(key in values for key in self.models_unless) else self.model_rows

    @classmethod
    def parse(cls, data: object) -> Manifest:
        """The manifest in decoded JSON; raises `PluginError` naming every fault. Unknown keys are ignored."""
        if not isinstance(data, Mapping):
            raise PluginError("expected an object")
        faults = list(_faults(data))
        if faults:
            raise PluginError("; ".join(faults))
        return cls(
            data["name"],
            kind=data.get("kind", "provider"),
            summary=data.get("summary", ""),
            api_version=data.get("api_version", "1.0"),
            model_rows=tuple(
                {"name": row} if isinstance(row, str) else row for row in data.get("models", ())
            ),
            models_unless=tuple(data.get("models_unless", ())),
            model_data=data.get("model_data", ""),
            patterns=tuple(data.get("patterns", ())),
            capabilities=frozenset(data.get("capabilities", ())),
            secrets={
                key: (names,) if isinstance(names, str) else tuple(names)
                for key, names in data.get("secrets", {}).items()
            },
            config_schema=data.get("config_schema"),
            hooks=tuple(data.get("hooks", ())),
            commands=tuple(data.get("commands", ())),
        )


class Shipped:
    """A manifest in its file: read when first asked for, once.

    `alone` is False where the distribution has plugins of other kinds under the same name: then a
    manifest of another kind is theirs, and no problem. `beside` reads another file that lies beside it.
    """

    def __init__(
        self,
        where: str,
        read: Callable[[], bytes],
        name: str,
        kind: str,
        *,
        alone: bool = True,
        beside: Callable[[str], bytes] | None = None,
    ) -> None:
        self._where = where
        self._read: Callable[[], bytes] | None = read
        self._beside = beside
        self._name = name
        self._kind = kind
        self._alone = alone
        self._manifest: Manifest | None = None
        self._problem: str | None = None

    @property
    def manifest(self) -> Manifest | None:
        """The manifest; None where it cannot be read."""
        self._look()
        return self._manifest

    @property
    def problem(self) -> str | None:
        """Why there is no manifest, although there should be one."""
        self._look()
        return self._problem

    @cached_property
    def model_data(self) -> ModelData | None:
        """What the package knows of models, read at the first look; None without, and where it is broken."""
        from gleitzeit.modeldata import ModelData

        name = self.manifest.model_data if self.manifest is not None else ""
        if not name or self._beside is None:
            return None
        try:
            return ModelData.parse(json.loads(self._beside(name)))
        except (OSError, ValueError, RecursionError, ConfigError) as error:
            import logging  # not for a listing in which all is well

            level = logging.DEBUG if isinstance(error, FileNotFoundError) else logging.WARNING
            logging.getLogger(__name__).log(level, "%s of %s is ignored: %s", name, self._where, error)
        return None

    def _look(self) -> None:
        read, self._read = self._read, None
        if read is None:
            return
        try:
            manifest = Manifest.parse(json.loads(read()))
            if manifest.kind != self._kind and not self._alone:
                return
            for what, said, known in (
                ("name", manifest.name, self._name),
                ("kind", manifest.kind, self._kind),
            ):
                if said != known:
                    raise PluginError(f"{what}: the file says {said!r}, the entry point {known!r}")
            self._manifest = manifest
        except OSError as error:
            self._problem = f"manifest {self._where} cannot be read: {error.strerror or error}"
        except (ValueError, RecursionError) as error:
            self._problem = f"manifest {self._where} is no JSON: {error}"
        except PluginError as error:
            self._problem = f"manifest {self._where}: {error.message}"


def as_model(row: Mapping[str, Any] | str) -> Model:
    """A model from its row in a manifest or configuration; keys it does not know are ignored."""
    from gleitzeit.values.catalogue import Model

    if isinstance(row, str):
        return Model(row)
    return Model(**{key: value for key, value in row.items() if key in _MODEL and value is not None})


def build(plugin: Any, name: str, kind: str) -> dict[str, Any]:
    """The manifest of a plugin class (or factory), made from its code.

    What code does not say stands in the class attribute `manifest`, a mapping with any of `EXTRAS`;
    models may be `Model` values there. Raises `PluginLoadError` where that does not hold.
    """
    from gleitzeit.hookspecs import HOOKS, PROJECT
    from gleitzeit.version import API_VERSION

    extras = dict(getattr(plugin, "manifest", None) or {})
    for key in extras:
        if key not in EXTRAS:
            hint = did_you_mean(key, EXTRAS, f"it may say: {', '.join(EXTRAS)}")
            raise PluginLoadError(
                f"plugin {name!r}: its attribute `manifest` says {key!r}", hint=hint, provider=name
            )
    doc = (getattr(plugin, "__doc__", None) or "").strip()
    data: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "summary": extras.get("summary") or (doc.splitlines()[0].strip() if doc else ""),
        "api_version": getattr(plugin, "api_version", API_VERSION),
        "models": [_row(model) for model in extras.get("models", ())],
        "models_unless": list(extras.get("models_unless", ())),
        "model_data": extras.get("model_data", ""),
        "patterns": list(extras.get("patterns", ())),
        "capabilities": sorted(extras.get("capabilities", ())),
        "secrets": {
            key: list(names) if isinstance(names, (tuple, list)) else names
            for key, names in dict(extras.get("secrets", {})).items()
        },
        "hooks": [hook for hook in HOOKS if hasattr(getattr(plugin, hook, None), f"{PROJECT}_impl")],
        "commands": list(extras.get("commands", ())),
        "config_schema": _schema(getattr(plugin, "Config", None)),
    }
    kept = {key: value for key, value in data.items() if value or key in ("name", "kind")}
    try:
        Manifest.parse(kept)
    except PluginError as error:
        raise PluginLoadError(
            f"plugin {name!r}: its attribute `manifest` is wrong: {error.message}"
        ) from None
    return kept


def check(entry: Entry) -> list[str]:
    """What the shipped manifest of a plugin says differently from its code; imports the plugin."""
    if entry.manifest is None:
        return [entry.problem or f"plugin {entry.name!r} ships no manifest"]
    try:
        built = Manifest.parse(build(entry.load(), entry.name, entry.kind))
    except PluginError as error:
        return [str(error)]
    shipped = entry.manifest
    wrong = []
    for key in (
        "summary",
        "api_version",
        "models",
        "models_unless",
        "model_data",
        "patterns",
        "capabilities",
        "secrets",
        "hooks",
        "commands",
    ):
        field = "model_rows" if key == "models" else key
        said, true = _plain(getattr(shipped, field)), _plain(getattr(built, field))
        if said != true:
            wrong.append(f"{key}: the file says {json.dumps(said)}, the code {json.dumps(true)}")
    if shipped.config_schema != built.config_schema:
        wrong.append("config_schema: the file differs from the plugin's Config")
    return wrong


def dumps(manifest: Mapping[str, Any]) -> str:
    """The text of the file."""
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _faults(data: Mapping[str, Any]) -> Iterable[str]:
    if not isinstance(data.get("name"), str) or not data["name"]:
        yield "name: expected a text"
    for key in ("kind", "summary", "api_version", "model_data"):
        if not isinstance(data.get(key, ""), str):
            yield f"{key}: expected a text"
    for key in ("models_unless", "patterns", "capabilities", "hooks"):
        if not _is_texts(data.get(key, [])):
            yield f"{key}: expected a list of texts"
    secrets = data.get("secrets", {})
    if not isinstance(secrets, Mapping) or not all(
        isinstance(key, str) and (isinstance(names, str) or (names and _is_texts(names)))
        for key, names in secrets.items()
    ):
        yield "secrets: expected an object of configuration keys and names of environment variables"
    if not isinstance(data.get("config_schema") or {}, Mapping):
        yield "config_schema: expected an object"
    for key in ("models", "commands"):
        if not isinstance(data.get(key, []), list):
            yield f"{key}: expected a list"
            return
    for number, row in enumerate(data.get("models", [])):
        for fault in model_faults(row):
            yield f"models[{number}]{fault}"


def model_faults(row: object) -> Iterable[str]:
    """What is wrong with a row of a list of models, each fault as `.key: what` or `: what`."""
    if isinstance(row, str) and row:
        return
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str) or not row["name"]:
        yield ": expected a name, or a table with a name"
        return
    for key in _TEXTS:
        if not isinstance(row.get(key, ""), str) and not _is_texts(row[key]):
            yield f".{key}: expected a list of texts"
    for key in _NUMBERS:
        if row.get(key) is not None and type(row[key]) is not int:
            yield f".{key}: expected a whole number"
    for key in ("description", "version"):
        if not isinstance(row.get(key) or "", str):
            yield f".{key}: expected a text"
    if not isinstance(row.get("metadata", {}), Mapping):
        yield ".metadata: expected a table"


def _is_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _row(model: Any) -> dict[str, Any]:
    """A model as the row of a list: only what it says."""
    if isinstance(model, (str, Mapping)):
        return {"name": model} if isinstance(model, str) else dict(model)
    row = {key: _plain(getattr(model, key, None)) for key in _MODEL}
    return {key: value for key, value in row.items() if value or value == 0}


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _schema(config: Any) -> dict[str, Any] | None:
    """The JSON Schema of a plugin's `Config`."""
    if config is None:
        return None
    if hasattr(config, "model_json_schema"):
        schema: dict[str, Any] = config.model_json_schema()
        return schema
    from pydantic import TypeAdapter

    return TypeAdapter(config).json_schema()
