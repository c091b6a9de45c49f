"""The result of a replay, for the console and for the page about providers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.replay.decisions import Judged
from tests.replay.runner import Tally
from tests.replay.vendor import Vendor

__all__ = ["BEGIN", "END", "console", "errors_console", "errors_page", "failures", "page", "write_page"]

BEGIN: Final = "<!-- what `python noxfile.py replay -- --write-docs` wrote -->"
END: Final = "<!-- until here -->"
_HEAD: Final = (
    "row",
    "interactions",
    "streams",
    "passed",
    "differing by design",
    "not compared",
    "sent again",
    "oracle",
)


def console(tallies: Sequence[Tally], absent: Mapping[str, str]) -> str:
    """A table in columns; what could not be replayed stands below it."""
    rows = [_HEAD, *map(_cells, tallies), _total(tallies)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    lines = [
        "  ".join(
            _padded(cell, width, at) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines += [f"not replayed: {module}: {reason}" for module, reason in sorted(absent.items())]
    return "\n".join(lines)


def failures(tallies: Iterable[Tally]) -> str:
    """Every failure on a line of its own, with its row; or that there is none."""
    found = [f"FAILED {tally.vendor}: {failure}" for tally in tallies for failure in tally.failures]
    return "\n".join(found) or "no difference that is not listed"


def page(rows: Sequence[type[Vendor]], tallies: Sequence[Tally]) -> str:
    """The table in Markdown, with the differences by design and their reasons."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|---" * len(_HEAD) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in [*map(_cells, tallies), _total(tallies)]]
    told: dict[tuple[str, str], list[str]] = {}
    for row, tally in zip(rows, tallies, strict=True):
        for difference in row.differences:
            if tally.explained[difference.name]:
                count = f"{row.name} {tally.explained[difference.name]}"
                told.setdefault((difference.name, difference.reason), []).append(count)
        for reason in dict.fromkeys(row.excused.values()):
            if tally.explained[reason]:
                count = f"{row.name} {tally.explained[reason]}"
                told.setdefault(("sent back as history", reason), []).append(count)
        for reason in dict.fromkeys(tally.listed.values()):
            count = f"{row.name} {list(tally.listed.values()).count(reason)}"
            told.setdefault(("not compared", reason), []).append(count)
    lines += ["", "| difference by design | reason | where |", "|---|---|---|"]
    lines += [f"| {name} | {reason} | {', '.join(where)} |" for (name, reason), where in told.items()]
    return "\n".join(lines)


def errors_console(judged: Iterable[Judged]) -> str:
    """How decisions on errors compare, a line a vendor; then every failure."""
    lines = []
    for one in judged:
        lines.append(
            f"errors of {one.vendor}: {one.recorded} recorded, {one.made} made, {one.equal} decided as "
            f"{one.oracle} decides, {one.deviations.total()} otherwise by design"
        )
        lines += [f"FAILED {failure}" for failure in one.failures]
    return "\n".join(lines)


def errors_page(deciders: Iterable[Any], judged: Sequence[Judged]) -> str:
    """The same in Markdown, with the differences by design and their reasons."""
    lines = [
        "| errors of | recorded | made | decided alike | otherwise by design | oracle |",
        "|---|---|---|---|---|---|",
    ]
    told: dict[tuple[str, str], list[str]] = {}
    for decider, one in zip(deciders, judged, strict=True):
        numbers = (one.recorded, one.made, one.equal, one.deviations.total())
        lines.append(f"| {one.vendor} | {' | '.join(map(str, numbers))} | {one.oracle} |")
        for known in decider.deviations:
            if one.deviations[known.name]:
                where = f"{one.vendor} {one.deviations[known.name]}"
                told.setdefault((known.name, known.reason), []).append(where)
    lines += ["", "| error decided otherwise | reason | where |", "|---|---|---|"]
    lines += [f"| {name} | {reason} | {', '.join(where)} |" for (name, reason), where in told.items()]
    return "\n".join(lines)


def write_page(path: Path, text: str) -> None:
    """Replace what stands between the marks; raises `ValueError` where the page has lost them."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path.name} has no {BEGIN} … {END}; write them where the table belongs")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _cells(tally: Tally) -> tuple[str, ...]:
    numbers = (
        tally.interactions,
        tally.streams,
        tally.passed,
        sum(tally.explained.values()),
        len(tally.listed),
        tally.variants,
    )
    return (tally.vendor, *map(str, numbers), tally.oracle or "none")


def _total(tallies: Sequence[Tally]) -> tuple[str, ...]:
    cells = [_cells(tally)[1:-1] for tally in tallies]
    return ("all", *(str(sum(int(row[at]) for row in cells)) for at in range(len(_HEAD) - 2)), "")


def _padded(cell: str, width: int, at: int) -> str:
    return cell.rjust(width) if 0 < at < len(_HEAD) - 1 else cell.ljust(width)
