"""Validates what an instance is given against its plugin's `Config`; says where each fault was written."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

from gleitzeit.config.interpolate import mentions
from gleitzeit.config.merge import Path, dotted
from gleitzeit.config.model import InstanceConfig, Source
from gleitzeit.config.problems import problem
from gleitzeit.config.shape import accepts, alternatives, decode, descend, properties
from gleitzeit.errors import ConfigError
from gleitzeit.near import did_you_mean

__all__ = ["validate"]

#: Messages that quote the schema, not the input.
_OURS: Final = frozenset({"enum", "literal_error"})


def validate(config: Any, instance: InstanceConfig, resolved: Mapping[str, Any]) -> Any:
    """An object of the plugin's `Config`, or None where it has none.

    `resolved` are the instance's values with secrets put in. Unknown keys are faults unless
    `Config` allows them. Raises `ConfigError` with every fault, its place and the next step; no
    input is quoted.
    """
    if config is None:
        faults = [
            problem(
                _source(instance, (key,)),
                f"{instance.key}.{key}",
                "the plugin takes no configuration",
                "remove it",
            )
            for key in resolved
        ]
        if faults:
            raise _wrong(instance, faults)
        return None
    from pydantic import BaseModel, TypeAdapter, ValidationError

    if isinstance(config, type) and issubclass(config, BaseModel):
        validator: Any = config.model_validate
        describe: Any = config.model_json_schema
    else:
        adapter = TypeAdapter(config)
        validator, describe = adapter.validate_python, adapter.json_schema
    values = _given(config, instance, resolved, describe)
    errors: list[Any] = []
    try:
        return validator(values, extra="forbid")
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False, include_context=False)
    schema = _schema(describe)
    faults = [_line(each, instance, values, schema) for each in errors if not _allowed(each, values, schema)]
    if not faults:  # a table that takes any key was the only offence
        try:
            return validator(values)
        except ValidationError:
            faults = [problem(_source(instance, ()), instance.key, "it does not fit")]
    # Outside of the handlers, so that the error does not carry pydantic's, which holds the input.
    raise _wrong(instance, faults)


def _given(
    config: Any, instance: InstanceConfig, resolved: Mapping[str, Any], describe: Any
) -> dict[str, Any]:
    """The values, with lists and tables that came as text from outside as what they are.

    `models` and `local` are the host's keys; a plugin that declares them as well wants to know.
    """
    values = dict(resolved)
    declared: Container[str] = getattr(config, "model_fields", ()) or getattr(
        config, "__dataclass_fields__", ()
    )
    if instance.model_rows and "models" in declared:
        values.setdefault("models", [dict(row) for row in instance.model_rows])
    if instance.local is not None and "local" in declared:
        values.setdefault("local", instance.local)
    outside = [
        key for key, value in values.items() if isinstance(value, str) and _from_outside(instance, key)
    ]
    schema = _schema(describe) if outside else {}
    for key in outside:
        wanted = descend(schema, (key,))
        if accepts(wanted, schema) & {"array", "object"}:
            try:
                values[key] = decode(values[key], wanted, schema)
            except ValueError:
                pass  # left to validation, which tells it with its place
    return values


def _from_outside(instance: InstanceConfig, key: str) -> bool:
    source, raw = instance.sources.get(dotted((key,))), instance.raw.get(key)
    return (source is not None and source.literal) or (isinstance(raw, str) and mentions(raw))


def _schema(describe: Any) -> Mapping[str, Any]:
    """The JSON Schema; empty where the types have none, which costs hints and nothing more."""
    try:
        schema: Mapping[str, Any] = describe()
    except Exception:  # noqa: BLE001  # types of a plugin's own may raise anything
        return {}
    return schema


def _allowed(error: Mapping[str, Any], values: Any, schema: Mapping[str, Any]) -> bool:
    """Is this a key that its table takes, as the plugin says that it takes any?"""
    if error["type"] != "extra_forbidden":
        return False
    table = descend(schema, tuple(_keys(error["loc"], values, schema))[:-1])
    return table is not None and _open(table, schema)


def _open(table: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    return any(each.get("additionalProperties") is True for each in alternatives(table, schema))


def _line(error: Mapping[str, Any], instance: InstanceConfig, values: Any, schema: Mapping[str, Any]) -> str:
    path = tuple(_keys(error["loc"], values, schema))
    kind = error["type"]
    key = ".".join(filter(None, (instance.key, dotted(path))))
    source = _source(instance, path)
    name = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = properties(descend(schema, path[:-1]), schema)
        step = did_you_mean(name, known, f"known keys are {', '.join(known)}" if known else "remove it")
        return problem(source, key, "there is no such key", step)
    if kind == "missing":
        variable = " or ".join(instance.variables.get(".".join(str(part) for part in path), ()))
        step = f"write {name} = ... in [{instance.key}]" + (f", or set {variable}" if variable else "")
        return problem(source, key, "it is missing", step)
    message = error["msg"][:1].lower() + error["msg"][1:]
    if kind not in _OURS:
        message = _scrubbed(message, _input(path, values))
    step = (descend(schema, path) or {}).get("description", "")
    return problem(source, key, message, step)


def _keys(loc: tuple[str | int, ...], values: Any, schema: Mapping[str, Any]) -> Iterator[str | int]:
    """The keys in pydantic's location, less its own words for alternatives and validators."""
    at: Any = values
    path: Path = ()
    for part in loc:
        if isinstance(at, Mapping) and (part in at or part in properties(descend(schema, path), schema)):
            at = at.get(part)
        elif isinstance(at, (list, tuple)) and isinstance(part, int) and part < len(at):
            at = at[part]
        elif path or not isinstance(part, str):
            continue
        path = (*path, part)
        yield part


def _input(path: Path, values: Any) -> Iterator[str]:
    """All texts under the path."""
    for key in path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return
    stack = [values]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack.extend(value)
        elif value is not None and not isinstance(value, bool):
            yield str(value)


def _scrubbed(message: str, inputs: Iterator[str]) -> str:
    for text in sorted(set(inputs), key=len, reverse=True):
        if len(text) > 2:  # shorter ones hide nothing, and would eat into words
            message = message.replace(repr(text)[1:-1], "...").replace(text, "...")
    return message


def _source(instance: InstanceConfig, path: Path) -> Source | None:
    """Where the value was set, or else the nearest table around it."""
    for end in range(len(path), -1, -1):
        found = instance.sources.get(dotted(path[:end]))
        if found is not None:
            return found
    return None


def _wrong(instance: InstanceConfig, faults: list[str]) -> ConfigError:
    return ConfigError(
        f"the configuration of {instance.key} does not fit its plugin:", problems=tuple(faults)
    )
