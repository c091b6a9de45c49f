"""Shows what is logged while a command runs: warnings as notes, with --debug everything."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from gleitzeit.cli.output import Output

__all__ = ["logs"]


class _Notes(logging.Handler):
    """Writes records to standard error; tracebacks only with --debug."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if self._output.debug:
            self._output.say(self.format(record), "dim")
        elif record.levelno >= logging.WARNING:
            self._output.note(f"note: {record.name}: {record.getMessage()}", "yellow")


@contextmanager
def logs(output: Output) -> Iterator[None]:
    """Show the log inside of the block."""
    root = logging.getLogger()
    handler = _Notes(output)
    level = root.level
    root.addHandler(handler)
    if output.debug:
        root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
