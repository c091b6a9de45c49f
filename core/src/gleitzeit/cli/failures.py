"""Tells a person, or a program, what went wrong; decides on the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gleitzeit.errors import GleitzeitError

if TYPE_CHECKING:
    from gleitzeit.cli.output import Output

__all__ = ["BROKEN_PIPE", "HANGUP", "INTERRUPTED", "TERMINATED", "UNHEALTHY", "explain", "tell"]

#: Something is in error, by the health table.
UNHEALTHY: Final = 1
#: As shells report the end by a signal: 128 and the signal's number.
HANGUP: Final = 129
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
TERMINATED: Final = 143

_MORE: Final = ("problems", "near", "claims", "votes")


def tell(error: BaseException, output: Output) -> int:
    """Print the error, and the next step; gives the exit code."""
    if output.debug:
        import traceback

        output.say("".join(traceback.format_exception(error)).rstrip())
    if not isinstance(error, GleitzeitError):
        message = f"{type(error).__name__}: {error}"
        hint = "this is a fault of Gleitzeit or of a plugin; --debug shows where"
        output.failure(message, hint, {"code": GleitzeitError.code, "message": message, "hint": hint})
        return GleitzeitError.exit_code
    output.failure("\n".join([error.message, *_before(error)]), error.hint, explain(error))
    return error.exit_code


def explain(error: GleitzeitError) -> dict[str, Any]:
    """What a program needs to know of an error."""
    data = {**error.to_dict(), "exit_code": error.exit_code}
    data.update({name: list(value) for name in _MORE if (value := getattr(error, name, ()))})
    if error.attempts:
        data["attempts"] = [
            {"target": str(attempt.target), "error": _line(attempt.error)} for attempt in error.attempts
        ]
    return data


def _before(error: GleitzeitError) -> list[str]:
    """A line for each failure that went before; what failed in the same way again is one."""
    counts: dict[tuple[str, str], int] = {}
    for attempt in error.attempts:
        key = str(attempt.target), _line(attempt.error)
        counts[key] = counts.get(key, 0) + 1
    return [
        f"  {target} failed before{f', {count} times' if count > 1 else ''}: {line}"
        for (target, line), count in counts.items()
    ]


def _line(error: BaseException) -> str:
    return error.message if isinstance(error, GleitzeitError) else type(error).__name__
