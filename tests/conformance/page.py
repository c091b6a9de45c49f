"""The tables of docs/reference/mcp.md, as the session makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.conformance import suite

__all__ = ["ROWS", "suite_table", "told", "write"]

COMMAND: Final = "python noxfile.py conformance -- --write-docs"


def told(leg: suite.Leg) -> str:
    """A leg in a line, and a line for each scenario that did not pass."""
    counts = f"{leg.passed} of {len(leg.scored)} scenarios, {leg.checks} checks"
    lines = [f"{leg.name}, {leg.revision}: {counts}, {leg.seconds:.0f} s"]
    for name in leg.failed:
        lines.append(f"  FAILED {name}")
        lines += [f"    {told}" for told in leg.faults.get(name, ["nothing was checked"])]
    lines += [f"  {name} passed when it was run again" for name in leg.again]
    return "\n".join(lines)


def suite_table(legs: Iterable[suite.Leg]) -> str:
    """All legs."""
    rows = []
    for leg in legs:
        counted = [name for name, (passed, failed) in leg.unscored.items() if passed and not failed]
        rows.append(
            {
                "leg": leg.name,
                "what is tested": suite.LEGS[leg.name],
                "revision": leg.revision,
                "required scenarios passed": f"{leg.passed} of {len(leg.scored)}",
                "checks passed in them": str(leg.checks),
                "optional ones passed": f"{len(counted)} of {len(leg.unscored)}",
            }
        )
    return _table(rows, tuple(rows[0]))


def _servers(rows: Sequence[Mapping[str, str]]) -> str:
    return _table(rows, ("server", "from", "wire", "protocol", "offers", "exercised"))


def _clients(rows: Sequence[Mapping[str, str]]) -> str:
    return _table(rows, ("client", "from", "wire", "protocol", "exercised"))


#: Part -> its rows as a table.
ROWS: Final[dict[str, Callable[[Sequence[Mapping[str, str]]], str]]] = {
    "servers": _servers,
    "clients": _clients,
}


def _table(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        if row.get("fault"):
            cells[-1] = f"**failed**: {row['fault']}"
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def write(page: Path, name: str, table: str) -> None:
    """Replace what stands between the marks of one table. Raises `SystemExit` where they are missing."""
    begin, end = f"<!-- {name}: what `{COMMAND}` wrote -->", f"<!-- {name}: until here -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, mark, after = rest.partition(end)
    if not found or not mark:
        raise SystemExit(f"{page}: the lines {begin!r} and {end!r} are missing")
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")
