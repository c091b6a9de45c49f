"""The commands and options: one argparse tree, from which help and completion are made."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

from gleitzeit.cli import options
from gleitzeit.errors import UsageError
from gleitzeit.near import did_you_mean

__all__ = ["build", "commands", "parse"]

Fill: TypeAlias = Callable[["_Parser"], object]


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving the interpreter.

    Its options are added when somebody looks: adding all of all commands took a fifth of a listing.
    """

    def __init__(self, *, fill: Fill | None = None, default: str = "", **settings: Any) -> None:
        super().__init__(**settings, add_help=False, allow_abbrev=False)
        self._fill = fill
        #: The command that is meant where none is named.
        self._default = default
        self._checker: argparse.HelpFormatter | None = None

    def fill(self) -> None:
        """Add the options, if that has not been done yet."""
        fill, self._fill = self._fill, None
        if fill is not None:
            # argparse makes a formatter for every option, to check it; one of a fixed width serves them all.
            self._checker = argparse.HelpFormatter(self.prog, width=80)
            self.add_argument("-h", "--help", action="help", help="show this help message and exit")
            _common(self)
            fill(self)
            self._checker = None

    def _get_formatter(self) -> argparse.HelpFormatter:
        return self._checker or super()._get_formatter()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.fill()
        if self._default and args is not None:
            groups = (each for each in self._actions if isinstance(each, argparse._SubParsersAction))
            names = {name for group in groups for name in group.choices}
            if names.isdisjoint(args) and not {"-h", "--help"} & set(args):
                args = [self._default, *args]
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        self.fill()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(message[:1].lower() + message[1:], hint=f"see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = ", ".join(map(str, action.choices))
            what = (
                "command" if isinstance(action, argparse._SubParsersAction) else action.metavar or action.dest
            )
            hint = did_you_mean(str(value), map(str, action.choices), f"one of: {known}")
            raise UsageError(f"unknown {what} {value!r}", hint=hint)


def build() -> argparse.ArgumentParser:
    """The parser of the command line."""
    return _Parser(
        prog="gleitzeit",
        description="One interface to every language model and tool; everything else is a plugin.",
        epilog="Exit codes and everything else: docs/reference/cli.md",
        fill=_commands,
    )


def _commands(parser: _Parser) -> None:
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    add = _subcommands(parser, "command")
    _leaf(add, "plugins", "what is installed and configured", "listings:plugins", options.plugins)
    _leaf(add, "models", "the models that are known without asking", "listings:models", options.models)
    _group(add, "tools", "the tools of the configured servers, and what was approved of them", _tools, "list")
    _leaf(add, "resources", "what can be read", "resources:show", options.several)
    _leaf(add, "prompts", "the prompt templates", "prompts:show", options.several)
    _leaf(add, "chat", "talk to a model, with tools if wanted", "chat:run", options.chat)
    _leaf(add, "call", "send any operation, written in JSON", "call:run", options.call)
    _leaf(add, "tool", "run a tool", "tool:run", options.tool)
    _leaf(add, "read", "read a resource", "resources:read", options.read)
    _leaf(add, "prompt", "fill in a prompt template", "prompts:fill", options.prompt)
    _leaf(add, "health", "how every instance fares", "health:run", options.health)
    _group(add, "config", "the configuration", _config)
    _group(add, "mcp", "the Model Context Protocol", _mcp)
    _group(add, "plugin", "for authors of plugins", _plugin)
    summary = "a script that completes commands, options and models"
    _leaf(add, "completion", summary, "completion:run", options.completion)


def _tools(add: Any) -> None:
    _leaf(add, "list", "the tools; this is what `tools` alone does", "listings:tools", options.tools)
    _leaf(add, "lock", "write down what all tools promise now", "tools:lock", options.nothing)
    _leaf(add, "diff", "what differs from the lock file", "tools:diff", options.nothing)
    _leaf(add, "approve", "take changes over into the lock file", "tools:approve", options.approve)
    _leaf(add, "search", "find tools by words, best first", "tools:search", options.search)


def _config(add: Any) -> None:
    _leaf(
        add, "show", "every value and where it comes from, secrets masked", "settings:show", options.nothing
    )
    summary = "the JSON Schema of gleitzeit.toml, installed plugins included"
    _leaf(add, "schema", summary, "settings:schema", options.nothing)


def _mcp(add: Any) -> None:
    _leaf(add, "serve", "everything the host has, as one MCP server", "serve:run", options.serve)


def _plugin(add: Any) -> None:
    _leaf(add, "manifest", "the data file that says what a plugin is", "manifest:run", options.manifest)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options in `arguments` (default: of this process); raises `UsageError`."""
    parser = build()
    found, rest = parser.parse_known_args(arguments)
    if found.command in ("tool", "prompt"):  # argparse takes no second helping of `*` after an option
        found.values += [word for word in rest if not word.startswith("-")]
        rest = [word for word in rest if word.startswith("-")]
    if rest:
        inner = dict(commands(parser)).get(
            tuple(filter(None, (found.command, getattr(found, "subcommand", None)))), parser
        )
        known = [word for action in inner._actions for word in action.option_strings]
        hint = did_you_mean(rest[0].partition("=")[0], known, f"see `{inner.prog} --help`")
        raise UsageError(f"unknown argument {rest[0]!r}", hint=hint)
    if getattr(found, "run", None) is None and not found.version:
        inner = dict(commands(parser)).get(tuple(filter(None, (found.command,))), parser)
        names = [path[-1] for path, _ in commands(inner)[1:] if len(path) == 1]
        raise UsageError("no command given", hint=f"one of {', '.join(names)}; see `{inner.prog} --help`")
    found.set = [item for depth in range(3) for item in getattr(found, f"set_{depth}", None) or ()]
    return found


def commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every parser under `parser`, itself first, with the words that lead to it."""
    if isinstance(parser, _Parser):
        parser.fill()
    found = [(path, parser)]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found += commands(inner, (*path, name))
    return found


def _leaf(add: Any, name: str, summary: str, run: str, fill: Fill) -> None:
    """A command that does something: `run` is `module:function` in `gleitzeit.cli`, imported when used."""
    description = f"{summary[0].upper()}{summary[1:]}."
    add(name, help=summary, description=description, fill=fill).set_defaults(run=run)


def _group(add: Any, name: str, summary: str, fill: Callable[[Any], None], default: str = "") -> None:
    def commands(parser: _Parser) -> None:
        fill(_subcommands(parser, "subcommand"))

    description = f"{summary[0].upper()}{summary[1:]}."
    add(name, help=summary, description=description, fill=commands, default=default).set_defaults(group=name)


def _subcommands(parser: _Parser, dest: str) -> Any:
    return parser.add_subparsers(
        title="commands", dest=dest, metavar="COMMAND", parser_class=_Parser
    ).add_parser


def _common(parser: argparse.ArgumentParser) -> None:
    """The options that stand before or after the command; a default of the latter would undo the former."""
    root = " " not in parser.prog

    def default(value: object) -> object:
        return value if root else argparse.SUPPRESS

    group = parser.add_argument_group("options everywhere")
    group.add_argument(
        "--config",
        metavar="FILE",
        default=default(None),
        help="read this instead of searching for gleitzeit.toml",
    )
    group.add_argument("--profile", metavar="NAME", default=default(None), help="overlay [profiles.NAME]")
    group.add_argument(
        "--set",
        dest=f"set_{parser.prog.count(' ')}",
        metavar="KEY=VALUE",
        action="append",
        default=default(None),
        help="override a key: section.name.key=value, the value in TOML or as plain text",
    )
    group.add_argument(
        "--mcp", metavar="FILE", default=default(None), help="also use the servers of an mcpServers file"
    )
    group.add_argument(
        "--json", action="store_true", default=default(False), help="print JSON; streams as a line an event"
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", default=default(False), help="print results and errors only"
    )
    group.add_argument(
        "--no-color", action="store_true", default=default(False), help="no colours (also: NO_COLOR)"
    )
    group.add_argument(
        "--debug",
        action="store_true",
        default=default(False),
        help="show the traceback of an error, and the log",
    )
