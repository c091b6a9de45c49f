"""What files know of models that neither vendor nor configuration says: windows and prices, with a date.

Nothing depends on it. A package ships such a file beside its manifest, and `host.model_data` names others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.config.model import SHIPPED
from gleitzeit.errors import ConfigError
from gleitzeit.near import did_you_mean

if TYPE_CHECKING:
    from gleitzeit.config import InstanceConfig
    from gleitzeit.discovery import Entry

__all__ = ["Known", "ModelData", "filled", "read"]

_FILE: Final = ("date", "source", "models")
_NUMBERS: Final = ("context_tokens", "output_tokens")
_PRICE: Final = ("input", "output", "cached_input")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class ModelData:
    """The rows of one file, by model id or pattern of ids; `date` is the day on which they held, or empty.

    `price` in a row is in US dollars for a million tokens: `input`, `output`, `cached_input`.
    """

    def __init__(self, rows: Mapping[str, Mapping[str, Any]], *, date: str = "", source: str = "") -> None:
        self.rows = rows
        self.date = date
        self.source = source
        self._patterns = sorted((key for key in rows if _is_pattern(key)), key=len, reverse=True)

    @classmethod
    def parse(cls, data: object, *, strict: bool = False) -> ModelData:
        """The rows in decoded JSON; raises `ConfigError` with a problem for each fault.

        Keys that it does not know are faults where it is `strict`, and ignored elsewhere.
        """
        faults = tuple(_faults(data, strict))
        if faults or not isinstance(data, Mapping):
            raise ConfigError("this is no data on models:", problems=faults)
        return cls(data["models"], date=data.get("date", ""), source=data.get("source", ""))

    def row(self, *names: str) -> Mapping[str, Any] | None:
        """The row of the first name that stands there exactly, else that of the longest pattern for any."""
        for name in names:
            if name in self.rows:
                return self.rows[name]
        for pattern in self._patterns:
            if any(fnmatchcase(name, pattern) for name in names):
                return self.rows[pattern]
        return None


class Known:
    """What is known of the models of each instance; `sources` are those of `host.model_data`, in order.

    The operator's files are read at once, those of packages when first needed. Raises `ConfigError`.
    """

    def __init__(self, sources: Sequence[str] = (SHIPPED,)) -> None:
        self._sources = [None if source == SHIPPED else read(source) for source in sources]

    def add(
        self, said: Mapping[str, Any], name: str, instance: InstanceConfig, entry: Entry | None
    ) -> dict[str, Any]:
        """The keys of a model's row that `said` leaves open, with their values; see `filled`."""
        found = []
        for source in self._sources:
            if source is not None:
                found.append((source, source.row(f"{instance.name}/{name}", name)))
            # At another address the same name may be another model, at another price.
            elif entry is not None and entry.shipped is not None and not instance.addressed:
                shipped = entry.shipped.model_data
                if shipped is not None:
                    found.append((shipped, shipped.row(name)))
        return filled(said, ((data, row) for data, row in found if row is not None))


def filled(said: Mapping[str, Any], rows: Iterable[tuple[ModelData, Mapping[str, Any]]]) -> dict[str, Any]:
    """What `said` of a model leaves open and the rows know: never anything that it says already.

    The price goes to `metadata`, as `price`, and its day as `price_date`; a price is taken as a whole.
    """
    more: dict[str, Any] = {}
    metadata = dict(said.get("metadata") or {})
    for data, row in rows:
        for key in _NUMBERS:
            if said.get(key) is None and key not in more and row.get(key) is not None:
                more[key] = row[key]
        if "price" not in metadata and row.get("price") is not None:
            metadata["price"] = dict(row["price"])
            if data.date:
                metadata["price_date"] = data.date
            more["metadata"] = metadata
    return more


def read(path: str) -> ModelData:
    """The operator's own file; raises `ConfigError` naming the file and each key that is wrong."""
    try:
        with open(path, "rb") as stream:
            data = json.loads(stream.read())
    except OSError as error:
        raise _wrong(path, (f"{path}: it cannot be read: {error.strerror or error}",)) from None
    except (ValueError, RecursionError) as error:
        raise _wrong(path, (f"{path}: it is no JSON: {error}",)) from None
    try:
        return ModelData.parse(data, strict=True)
    except ConfigError as error:
        raise _wrong(path, tuple(f"{path}: {problem}" for problem in error.problems)) from None


def _wrong(path: str, problems: tuple[str, ...]) -> ConfigError:
    return ConfigError(f"host.model_data: {path} is no data on models:", problems=problems)


def _is_pattern(key: str) -> bool:
    return any(sign in key for sign in "*?[")


def _faults(data: object, strict: bool) -> Iterator[str]:
    """What is wrong, each fault as `key: what`."""
    if not isinstance(data, Mapping):
        yield 'expected an object such as {"models": {}}'
        return
    yield from _unknown(data, _FILE, "", strict)
    for key in ("date", "source"):
        if not isinstance(data.get(key, ""), str):
            yield f"{key}: expected a text"
        elif key == "date" and data.get(key) and not _is_day(data[key]):
            yield "date: expected a day such as 2026-01-31"
    models = data.get("models")
    if not isinstance(models, Mapping):
        yield "models: expected an object with a row for each model"
        return
    for name, row in models.items():
        key = f"models.{name}"
        if not isinstance(row, Mapping):
            yield f'{key}: expected an object such as {{"context_tokens": 128000}}'
            continue
        yield from _unknown(row, (*_NUMBERS, "price"), f"{key}.", strict)
        for number in _NUMBERS:
            if row.get(number) is not None and (type(row[number]) is not int or row[number] < 1):
                yield f"{key}.{number}: expected a whole number of tokens"
        if row.get("price") is not None:
            yield from _price_faults(row["price"], f"{key}.price", strict)


def _price_faults(price: object, key: str, strict: bool) -> Iterator[str]:
    if not isinstance(price, Mapping) or "input" not in price:
        yield f'{key}: expected dollars for a million tokens, such as {{"input": 1.5, "output": 6}}'
        return
    yield from _unknown(price, _PRICE, f"{key}.", strict)
    for word in _PRICE:
        amount = price.get(word, 0)
        if type(amount) not in (int, float) or not 0 <= amount < math.inf:
            yield f"{key}.{word}: expected a number of dollars, 0 or more"


def _unknown(data: Mapping[str, Any], known: tuple[str, ...], prefix: str, strict: bool) -> Iterator[str]:
    for key in data if strict else ():
        if key not in known:
            step = did_you_mean(key, known, f"known are {', '.join(known)}")
            yield f"{prefix}{key}: there is no such key; {step}"


def _is_day(text: str) -> bool:
    from datetime import date  # longer to import than the rest of a listing's reading

    try:
        return _DAY.fullmatch(text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False
