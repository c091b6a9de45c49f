"""The code blocks of the documentation, found in its Markdown with their places and notes.

A note is an HTML comment on the line before a block:

    <!-- file: NAME -->       the block is the content of that file, in the folder where the page's blocks run
    <!-- not run: REASON -->  the block cannot run in a test; the reason says why
    <!-- output -->           the block is what the one before it prints; `…` stands for anything
    <!-- demo -->             the block is what the demo prints; test_demo_output.py compares it
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LANGUAGES", "NOTES", "ROOT", "Block", "PageError", "blocks", "pages"]

ROOT = Path(__file__).resolve().parents[2]
#: What a block may be written in; `text` is shown and not run.
LANGUAGES = frozenset({"console", "json", "python", "text", "toml"})
NOTES = frozenset({"demo", "file", "not run", "output"})

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>```+|~~~+)(?P<info>.*)")
_NOTE = re.compile(r"\s*<!--\s*(?P<name>[a-z ]+?)\s*(?::\s*(?P<value>.*?))?\s*-->\s*")


class PageError(AssertionError):
    """Something in a page is wrong; the text begins with file and line."""


@dataclass(frozen=True)
class Block:
    """A code block. `line` is that of its first line of text, counted from 1."""

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str]

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page}:{self.line}"

    def error(self, what: object) -> PageError:
        """What is wrong with this block."""
        return PageError(f"{self.place}: {what}")


def pages() -> list[Path]:
    """Every page whose blocks are promises: the READMEs of the project and of its packages, and docs/."""
    patterns = ("README.md", "core/README.md", "plugins/*/*/README.md", "contrib/*/README.md", "docs/**/*.md")
    return [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page; raises `PageError` for what a reader or this test could not understand."""
    return list(_blocks(page, page.read_text(encoding="utf-8").splitlines()))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        fence = _FENCE.fullmatch(lines[number])
        if fence is None:
            number += 1
            continue
        notes = _notes(page, lines, number)
        first = number + 1
        end = next((at for at in range(first, len(lines)) if _closes(lines[at], fence)), None)
        block = Block(page, first + 1, fence["info"].strip(), "", notes)
        if end is None:
            raise block.error("the block is not closed")
        if block.language not in LANGUAGES:
            known = ", ".join(sorted(LANGUAGES))
            raise block.error(f"a block in {block.language or 'no language'!r}; write one of {known}")
        indent = len(fence["indent"])
        text = "".join(f"{line[indent:] if line[:indent].isspace() else line}\n" for line in lines[first:end])
        yield Block(page, block.line, block.language, text, notes)
        number = end + 1


def _closes(line: str, fence: re.Match[str]) -> bool:
    found = _FENCE.fullmatch(line)
    return found is not None and found["fence"].startswith(fence["fence"]) and not found["info"].strip()


def _notes(page: Path, lines: list[str], number: int) -> dict[str, str]:
    """The notes on the lines right before line `number`."""
    notes = {}
    while number > 0 and (note := _NOTE.fullmatch(lines[number - 1])) is not None:
        name, value = note["name"], note["value"] or ""
        where = f"{page.relative_to(ROOT) if page.is_relative_to(ROOT) else page}:{number}"
        if name not in NOTES:
            raise PageError(f"{where}: an unknown note {name!r}; write one of {', '.join(sorted(NOTES))}")
        if name in ("file", "not run") and not value:
            raise PageError(f"{where}: the note {name!r} says nothing after its colon")
        notes[name] = value
        number -= 1
    return notes
