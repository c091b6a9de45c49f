"""The commands and options: one argparse tree, from which help and completion are made."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn, TypeAlias

from gleitzeit.errors import UsageError
from gleitzeit.near import did_you_mean

__all__ = ["OPERATIONS", "SHELLS", "build", "commands", "parse"]

SHELLS: Final = ("bash", "zsh", "fish")
#: The kinds of `gleitzeit.values.Operation`, which is not imported for a listing; a test holds them equal.
OPERATIONS: Final = (
    "chat",
    "classification",
    "completion",
    "embedding",
    "get_prompt",
    "invoke",
    "read_resource",
    "tool_call",
)


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
    _leaf(add, "plugins", "what is installed and configured", "listings:plugins", _plugins)
    _leaf(add, "models", "the models that are known without asking", "listings:models", _models)
    _group(add, "tools", "the tools of the configured servers, and what was approved of them", _tools, "list")
    _leaf(add, "chat", "talk to a model, with tools if wanted", "chat:run", _chat)
    _leaf(add, "call", "send any operation, written in JSON", "call:run", _call)
    _leaf(add, "tool", "run a tool", "tool:run", _tool)
    _leaf(add, "health", "how every instance fares", "health:run", _health)
    _group(add, "config", "the configuration", _config)
    _group(add, "mcp", "the Model Context Protocol", _mcp)
    _group(add, "plugin", "for authors of plugins", _plugin)
    summary = "a script that completes commands, options and models"
    _leaf(add, "completion", summary, "completion:run", _completion)


def _config(add: Any) -> None:
    _leaf(add, "show", "every value and where it comes from, secrets masked", "settings:show", _nothing)
    summary = "the JSON Schema of gleitzeit.toml, installed plugins included"
    _leaf(add, "schema", summary, "settings:schema", _nothing)


def _mcp(add: Any) -> None:
    _leaf(add, "serve", "everything the host has, as one MCP server", "serve:run", _serve)


def _plugin(add: Any) -> None:
    _leaf(add, "manifest", "the data file that says what a plugin is", "manifest:run", _manifest)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options in `arguments` (default: of this process); raises `UsageError`."""
    parser = build()
    options, rest = parser.parse_known_args(arguments)
    if options.command == "tool":  # argparse takes no second helping of `*` after an option
        options.values += [word for word in rest if not word.startswith("-")]
        rest = [word for word in rest if word.startswith("-")]
    if rest:
        inner = dict(commands(parser)).get(
            tuple(filter(None, (options.command, getattr(options, "subcommand", None)))), parser
        )
        known = [word for action in inner._actions for word in action.option_strings]
        hint = did_you_mean(rest[0].partition("=")[0], known, f"see `{inner.prog} --help`")
        raise UsageError(f"unknown argument {rest[0]!r}", hint=hint)
    if getattr(options, "run", None) is None and not options.version:
        inner = dict(commands(parser)).get(tuple(filter(None, (options.command,))), parser)
        names = [path[-1] for path, _ in commands(inner)[1:] if len(path) == 1]
        raise UsageError("no command given", hint=f"one of {', '.join(names)}; see `{inner.prog} --help`")
    options.set = [item for depth in range(3) for item in getattr(options, f"set_{depth}", None) or ()]
    return options


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


def _nothing(parser: _Parser) -> None:
    """A command without options of its own."""


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


def _plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--live", action="store_true", help="start everything and show what became of it")


def _models(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--live", action="store_true", help="ask every provider")
    add("--capability", metavar="WORD", help="only models with this capability, such as vision")
    add("--names", action="store_true", help="print only names, one a line")


def _tools(add: Any) -> None:
    _leaf(add, "list", "the tools; this is what `tools` alone does", "listings:tools", _tools_list)
    _leaf(add, "lock", "write down what all tools promise now", "tools:lock", _nothing)
    _leaf(add, "diff", "what differs from the lock file", "tools:diff", _nothing)
    _leaf(add, "approve", "take changes over into the lock file", "tools:approve", _tools_approve)
    _leaf(add, "search", "find tools by words, best first", "tools:search", _tools_search)


def _tools_approve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="a name from `tools diff`, or a pattern")


def _tools_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="WORD", help="what the tool should do")
    parser.add_argument(
        "--limit", metavar="N", type=_tools_most, default=10, help="at most so many (default: 10)"
    )


def _tools_most(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) > 0:
            return count
    raise argparse.ArgumentTypeError(f"{text} is no number of tools")


