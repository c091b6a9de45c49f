"""`gleitzeit completion`: scripts that complete commands and options, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final

from gleitzeit.cli.output import Output
from gleitzeit.cli.parser import build, commands

__all__ = ["run", "script"]

#: What is completed after an option or in place of an argument, by its metavar.
FILES: Final = ("FILE", "SOCKET")
MODELS: Final = ("MODEL",)
#: Names are asked for when they are wanted; the listing imports no plugin.
NAMES: Final = "gleitzeit models --names --quiet 2>/dev/null"


def run(options: argparse.Namespace, output: Output) -> int:
    """`gleitzeit completion`"""
    text = script(options.shell)
    if output.json:
        output.document({"shell": options.shell, "script": text})
    else:
        output.text(text, end="")
    return 0


def script(shell: str) -> str:
    """The script for a shell in `parser.SHELLS`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]()


def _bash() -> str:
    tree = commands(build())
    cases = "\n".join(f"    {' '.join(path)!r}) offered={_words(parser)!r};;" for path, parser in tree)
    models, files, choices = _values(parser for _, parser in tree)
    fixed = "\n".join(
        f'    {"|".join(options)}) COMPREPLY=($(compgen -W {words!r} -- "$current")); return;;'
        for words, options in choices
    )
    return f"""\
# Completion of gleitzeit for bash: source it, or write it to
# ~/.local/share/bash-completion/completions/gleitzeit
_gleitzeit() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  local place="" offered="" word
  for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD-1))}}"; do
    case "${{place:+$place }}$word" in
      {"|".join(repr(" ".join(path)) for path, _ in tree if path)}) place="${{place:+$place }}$word";;
    esac
  done
  case "$previous" in
    {"|".join(models)}) COMPREPLY=($(compgen -W "$({NAMES})" -- "$current")); return;;
    {"|".join(files)}) COMPREPLY=($(compgen -f -- "$current")); return;;
{fixed}
  esac
  case "$place" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$offered" -- "$current"))
}}
complete -o nosort -o bashdefault -F _gleitzeit gleitzeit
"""


def _zsh() -> str:
    return f"""\
#compdef gleitzeit
# Completion of gleitzeit for zsh: source it after compinit.
autoload -U +X bashcompinit && bashcompinit
{_bash()}"""


def _fish() -> str:
    lines = [
        "# Completion of gleitzeit for fish: write it to ~/.config/fish/completions/gleitzeit.fish",
        "complete -c gleitzeit -f",
    ]
    everywhere: set[str] = set()
    for path, parser in commands(build()):
        here = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in path)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                rule = (
                    f"{here}; and not __fish_seen_subcommand_from {' '.join(action.choices)}"
                    if path
                    else None
                )
                lines += [
                    _fish_line(rule or "__fish_use_subcommand", f" -a {choice.dest}", choice)
                    for choice in action._choices_actions
                ]
            elif (what := _fish_what(action)) and what not in everywhere:
                lines.append(_fish_line(here, what, action))
                if not path:
                    everywhere.add(what)
    return "\n".join(lines) + "\n"


def _fish_line(rule: str, what: str, action: argparse.Action) -> str:
    about = (action.help or "").partition(";")[0]
    return f"complete -c gleitzeit{f' -n {_quoted(rule)}' if rule else ''}{what} -d {_quoted(about)}"


def _fish_what(action: argparse.Action) -> str:
    """What fish offers for an option or argument; empty where it knows nothing to offer."""
    words = "".join(f" -l {o[2:]}" if o.startswith("--") else f" -s {o[1:]}" for o in action.option_strings)
    if action.nargs == 0:
        return words
    return f"{words} -r{_fish_values(action)}" if words else _fish_values(action)


def _fish_values(action: argparse.Action) -> str:
    if action.choices is not None:
        return f" -a {_quoted(' '.join(map(str, action.choices)))}"
    if action.metavar in FILES:
        return " -F"
    return f" -a {_quoted(f'({NAMES})')}" if action.metavar in MODELS else ""


def _quoted(text: str) -> str:
    """A word for fish, which knows two escapes in single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _words(parser: argparse.ArgumentParser) -> str:
    """What may come next in a command: its commands, options and fixed arguments."""
    words: list[str] = []
    for action in parser._actions:
        words += action.option_strings
        if not action.option_strings and action.choices is not None:
            words += map(str, action.choices)
    return " ".join(words)


def _values(
    parsers: Iterable[argparse.ArgumentParser],
) -> tuple[list[str], list[str], list[tuple[str, list[str]]]]:
    """The options that take a model, those that take a file, and the words of those with fixed ones."""
    models: dict[str, None] = {}
    files: dict[str, None] = {}
    choices: dict[str, list[str]] = {}
    for parser in parsers:
        for action in parser._actions:
            for option in action.option_strings:
                if action.metavar in MODELS:
                    models[option] = None
                elif action.metavar in FILES:
                    files[option] = None
                elif action.choices is not None and option not in choices.get(
                    " ".join(map(str, action.choices)), ()
                ):
                    choices.setdefault(" ".join(map(str, action.choices)), []).append(option)
    return list(models), list(files), list(choices.items())
