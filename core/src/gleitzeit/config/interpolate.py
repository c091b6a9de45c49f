"""Replaces `${VAR}` and `${VAR:-default}` in texts of the configuration; `$$` is a dollar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["InterpolationError", "interpolate", "mentions"]

# Patterns are compiled at their first use: a listing that needs none should not pay for them.
_MARK: Final = r"\$\$|\$\{([^}]*)(\}?)"
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"


class InterpolationError(ValueError):
    """A text cannot be completed; says why, without any value, and the next step in `hint`."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its variables replaced; a default also stands in for an empty variable.

    What was put in is not looked at again. `$VAR` without braces is left alone. Raises
    `InterpolationError` for an unset variable and for what is no variable.
    """

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, default = _reference(match)
        value = environ.get(name)
        if default is not None:
            return value or default.replace("$$", "$")
        if value is None:
            hint = f"set it, or write ${{{name}:-default}}"
            raise InterpolationError(f"environment variable {name} is not set", hint)
        return value

    return re.sub(_MARK, replace, text)


def mentions(text: str) -> bool:
    """Does `text` ask for a variable?"""
    return any(match[0] != "$$" for match in re.finditer(_MARK, text))


def _reference(match: re.Match[str]) -> tuple[str, str | None]:
    name, separator, default = match[1].partition(":-")
    shown = name if len(name) < 40 and name.isprintable() else "..."
    if "${" in match[1]:
        shown = shown.partition("${")[0]
        raise InterpolationError(f"`${{{shown}...` has another variable inside", "variables cannot be nested")
    if not match[2]:
        raise InterpolationError("`${` has no closing `}`", "close it, or write $$ for a dollar")
    if name.startswith("input:"):
        hint = "nobody is asked here: write ${VAR} or a secret:// reference"
        raise InterpolationError(f"`${{{shown}}}` asks a person", hint)
    if not re.fullmatch(_NAME, name):
        hint = "write ${NAME} or ${NAME:-default}, or $$ for a dollar"
        raise InterpolationError(f"`${{{shown}}}` names no environment variable", hint)
    return name, default if separator else None
