"""Checks the arguments of a tool call against the tool's JSON Schema."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator, SchemaError, ValidationError, validators
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

__all__ = ["Schemas"]

_CACHE: Final = 512
_SHOWN: Final = 3


def _is_object(checker: Any, instance: Any) -> bool:
    return isinstance(instance, Mapping)


def _is_array(checker: Any, instance: Any) -> bool:
    return isinstance(instance, (list, tuple))


class Schemas:
    """Compiled schemas, found again by the identity of the schema or by its content.

    No reference is ever fetched: one that leads out of the schema is a fault of the schema.
    """

    def __init__(self) -> None:
        # The schema is kept beside its validator, or its id could be given to another one.
        self._by_id: OrderedDict[int, tuple[Mapping[str, Any], Validator | str]] = OrderedDict()
        self._by_hash: OrderedDict[bytes, Validator | str] = OrderedDict()

    def fault(self, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with `arguments`, or with the schema; None if they fit. Never quotes a value."""
        known = self._by_id.get(id(schema))
        if known is None or known[0] is not schema:
            known = self._learn(schema)
        validator = known[1]
        if isinstance(validator, str):
            return validator
        try:
            errors = validator.iter_errors(arguments)
            first = next(errors, None)
            if first is None:
                return None
            faults = [_describe(first)]
            for error in errors:
                text = _describe(error)
                if text not in faults:
                    faults.append(text)
                if len(faults) > _SHOWN:
                    faults[-1] = "…"
                    break
            return f"the arguments break the tool's schema: {'; '.join(faults)}"
        except Unresolvable:
            return "the tool's schema refers to something outside of it, which is never fetched"
        except RecursionError:
            return "the tool's schema, or the arguments, are nested too deeply"

    def _learn(self, schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], Validator | str]:
        try:
            text = json.dumps(schema, sort_keys=True, default=_plain)
        except (TypeError, ValueError, RecursionError):
            return self._keep(schema, "the tool's schema is no JSON")
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        validator = self._by_hash.get(key)
        if validator is None:
            validator = self._by_hash[key] = _compile(json.loads(text))
            if len(self._by_hash) > _CACHE:
                self._by_hash.popitem(last=False)
        return self._keep(schema, validator)

    def _keep(
        self, schema: Mapping[str, Any], validator: Validator | str
    ) -> tuple[Mapping[str, Any], Validator | str]:
        kept = self._by_id[id(schema)] = (schema, validator)
        if len(self._by_id) > _CACHE:
            self._by_id.popitem(last=False)
        return kept


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def _compile(schema: Any) -> Validator | str:
    """A validator, or why there is none."""
    cls = validators.validator_for(schema, default=Draft202012Validator)
    try:
        cls.check_schema(schema)
    except SchemaError as error:
        return f"the tool's schema is broken at {_path(error)}"
    except RecursionError:
        return "the tool's schema is nested too deeply"
    checker = cls.TYPE_CHECKER.redefine_many({"object": _is_object, "array": _is_array})
    lenient: type[Validator] = validators.extend(cls, type_checker=checker)  # type: ignore[no-untyped-call]
    return lenient(schema, registry=Registry())


def _path(error: SchemaError) -> str:
    return "/".join(str(part) for part in error.absolute_path) or "its root"


def _describe(error: ValidationError) -> str:
    """Which rule of the schema is broken; said in words of the schema alone, for arguments may be private."""
    where = "/".join(str(part) for part in error.absolute_schema_path)
    if error.validator == "required" and isinstance(error.instance, Mapping):
        names: Any = error.validator_value
        missing = [repr(name) for name in names if name not in error.instance]
        return f"{where} (missing {', '.join(missing)})"
    if error.validator == "type":
        return f"{where} (must be {error.validator_value})"
    return where
