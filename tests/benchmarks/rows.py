"""What a benchmark found: rows with a budget or beside a peer, in groups."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measured number; `value` None says in `note` why there is none.

    `limit` is the budget: at most, or with `at_least` at least, in `unit`. A row with `beside` is a
    peer's, and `ratio` is our value divided by its value.
    """

    name: str
    value: float | None
    unit: str
    _: KW_ONLY
    limit: float | None = None
    at_least: bool = False
    peer: bool = False
    ratio: float | None = None
    note: str = ""

    @property
    def mark(self) -> str:
        """`ok` or `over` where there is a budget and a value."""
        if self.limit is None or self.value is None:
            return ""
        return "ok" if (self.value >= self.limit if self.at_least else self.value <= self.limit) else "over"


@dataclass(frozen=True)
class Group:
    """The rows of one subject."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    #: What was measured of each client, for the plot: client → figure → value.
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    #: Name and version of those clients.
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        rows = [{**asdict(row), "mark": row.mark} for row in self.rows]
        for row in rows:
            row.pop("_", None)
        return {"name": self.name, "title": self.title, "rows": rows}

    def add(self, name: str, value: float | None, unit: str, **details: Any) -> None:
        """Append a row."""
        self.rows.append(Row(name, value, unit, **details))

    def peer(self, name: str, value: float, unit: str, *, ours: float | None, note: str = "") -> None:
        """Append the row of a peer, with the ratio of ours to it."""
        ratio = ours / value if ours is not None and value > 0 else None
        self.rows.append(Row(name, value, unit, peer=True, ratio=ratio, note=note))

    def figure(self, client: str, **values: float) -> None:
        """Note figures of a client."""
        self.figures.setdefault(client, {}).update(values)

    def absent(self, name: str, why: str, unit: str = "", **details: Any) -> None:
        """Append a row that could not be measured."""
        self.rows.append(Row(name, None, unit, note=why, **details))
