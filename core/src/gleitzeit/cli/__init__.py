"""The command `gleitzeit`: lists, talks, calls and checks from a shell.

Nothing is imported before it is needed: a listing takes less time than the import of one plugin.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

    from gleitzeit.cli.output import Output

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: of this process) and give its exit code; see docs/reference/cli.md."""
    from gleitzeit.cli.failures import BROKEN_PIPE, INTERRUPTED, tell
    from gleitzeit.cli.output import Output, OutputClosedError

    arguments = list(sys.argv[1:] if argv is None else argv)
    words = frozenset(arguments)  # also a command line that cannot be read may say how it wants to be told
    output = Output(
        json="--json" in words,
        quiet=not words.isdisjoint(("--quiet", "-q")),
        color="--no-color" not in words,
        debug="--debug" in words,
    )
    try:
        code = _run(arguments, output)
        output.close()
    except OutputClosedError:
        return BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        if output.talks:
            output.say("")
        return int(interrupt.args[0]) if interrupt.args else INTERRUPTED
    except Exception as error:  # noqa: BLE001  # a person is told in a sentence; --debug shows the rest
        return tell(error, output)
    return code


def _run(arguments: list[str], output: Output) -> int:
    from gleitzeit.cli.parser import parse

    try:
        options = parse(arguments)
    except SystemExit:  # argparse has printed the help that was asked for
        return 0
    output.json, output.quiet, output.debug = options.json, options.quiet, options.debug
    if options.version:
        return _version(output)
    from importlib import import_module

    module, _, function = options.run.partition(":")
    run: Callable[[Namespace, Output], int] = getattr(import_module(f"gleitzeit.cli.{module}"), function)
    return run(options, output)


def _version(output: Output) -> int:
    from gleitzeit.version import API_VERSION, __version__

    python = ".".join(map(str, sys.version_info[:3]))
    if output.json:
        output.document({"version": __version__, "api_version": API_VERSION, "python": python})
    else:
        output.text(f"gleitzeit {__version__} (plugin API {API_VERSION}, Python {python})")
    return 0
