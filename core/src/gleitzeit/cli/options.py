"""The options of each command; `parser` has the tree of the commands."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Final

__all__ = [
    "OPERATIONS",
    "SHELLS",
    "approve",
    "call",
    "chat",
    "completion",
    "health",
    "manifest",
    "models",
    "nothing",
    "plugins",
    "prompt",
    "read",
    "search",
    "serve",
    "several",
    "tool",
    "tools",
]

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


def nothing(parser: argparse.ArgumentParser) -> None:
    """A command without options of its own."""


def plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--live", action="store_true", help="start everything and show what became of it")


def models(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--live", action="store_true", help="ask every provider")
    add("--capability", metavar="WORD", help="only models with this capability, such as vision")
    add("--names", action="store_true", help="print only names, one a line")


def approve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="a name from `tools diff`, or a pattern")


def search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="WORD", help="what the tool should do")
    parser.add_argument("--limit", metavar="N", type=_most, default=10, help="at most so many (default: 10)")


def _most(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) > 0:
            return count
    raise argparse.ArgumentTypeError(f"{text} is no number of tools")


def tools(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="tools of this name, pattern or set, such as 'git/*'",
    )
    add("--live", action="store_true", help="ask every provider")
    add("--names", action="store_true", help="print only names, one a line")


def completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def serve(parser: argparse.ArgumentParser) -> None:
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
        metavar="[PRINCIPAL=]REFERENCE",
        action="append",
        default=[],
        help="the token that clients must bring, as secret://env/NAME or another reference to a secret; "
        "several times with the names of principals, each with a token of its own",
    )
    add(
        "--principal",
        metavar="NAME",
        help="whose the requests are of clients that bring no token with a name",
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
    add(
        "--state-key",
        metavar="REFERENCE",
        action="append",
        default=[],
        help="a secret that all processes of one service share, so that clients may go on in another one; "
        "the first seals, further ones are still opened",
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


def chat(parser: argparse.ArgumentParser) -> None:
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


def call(parser: argparse.ArgumentParser) -> None:
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


def tool(parser: argparse.ArgumentParser) -> None:
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


def several(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("pattern", nargs="?", metavar="PATTERN", help="those of this name or pattern, such as 'git/*'")
    add("--names", action="store_true", help="print only names, one a line")


def read(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", help="INSTANCE/URI, as `gleitzeit resources` shows it")
    add("-o", "--output", metavar="FILE", help="write what was read into this file, as it is")
    _request(parser)


def prompt(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", metavar="NAME", help="the prompt, such as git/review")
    add("values", nargs="*", default=[], metavar="KEY=VALUE", help="its arguments; key=@FILE from a file")
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


def health(parser: argparse.ArgumentParser) -> None:
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


def manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a plugin, or a distribution with plugins")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare the shipped file with the code")
    what.add_argument("--write", action="store_true", help="write the file into the plugin's package")
