"""Tables that fit into a terminal, whatever stands in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

__all__ = ["Column", "clean", "cut", "layout", "width"]

GAP: Final = 2


class Column(NamedTuple):
    """A column. Where a table is too wide, the one of least `weight` is cut first, and left out first.

    Cut to less than `least` cells it would tell nothing.
    """

    title: str
    weight: int = 5
    right: bool = False
    least: int = 8


def clean(text: str) -> str:
    """`text` on one line, without characters that control a terminal or reorder what stands beside them."""
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def width(text: str) -> int:
    """The cells that `text` takes in a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(c) in ("Mn", "Me", "Cf") else 2 if east_asian_width(c) in "WF" else 1 for c in text
    )


def cut(text: str, cells: int, mark: str = "…") -> str:
    """`text` in at most `cells` cells, `mark` at its end where something is missing."""
    if width(text) <= cells:
        return text
    room = cells - width(mark)
    if room < 0:
        return ""
    kept = []
    for character in text:
        room -= width(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + mark


def layout(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], cells: int | None, mark: str = "…"
) -> list[list[str]]:
    """The cells of the heading and of each row, cut and padded; `cells` None: as wide as they are.

    Columns without any text are left out.
    """
    body = [[clean(text) for text in row] for row in rows]
    shown = [at for at in range(len(columns)) if any(row[at] for row in body)]
    body.insert(0, [column.title for column in columns])
    widths = {at: max(width(row[at]) for row in body) for at in shown}
    if cells is not None:
        _shrink(widths, columns, cells)
    shown = list(widths)
    return [[_fit(row[at], widths[at], columns[at], at == shown[-1], mark) for at in shown] for row in body]


def _shrink(widths: dict[int, int], columns: Sequence[Column], cells: int) -> None:
    """Cut and leave out columns until the rest fits."""
    order = sorted(widths, key=lambda at: (columns[at].weight, -at))
    while sum(min(widths[at], columns[at].least) for at in widths) + GAP * (len(widths) - 1) > cells:
        if len(widths) == 1:
            break
        del widths[order.pop(0)]
    excess = sum(widths.values()) + GAP * (len(widths) - 1) - cells
    for at in order:
        least = columns[at].least if len(widths) > 1 else 1
        taken = max(0, min(excess, widths[at] - least))
        widths[at] -= taken
        excess -= taken


def _fit(text: str, cells: int, column: Column, last: bool, mark: str) -> str:
    text = cut(text, cells, mark)
    if last and not column.right:
        return text
    space = " " * (cells - width(text))
    return space + text if column.right else text + space
