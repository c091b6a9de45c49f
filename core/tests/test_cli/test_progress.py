"""Progress: a bar that moves on a terminal, a line each elsewhere, nothing where only results are wanted."""

from __future__ import annotations

import io
import sys

import pytest

from gleitzeit.cli.output import Output
from gleitzeit.cli.render import BAR, Renderer
from gleitzeit.values import Event, Finished, Progress, TextDelta, ThinkingDelta

HALF = Progress(50, total=100, message="pulling tiny: 50 %")
WHOLE = Progress(100, total=100, message="pulling tiny: success")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(
    monkeypatch: pytest.MonkeyPatch, *events: Event, terminal: bool = True, **options: bool
) -> tuple[str, str]:
    """What goes to standard output and to standard error."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TERM", raising=False)
    out, err = io.StringIO(), Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    renderer = Renderer(Output(color=False, **options), thinking=True)
    for event in events:
        renderer.event(event)
    return out.getvalue(), err.getvalue()


@pytest.mark.feature("S002-07")
def test_a_bar_moves_in_its_place_and_ends_before_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = shown(monkeypatch, HALF, WHOLE, TextDelta("hello"), Finished())
    bar = "█" * (BAR // 2) + "░" * (BAR // 2)
    assert err == f"\r{bar} pulling tiny: 50 %\x1b[K\r{'█' * BAR} pulling tiny: success\x1b[K\n"
    assert out == "hello\n"


def test_a_bar_ends_before_thinking_and_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = shown(monkeypatch, HALF, ThinkingDelta("hm"), HALF, Finished())
    first, second, last = err.split("\n")[0], err.split("\n")[1], err.split("\n")[2]
    assert first.endswith("\x1b[K")
    assert second == "hm"
    assert last.endswith("\x1b[K")
    assert err.endswith("\n")


def test_without_a_terminal_each_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = shown(monkeypatch, HALF, Progress(3, message="x"), TextDelta("hello"), terminal=False)
    assert err == "50/100 pulling tiny: 50 %\n3 x\n"


@pytest.mark.parametrize(
    "event, text",
    [
        (Progress(3), "3"),
        (Progress(3, total=0.0, message="x"), "3/0 x"),
        (Progress(-5, total=10), "░" * BAR),
        (Progress(50, total=10), "█" * BAR),
        (Progress(1, message="a\x1b[31m\nb" + "c" * 100), "1 a[31m b" + "c" * 69 + "…"),
    ],
)
def test_odd_progress_stays_on_its_line(monkeypatch: pytest.MonkeyPatch, event: Event, text: str) -> None:
    assert shown(monkeypatch, event)[1] == f"\r{text}\x1b[K"


def test_quiet_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, HALF, Finished(), quiet=True)[1] == ""