def _tools_list(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="tools of this name, pattern or set, such as 'git/*'",
    )
    add("--live", action="store_true", help="ask every provider")
    add("--names", action="store_true", help="print only names, one a line")


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def _serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--transport",
        choices=("stdio", "http", "grpc"),
        metavar="NAME",
        default="stdio",
        help="stdio (default), http or grpc",
    )
    add("--host", metavar="ADDRESS", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    add("--port", metavar="N", type=int, default=8000, help="0 takes any that is free (default: 8000)")
    add(
        "--token",
        metavar="REFERENCE",
        help="the token that clients must bring, as secret://env/NAME or another reference to a secret",
    )
    add(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="answer to this name of the machine, too; may be repeated",
    )
    add(
        "--option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of the transport, such as cert_file=PATH; may be repeated",
    )
    for name in ("tool", "resource", "prompt", "model"):
        add(
            f"--{name}",
            metavar="PATTERN",
            action="append",
            help=f"serve only {name}s of this name or pattern; may be repeated",
        )
    add("--no-models", action="store_true", help="serve no tools for models")
    add(
        "--bare",
        metavar="INSTANCE",
        action="append",
        default=[],
        help="leave the name of this instance out of the names of what it offers; may be repeated",
    )
    add("--name", metavar="TEXT", default="gleitzeit", help="what the server calls itself")
    add("--instructions", metavar="TEXT", help="what clients are told of it")


def _chat(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help="what to say; - or nothing reads standard input, nothing on a terminal opens a dialogue",
    )
    add("-m", "--model", metavar="MODEL", help="model, alias or route (default: what is called `default`)")
    add("-s", "--system", metavar="TEXT", help="the system prompt")
    add(
        "--tool",
        metavar="PATTERN",
        action="append",
        default=[],
        help="let the model use these tools; may be repeated",
    )
    add(
        "--max-turns",
        metavar="N",
        type=int,
        default=8,
        help="how often the model may be asked in a turn of yours (default: 8)",
    )
    add(
        "--approve",
        choices=("ask", "always", "never"),
        metavar="WHEN",
        help="may tools run: ask, always, never (default: ask on a terminal, else never)",
    )
    add(
        "--image",
        metavar="FILE",
        action="append",
        default=[],
        help="send a picture, a file or an address; may be repeated",
    )
    add("--no-stream", action="store_true", help="print the answer when it is whole")
    add("--thinking", action="store_true", help="show what the model thinks aloud, on standard error")
    add("--usage", action="store_true", help="show the tokens used, on standard error")
    add("--schema", metavar="FILE", help="the answer must satisfy the JSON Schema in this file")
    add("--temperature", metavar="X", type=float, help="how freely to choose words")
    add("--top-p", metavar="X", type=float, help="choose among the likeliest words of this share")
    add("--max-tokens", metavar="N", type=int, help="the longest answer")
    add("--seed", metavar="N", type=int, help="for answers that can be repeated, where the model allows it")
    add(
        "--stop",
        metavar="TEXT",
        action="append",
        default=[],
        help="end the answer before this text; may be repeated",
    )
    add("--reasoning", metavar="EFFORT", help="how hard to think, in the vendor's word, such as low")
    _request(parser)
    _yes(parser)


def _call(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("target", metavar="TARGET", help="model, tool, prompt or instance")
    add("body", metavar="JSON", help="the operation, or a whole request; - reads standard input")
    add(
        "--operation",
        choices=OPERATIONS,
        metavar="KIND",
        help=f"its kind, where the JSON does not say: {', '.join(OPERATIONS)}",
    )
    add("--stream", action="store_true", help="print the answer as it comes")
    add("--idempotency-key", metavar="KEY", help="the same key marks the same call, sent again")
    _request(parser)
    _yes(parser)


def _tool(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", help="the tool, such as time/get_current_time")
    add(
        "values",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="arguments, typed by the tool's schema; key:=JSON as it is, key=@FILE from a file",
    )
    add("--arguments", metavar="JSON", help="all arguments as one JSON object; - reads standard input")
    _request(parser)


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-y", "--yes", action="store_true", help="download a model that is not there without asking"
    )


def _request(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--principal", metavar="NAME", help="on whose behalf, for guards and limits")
    parser.add_argument(
        "--private",
        action="store_true",
        help="mark it private: never logged, and kept on local targets",
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=_seconds, help="the time for all of it")


def _health(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--deep", action="store_true", help="start what is not running yet, and ask more")
    add("--watch", action="store_true", help="ask again and again, with what the calls come to, until Ctrl-C")
    add("--interval", metavar="SECONDS", type=_pause, help="the time between two rounds (default: 2)")
    add("--count", metavar="N", type=_rounds, help="end after so many rounds")
    add("--of", metavar="SOCKET", help="ask the application that serves its host.status_socket here")


def _pause(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < 1e6:
            return seconds
    raise argparse.ArgumentTypeError(f"{text} is no time to wait between rounds")


def _rounds(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) > 0:
            return count
    raise argparse.ArgumentTypeError(f"{text} is no number of rounds")


def _seconds(text: str) -> float:
    seconds = None
    with suppress(ValueError):
        seconds = float(text)
    if seconds is None or not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no time that a call may take")
    return seconds


def _manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a plugin, or a distribution with plugins")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare the shipped file with the code")
    what.add_argument("--write", action="store_true", help="write the file into the plugin's package")
