"""An MCP server that answers questions about tables: CSV files, read once when it starts.

    python tables.py sales.csv customers.csv

A column whose every value is a number counts as numbers; an empty field is a value that is missing.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

#: Rows that one answer holds at most.
MOST: Final = 500

How = Literal["count", "sum", "mean", "median", "min", "max"]
_HOW: Final[dict[str, Callable[[list[float]], float]]] = {
    "count": lambda values: float(len(values)),
    "sum": sum,
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "max": max,
}


class Table:
    """The rows of a file, each a text or number by column, None where it is missing."""

    def __init__(self, path: Path) -> None:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            raw = [row for row in reader if None not in row]
            self.columns = list(reader.fieldnames or ())
        numeric = {name for name in self.columns if _numbers(row[name] for row in raw)}
        self.rows = [{name: _value(row[name], name in numeric) for name in self.columns} for row in raw]
        self.numeric = numeric

    def values(self, column: str) -> list[Any]:
        """What stands in a column, without what is missing."""
        return [row[column] for row in self.rows if row[column] is not None]


class Tables:
    """The tools, on tables by name."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._tables = {path.stem: Table(path) for path in paths}

    def list_tables(self) -> list[dict[str, Any]]:
        """All tables, with their columns and how many rows they have."""
        return [
            {"table": name, "rows": len(table.rows), "columns": table.columns}
            for name, table in self._tables.items()
        ]

    def describe_column(self, table: str, column: str) -> dict[str, Any]:
        """What is in a column: how much is missing, numbers in brief, or the most frequent values."""
        found = self._column(table, column)
        values = found.values(column)
        said: dict[str, Any] = {"count": len(values), "missing": len(found.rows) - len(values)}
        if column in found.numeric and values:
            said |= {how: _HOW[how](values) for how in ("min", "max", "mean", "median")}
            said["deviation"] = statistics.pstdev(values)
        else:
            said["most_frequent"] = dict(Counter(values).most_common(10))
        return said

    def group(self, table: str, by: str, column: str, how: How = "sum") -> dict[str, float]:
        """One number for each value of `by`: the sum, mean, … of another column."""
        found = self._column(table, by, column)
        if column not in found.numeric and how != "count":
            raise ToolError(f"{column!r} holds no numbers: only `count` makes sense of it")
        groups: dict[str, list[Any]] = {}
        for row in found.rows:
            if row[column] is not None:
                groups.setdefault(str(row[by]), []).append(row[column])
        return {name: _HOW[how](values) for name, values in sorted(groups.items())}

    def select(
        self, table: str, column: str, equals: str, order_by: str | None = None, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The rows where a column has a value, the highest of `order_by` first."""
        found = self._column(table, column, *([order_by] if order_by else []))
        rows = [row for row in found.rows if row[column] is not None and str(row[column]) == equals]
        if order_by:
            missing = [row for row in rows if row[order_by] is None]
            rows = [row for row in rows if row[order_by] is not None]
            rows = sorted(rows, key=lambda row: row[order_by], reverse=True) + missing
        return rows[: max(0, min(limit, MOST))]

    def _column(self, table: str, *columns: str) -> Table:
        found = self._tables.get(table)
        if found is None:
            raise ToolError(f"there is no table {table!r}; there are {', '.join(self._tables)}")
        for column in columns:
            if column not in found.columns:
                raise ToolError(f"{table!r} has no column {column!r}; it has {', '.join(found.columns)}")
        return found


def _numbers(texts: Iterable[str | None]) -> bool:
    given = [text for text in texts if text]
    try:
        return bool(given) and all(float(text) == float(text) for text in given)  # NaN is none
    except ValueError:
        return False


def _value(text: str | None, number: bool) -> Any:
    if not text:
        return None
    return (int(text) if text.lstrip("+-").isdigit() else float(text)) if number else text


def serve(tables: Tables) -> MCPServer:
    """A server with the tools of the tables."""
    server = MCPServer("tables", instructions="Begin with list_tables.")
    tools: tuple[Callable[..., Any], ...] = (
        tables.list_tables,
        tables.describe_column,
        tables.group,
        tables.select,
    )
    for tool in tools:
        server.tool(annotations=ToolAnnotations(read_only_hint=True))(tool)
    return server


def main() -> None:
    """Serve over standard input and output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="+", type=Path, help="a CSV file with a line of names")
    given = parser.parse_args()
    for path in given.file:
        if not path.is_file():
            parser.error(f"{path} is no file")
    serve(Tables(given.file)).run()


if __name__ == "__main__":
    main()
