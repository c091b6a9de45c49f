"""`gleitzeit prompts` and `gleitzeit prompt`: the prompt templates, and one of them filled in."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Final

from gleitzeit.cli.call import send
from gleitzeit.cli.chat import addressing, read_file
from gleitzeit.cli.listings import matches, names, offered
from gleitzeit.cli.output import Output
from gleitzeit.cli.run import with_host
from gleitzeit.cli.table import Column
from gleitzeit.errors import UsageError
from gleitzeit.values import GetPrompt, Prompt
from gleitzeit.wire.codec import to_json

__all__ = ["fill", "show"]

_COLUMNS: Final = (
    Column("PROMPT", 9, least=24),
    Column("ARGUMENTS", 5, least=16),
    Column("ABOUT", 1, least=22),
)


def show(options: Namespace, output: Output) -> int:
    """`gleitzeit prompts`"""
    errors: dict[str, Any] = {}
    found = [
        (f"{offer.instance}/{item.name}", item)
        for _, offer in offered(options, output, "prompts", errors)
        for item in offer.items
        if matches(options.pattern, f"{offer.instance}/{item.name}", item.name)
    ]
    if options.names:
        names(output, [name for name, _ in found])
    elif output.json:
        rows = [{"name": name, "prompt": to_json(item)} for name, item in found]
        output.document({"prompts": rows, "errors": errors})
    elif not found:
        output.note(f"no prompt {f'like {options.pattern!r} ' if options.pattern else ''}is offered")
    else:
        output.table(_COLUMNS, [(name, _arguments(item), item.description) for name, item in found])
    return 0


def fill(options: Namespace, output: Output) -> int:
    """`gleitzeit prompt`"""
    values: dict[str, str] = {}
    for word in options.values:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r} is no KEY=VALUE", hint="see `gleitzeit prompts` for the arguments")
        if key in values:
            raise UsageError(f"{key} was given twice", hint="give it once")
        if text.startswith("@"):
            text = read_file(text[1:], key).decode(errors="replace")
        values[key] = text
    asked = GetPrompt(values).to(options.name, timeout=options.timeout, **addressing(options))
    return with_host(options, output, lambda host: send(host, asked, output), person=True)


def _arguments(prompt: Prompt) -> str:
    """The arguments as they are written, those that may be left out in brackets."""
    return " ".join(f"{each.name}=" if each.required else f"[{each.name}=]" for each in prompt.arguments)
