"""Shows groups of rows as plain text of at most 100 columns, and how far the run has come."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable

from tests.benchmarks.rows import Group, Row

WIDTH = 100
NAME, BUDGET, VALUE, RATIO, MARK = 52, 13, 13, 9, 6


def render(group: Group) -> str:
    """A group as a table."""
    head = f"{'':{NAME}}{'budget':>{BUDGET}}{'measured':>{VALUE}}{'ours/its':>{RATIO}}"
    return "\n".join([group.title, head, "-" * (NAME + BUDGET + VALUE + RATIO + MARK), *_lines(group.rows)])


def summary(groups: Iterable[Group], *, quick: bool) -> str:
    """The last lines: how many budgets hold, and which do not."""
    rows = [(group, row) for group in groups for row in group.rows if row.limit is not None]
    over = [f"{group.name}: {row.name}" for group, row in rows if row.mark == "over"]
    unknown = sum(row.value is None for _, row in rows)
    text = f"{len(rows) - len(over) - unknown} of {len(rows)} budgets hold"
    text += f", {unknown} not measured" if unknown else ""
    lines = [text + (". --quick: few rounds, do not compare with other runs." if quick else ".")]
    return "\n".join(lines + [f"  over: {name}" for name in over])


def _lines(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        name = ("    beside: " if row.peer else "  ") + row.name
        budget = "" if row.limit is None else f"{'≥' if row.at_least else '≤'} {number(row.limit, row.unit)}"
        value = "–" if row.value is None else number(row.value, row.unit)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        yield f"{name:<{NAME}}{budget:>{BUDGET}}{value:>{VALUE}}{ratio:>{RATIO}}{row.mark:>{MARK}}".rstrip()
        if row.note:
            yield from textwrap.wrap(row.note, WIDTH - 6, initial_indent=" " * 6, subsequent_indent=" " * 6)


def number(value: float, unit: str) -> str:
    """A number with three significant digits, in its unit."""
    size = abs(value)
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()


class Progress:
    """A line on a terminal that says what is being measured; a line per group where there is none."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._name = ""

    def start(self, name: str) -> None:
        """A group begins."""
        self._name = name
        if not self._live:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)

    def at(self, done: int, total: int) -> None:
        """So many of the rounds are done."""
        if self._live:
            filled = 30 * done // max(total, 1)
            bar = "#" * filled + "." * (30 - filled)
            print(f"\r{self._name:<10} [{bar}] {done}/{total}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """The group is done."""
        if self._live:
            print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
