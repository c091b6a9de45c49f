"""What the README shows of the demo was printed by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.docs.pages import ROOT, blocks

DEMO = ROOT / "contrib/demo/demo.py"
_VARIABLE = (
    (re.compile(r"\b[0-9a-f]{40,64}\b"), "HASH"),
    (re.compile(r"\d+"), "N"),
    (re.compile(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b"), "DAY"),
    (re.compile(r"\s*\S*…$"), "…"),
)


def shape(text: str) -> list[str]:
    """The lines of the demo, wrapped ones joined, with all that differs from run to run masked."""
    joined: list[str] = []
    for line in text.strip().splitlines():
        if line.startswith(" " * 14) and joined:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    lines = []
    for line in joined:
        masked = " ".join(line.split())
        for pattern, name in _VARIABLE:
            masked = pattern.sub(name, masked)
        lines.append(masked)
    return lines


def test_readme_shows_what_the_demo_prints() -> None:
    (shown,) = (block for block in blocks(ROOT / "README.md") if "demo" in block.notes)
    done = subprocess.run(
        [sys.executable, str(DEMO)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = shape(shown.text), shape(done.stdout)
    assert here == there, f"{shown.place}: put the output of {os.path.relpath(DEMO, ROOT)} there"


def test_a_changed_line_changes_the_shape() -> None:
    assert shape("a  12 ms") == shape("a  7 ms")
    assert shape("   label      one\n              two") == shape("   label      one two")
    assert shape("a\nb") != shape("a\nc")
    assert shape("Commit: " + "ab" * 20) == shape("Commit: " + "cd" * 20)
    assert shape("unwell  cannot conn…") == shape("unwell  cannot connec…")
