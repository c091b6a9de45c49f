"""Finds the line of every key and list item in a TOML or JSON text, which their parsers do not tell.

The text has been parsed before: what follows relies on it being well formed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from gleitzeit.config.merge import Path

__all__ = ["json_lines", "toml_lines"]

_BLANK: Final = re.compile(r"(?:[\s,]|#[^\n]*)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})|' + r"'''.*?'''(?:'{0,2})|" + r'"(?:\\.|[^"\\])*"|' + r"'[^']*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}\n#]*")


def toml_lines(text: str) -> Mapping[Path, int]:
    """Path -> line (from 1), of keys, tables, and items of arrays."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


def json_lines(text: str) -> Mapping[Path, int]:
    """Path -> line (from 1), of keys and items of arrays."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.blank()
    scanner.value(())
    return scanner.lines


class _Scanner:
    """Walks through the text once. JSON values are TOML's but for `:` where TOML writes `=`."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self._text = text
        self._at = 0
        self._counted = 0
        self._line = 1
        self._arrays: dict[Path, int] = {}

    def document(self) -> None:
        prefix: Path = ()
        while self.blank():
            if self._text.startswith("[[", self._at):
                self._at += 2
                path = self._resolved(self._key())
                number = self._arrays[path] = self._arrays.get(path, -1) + 1
                prefix = (*path, number)
                self._note_all((), prefix, self._at)
                self._at += 2
            elif self._text[self._at] == "[":
                self._at += 1
                prefix = self._resolved(self._key())
                self._note_all((), prefix, self._at)
                self._at += 1
            else:
                self._pair(prefix)

    def blank(self) -> bool:
        """Skip to the next token; False at the end."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match is not None else self._at
        return self._at < len(self._text)

    def value(self, path: Path) -> None:
        start = self._text[self._at]
        if start == "{":
            self._at += 1
            while self.blank() and self._text[self._at] != "}":
                self._pair(path)
            self._at += 1
        elif start == "[":
            self._at += 1
            number = 0
            while self.blank() and self._text[self._at] != "]":
                self._note((*path, number), self._at)
                self.value((*path, number))
                number += 1
            self._at += 1
        else:
            self._take(_STRING if start in "\"'" else _SCALAR)

    def _pair(self, prefix: Path) -> None:
        start = self._at
        path = (*prefix, *self._key())
        self._note_all(prefix, path, start)
        self._at += 1  # = or :
        self.blank()
        self.value(path)

    def _key(self) -> Path:
        """A dotted key and the space after it."""
        keys: list[str] = []
        while True:
            self._gap()
            if self._text[self._at] in "\"'":
                keys.append(_unquoted(self._take(_STRING)))
            else:
                keys.append(self._take(_BARE))
            self._gap()
            if self._text[self._at] != ".":
                return tuple(keys)
            self._at += 1

    def _gap(self) -> None:
        """Skip space before `.`, `=` or `]`; JSON may break the line before its colon."""
        while self._text[self._at].isspace():
            self._at += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "the text was parsed before"
        self._at = match.end()
        return match[0]

    def _resolved(self, path: Path) -> Path:
        """The path of a header: where a part names an array of tables, its last item is meant."""
        resolved: Path = ()
        for key in path[:-1]:
            resolved = (*resolved, key)
            if resolved in self._arrays:
                resolved = (*resolved, self._arrays[resolved])
        return (*resolved, path[-1])

    def _note_all(self, prefix: Path, path: Path, at: int) -> None:
        for end in range(len(prefix) + 1, len(path) + 1):
            self._note(path[:end], at)

    def _note(self, path: Path, at: int) -> None:
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        self.lines.setdefault(path, self._line)


def _unquoted(token: str) -> str:
    if token[0] == "'":
        return token[1:-1]
    try:
        return str(json.loads(token))
    except ValueError:  # an escape that only TOML has, such as \U0001F600
        import tomllib

        return next(iter(tomllib.loads(f"{token} = 0")))
