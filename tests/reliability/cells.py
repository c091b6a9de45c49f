"""The matrix as a part of the session: every cell, with retries off and on, and a table of how each ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress
from tests.reliability.cases import CASES, Case
from tests.reliability.matrix import LATE, RETRIES, Cell, check

__all__ = ["Matrix", "measure"]


@dataclass(frozen=True)
class Matrix(Group):
    """The rows that have limits, and what became of each fault."""

    cells: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**super().to_dict(), "cells": self.cells}

    def table(self) -> str:
        """A line for each fault: what a whole answer and a stream ended with, and how often it was asked."""
        lines = [_line("", "whole answer", "asked", "stream", "asked"), "  " + "-" * 90]
        for whole, stream in zip(self.cells[::2], self.cells[1::2], strict=True):
            told = (whole["ended"], _times(whole), stream["ended"], _times(stream))
            lines.append(_line(whole["fault"], *told))
        return "\n".join(lines)


async def measure(progress: Progress, quick: bool) -> Matrix:
    """Every fault, whole and streamed; `quick` makes each call with retries only."""
    matrix = Matrix("matrix", f"Faults of the wire, through the OpenAI plugin; asked with {RETRIES} retries")
    made: list[tuple[Case, bool, Cell]] = []
    for number, case in enumerate(CASES):
        for streamed in (False, True):
            if not quick:
                made.append((case, streamed, await check(case, streamed)))
            cell = await check(case, streamed, RETRIES)
            made.append((case, streamed, cell))
            matrix.cells.append(_told(case, streamed, cell))
        progress.at(number + 1, len(CASES))
    wrong = [
        f"{case.name}, {_way(streamed)}: {problem}"
        for case, streamed, cell in made
        for problem in cell.problems
    ]
    late = max(cell.seconds - case.deadline for case, _, cell in made)
    matrix.add("calls", len(made), "")
    matrix.add("  that ended or left things otherwise", len(wrong), "", limit=0, note="; ".join(wrong[:3]))
    matrix.add("  the latest of all, after its deadline", max(0.0, late), "s", limit=LATE)
    return matrix


def _told(case: Case, streamed: bool, cell: Cell) -> dict[str, Any]:
    return {
        "fault": case.name,
        "way": _way(streamed),
        "ended": cell.error.code if cell.error is not None else "answered",
        "asked": None if case.connection == "refused" else cell.asked,
        "seconds": round(cell.seconds, 3),
        "problems": cell.problems,
    }


def _line(fault: str, whole: str, first: str, stream: str, second: str) -> str:
    return f"  {fault:<34}{whole:<20}{first:<10}{stream:<20}{second}".rstrip()


def _way(streamed: bool) -> str:
    return "stream" if streamed else "whole"


def _times(cell: dict[str, Any]) -> str:
    return "–" if cell["asked"] is None else f"{cell['asked']}×"
