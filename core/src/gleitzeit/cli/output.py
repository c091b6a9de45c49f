"""What goes to standard output, and what a person is told on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from io import StringIO, TextIOWrapper
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from gleitzeit.cli.table import Column

__all__ = ["Output", "OutputClosedError", "Style", "plain"]

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_CONTROLS: Final = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}

Style: TypeAlias = Callable[[str, str], str | None]


class OutputClosedError(Exception):
    """Nobody reads standard output any more, as after `| head`."""


class Output:
    """Results go to standard output, everything else to standard error.

    `json` results are one document, or one line each; `quiet` leaves only results and errors.
    """

    def __init__(
        self, *, json: bool = False, quiet: bool = False, color: bool = True, debug: bool = False
    ) -> None:
        self.json = json
        self.quiet = quiet
        self.debug = debug
        self._out: IO[str] = sys.stdout if sys.stdout is not None else StringIO()  # None where it is closed
        self._err: IO[str] = sys.stderr if sys.stderr is not None else StringIO()
        for stream in (self._out, self._err):
            if isinstance(stream, TextIOWrapper):  # not so for the replacements of others
                stream.reconfigure(errors="backslashreplace")
        color = color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.terminal = _is_terminal(self._out)
        self.talks = _is_terminal(self._err)
        self._drawn: tuple[os.terminal_size, int] | None = None
        self._color_out = color and self.terminal
        self._color_err = color and self.talks

    @property
    def cells(self) -> int | None:
        """The width of the terminal; None where output is no terminal and COLUMNS does not say."""
        if not self.terminal and not os.environ.get("COLUMNS", "").isdigit():
            return None
        import shutil

        return max(20, shutil.get_terminal_size().columns)

    def text(self, text: str, *, end: str = "\n") -> None:
        """Text of a result. On a terminal, what could control it is left out."""
        self._write((plain(text) if self.terminal else text) + end)

    def document(self, value: object) -> None:
        """The one JSON document of a result."""
        self._write(_json(value, indent=2) + "\n")

    def event(self, value: object) -> None:
        """A JSON line of a result that comes piece by piece."""
        self._write(_json(value, separators=(",", ":")) + "\n")

    def table(
        self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, style: Style | None = None
    ) -> None:
        """A table; `style(title, text)` names the style of a cell."""
        self._write("".join(f"{line}\n" for line in self.lines(columns, rows, style=style)))

    def lines(
        self, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, style: Style | None = None
    ) -> list[str]:
        """The lines of a table, for `redraw`."""
        from gleitzeit.cli.table import GAP, layout

        mark = "…" if _can(self._out, "…") else "~"
        heading, *body = layout(columns, rows, self.cells, mark)
        lines = [[self.style(text, "bold") for text in heading]]
        for row in body:
            styles = [
                style(title.strip(), text.strip()) if style else None
                for title, text in zip(heading, row, strict=True)
            ]
            lines.append(
                [self.style(text, name) if name else text for text, name in zip(row, styles, strict=True)]
            )
        return [(" " * GAP).join(line).rstrip() for line in lines]

    def redraw(self, lines: Sequence[str]) -> None:
        """Show lines in place of those of the last time; below them where output is no terminal.

        What a terminal has no room for is left out. Lines must not be wider than `cells`.
        """
        if not self.terminal or os.environ.get("TERM") == "dumb":
            self._write("".join(f"{line}\n" for line in lines) + ("\n" if len(lines) > 1 else ""))
            return
        import shutil

        size = shutil.get_terminal_size()
        if len(lines) >= size.lines > 1:
            lines = lines[: size.lines - 1]
        drawn, self._drawn = self._drawn, (size, len(lines))
        if drawn is None:
            back = ""
        elif drawn[0] == size:
            back = f"\x1b[{drawn[1]}F\x1b[J"
        else:
            back = "\x1b[H\x1b[2J"  # lines of another width may have been folded
        self._write(back + "".join(f"{line}\n" for line in lines))

    def style(self, text: str, name: str) -> str:
        """`text` for standard output in a style, where colours are wanted."""
        return _styled(text, name) if self._color_out else text

    def note(self, text: str, style: str = "dim", *, end: str = "\n") -> None:
        """Something that a person may want to know beside the result; a program gets it in the result."""
        if not (self.quiet or self.json):
            self.say(text, style, end=end)

    def say(self, text: str, style: str | None = None, *, end: str = "\n") -> None:
        """Something that a person must know: an error, a question."""
        text = plain(text) if self.talks else text
        with suppress(BrokenPipeError, ValueError):  # nobody listens: there is no better place to say so
            self._err.write((_styled(text, style) if style and self._color_err else text) + end)
            self._err.flush()

    def again(self, text: str, style: str | None = None) -> None:
        """A note that stands in place of the last such one; where standard error is no terminal, below it.

        On a terminal the line stays open: end it with a note.
        """
        if self.quiet or self.json:
            return
        if not self.talks or os.environ.get("TERM") == "dumb":
            self.say(text, style)
            return
        import shutil

        from gleitzeit.cli.table import cut

        text = cut(plain(text).replace("\n", " "), shutil.get_terminal_size().columns - 1)
        with suppress(BrokenPipeError, ValueError):
            shown = _styled(text, style) if style and self._color_err else text
            self._err.write(f"\r{shown}\x1b[K")
            self._err.flush()

    def failure(self, message: str, hint: str | None, data: Mapping[str, Any]) -> None:
        """An error, and the next step; as a JSON object on standard error with `json`."""
        if self.json:
            self.say(_json({"error": data}))
            return
        self.say(_styled("error: ", "red") + message if self._color_err else f"error: {message}")
        if hint:
            self.say(_styled("hint: ", "cyan") + hint if self._color_err else f"hint: {hint}")

    def symbol(self, symbol: str, instead: str) -> str:
        """`symbol`, or what stands for it where standard error cannot show it."""
        return symbol if _can(self._err, symbol) else instead

    def close(self) -> None:
        """Write out what waits; raises `OutputClosedError` where nobody reads it."""
        self._write("")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            _silence(self._out)
            raise OutputClosedError from None


def _json(value: object, **form: Any) -> str:
    import json  # after the modules of the command: a listing by itself needs it too, --help does not

    return json.dumps(value, ensure_ascii=False, **form)


def plain(text: str) -> str:
    """`text` without what could control a terminal."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def _styled(text: str, name: str) -> str:
    return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if text else text


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _can(stream: IO[str], text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (LookupError, UnicodeError):
        return False
    return True


def _silence(stream: IO[str]) -> None:
    """Send what is still buffered nowhere: the interpreter would complain of it when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
