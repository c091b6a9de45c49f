"""Draws the clients side by side: calls, chunks, starts and memory, on logarithmic scales."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import PEERS
from tests.benchmarks.rows import Group
from tests.benchmarks.table import number

#: Client → figure → value, with the name and version of the client under "title".
Figures = dict[str, dict[str, Any]]

#: Figure, title, unit, whether more is better.
PANELS = (
    ("call", "CPU of a call", "µs", False),
    ("chunk", "CPU of a streamed chunk", "µs", False),
    ("rate", "Calls a second, 64 at once", "/s", True),
    ("import_cpu", "CPU until ready for a first call", "ms", False),
    ("first_cpu", "CPU until the first answer", "ms", False),
    ("memory", "Memory after very many calls", "MB", False),
)
OURS, REFERENCE, OTHERS, INK, PALE = "#0b7a75", "#c9ced6", "#7d8797", "#1f2933", "#e6e9ee"


def missing() -> str | None:
    """What to install before something can be drawn."""
    if find_spec("matplotlib") is None:
        return "matplotlib draws the picture and is not installed: python noxfile.py bench installs it"
    return None


def figures_of(groups: Iterable[Group]) -> Figures:
    """What the groups found of each client, in the order of the peers."""
    found: Figures = {}
    for name, about in PEERS.items():
        for group in groups:
            if name in group.figures:
                figures = found.setdefault(name, {"title": about.title})
                figures.update(group.figures[name])
                if name in group.versions:
                    figures["title"] = group.versions[name]
    return found


def draw(figures: Figures, where: str, file: Path) -> None:
    """Write a picture of bars; a client of which something is unknown has no bar there."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = import_module("matplotlib.pyplot")
    matplotlib.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK})
    rows = max((len(_bars(figures, panel[0])) for panel in PANELS), default=1)
    canvas, axes = pyplot.subplots(2, 3, figsize=(15, 1.8 + 0.76 * rows), constrained_layout=True)
    for axis, (key, title, unit, more) in zip(axes.flat, PANELS, strict=True):
        _panel(axis, _bars(figures, key), f"{title}, {'more' if more else 'less'} is better", unit, more)
    canvas.suptitle("Gleitzeit beside its peers", fontsize=15, fontweight="bold", x=0.01, ha="left")
    note = f"{where}; a local mock upstream; medians of one interleaved run; logarithmic scales"
    canvas.text(0.01, -0.025, note, fontsize=8.5, color=OTHERS, ha="left")
    canvas.savefig(file, dpi=110, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    pyplot.close(canvas)


def _bars(figures: Figures, key: str) -> list[tuple[str, str, float]]:
    """Client, title and value, of those that have one which a logarithmic scale can show."""
    return [(name, of["title"], of[key]) for name, of in figures.items() if of.get(key, 0) > 0]


def _panel(axis: Any, bars: list[tuple[str, str, float]], title: str, unit: str, more: bool) -> None:
    axis.set_title(title, loc="left", fontsize=10.5, fontweight="bold", pad=8)
    for side in ("top", "right", "left", "bottom"):
        axis.spines[side].set_visible(False)
    if not bars:
        axis.set_axis_off()
        return
    bars = sorted(bars, key=lambda bar: bar[2], reverse=not more)
    values = [value for _, _, value in bars]
    axis.barh(range(len(bars)), values, color=[_colour(name) for name, _, _ in bars], height=0.68, zorder=2)
    axis.set_xscale("log")
    axis.set_xlim(min(values) / 2.5, max(values) * 3.2)
    axis.set_yticks(range(len(bars)), [title for _, title, _ in bars])
    axis.tick_params(axis="both", length=0, labelsize=8.5)
    axis.tick_params(axis="x", labelcolor=OTHERS)
    axis.grid(axis="x", which="major", color=PALE, zorder=0)
    axis.xaxis.set_minor_locator(import_module("matplotlib.ticker").NullLocator())
    for at, ((name, _, value), label) in enumerate(zip(bars, axis.get_yticklabels(), strict=True)):
        ours = name.startswith("gleitzeit")
        weight = "bold" if ours else "normal"
        label.set(fontweight=weight, color=OURS if ours else INK)
        axis.text(value * 1.1, at, number(value, unit), va="center", fontsize=8.5, fontweight=weight)


def _colour(name: str) -> str:
    """Ours, what is not a framework but a floor to stand on, and the others."""
    if name.startswith("gleitzeit"):
        return OURS
    return REFERENCE if name in ("floor", "httpx2") else OTHERS
