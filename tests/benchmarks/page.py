"""Writes a run into the documentation: the tables into the page, the numbers and the picture beside it."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import plot
from tests.benchmarks.process import ROOT

FOLDER = Path("docs", "explanation")
PICTURE = "![Gleitzeit beside its peers: calls, chunks, starts, memory](performance.png)"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def write(tables: str, numbers: str, figures: plot.Figures, where: str, folder: Path = ROOT / FOLDER) -> None:
    """Replace what stands between the marks of performance.md, and write performance.json and .png."""
    path = folder / "performance.md"
    path.write_text(between(path.read_text(encoding="utf-8"), tables), encoding="utf-8")
    (folder / "performance.json").write_text(numbers + "\n", encoding="utf-8")
    plot.draw(figures, where, folder / "performance.png")


def between(page: str, tables: str) -> str:
    """The page with other tables; raises `ValueError` where it has lost its marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"performance.md has no {BEGIN} … {END}; write them where the tables belong")
    return f"{head}{BEGIN}\n\n{PICTURE}\n\n```text\n{tables}\n```\n\n{END}{tail}"
