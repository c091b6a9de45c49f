"""Decides whether a model may run a tool: by the command line's word, or by asking."""

from __future__ import annotations

from typing import Final, Literal

from gleitzeit.cli.output import Output
from gleitzeit.cli.person import present, read_line, turn
from gleitzeit.cli.render import arguments_of
from gleitzeit.cli.table import clean
from gleitzeit.conversation import Approve
from gleitzeit.values import ToolCallPart, Verdict

__all__ = ["Asking", "approval"]

NO_TERMINAL: Final = "nobody can be asked: standard input or error is no terminal"
HINT: Final = "--approve always lets tools run"


def approval(word: Literal["ask", "always", "never"] | None, output: Output) -> Approve | None:
    """What decides: None lets every call run. Without a word a terminal is asked, and else all is denied."""
    if word == "always":
        return None
    if word == "never":
        return lambda call, target: Verdict.deny("no tool may run: --approve never")
    if not present(output):
        output.note(f"note: tools will be denied, {NO_TERMINAL}; {HINT}", "yellow")
        return lambda call, target: Verdict.deny(NO_TERMINAL)
    return Asking(output)


class Asking:
    """Asks a person at the terminal before each call; one question at a time."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._always: set[str] = set()

    async def __call__(self, call: ToolCallPart, target: str) -> Verdict:
        async with turn():
            if target in self._always:
                return Verdict.allow()
            question = f"run {clean(target)} {arguments_of(call)} ? [y]es, [n]o, [a]lways this tool: "
            self._output.say(question, "yellow", end="")
            answer = (await read_line()).strip().lower()
            if answer in ("a", "always"):
                self._always.add(target)
            return (
                Verdict.allow() if answer in ("y", "yes", "a", "always") else Verdict.deny("the user said no")
            )
