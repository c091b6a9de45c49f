"""Gathers everything that is wrong with a configuration, so that it is told at once."""

from __future__ import annotations

from gleitzeit.config.model import Source
from gleitzeit.errors import ConfigError

__all__ = ["Problems", "problem"]


def problem(where: Source | str | None, key: str, what: str, step: str = "") -> str:
    """One line: `file:line: key: what; next step`."""
    place = ": ".join(str(part) for part in (where, key) if part)
    return f"{place}: {what}" + (f"; {step}" if step else "")


class Problems:
    """A list of problems that becomes one error."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, where: Source | str | None, key: str, what: str, step: str = "") -> None:
        """Note a problem; the same one is noted once."""
        line = problem(where, key, what, step)
        if line not in self.lines:
            self.lines.append(line)

    def raise_if_any(self) -> None:
        """Raise a `ConfigError` with all problems, if there are any."""
        if self.lines:
            count = len(self.lines)
            text = (
                "the configuration has a problem:"
                if count == 1
                else f"the configuration has {count} problems:"
            )
            raise ConfigError(text, problems=tuple(self.lines))
