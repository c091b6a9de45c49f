"""`gleitzeit tool`: runs a tool with arguments typed by its schema."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gleitzeit.cli.call import read_json, send
from gleitzeit.cli.chat import addressing, read_file
from gleitzeit.cli.output import Output
from gleitzeit.cli.run import with_host
from gleitzeit.config.shape import accepts, decode, descend, properties
from gleitzeit.errors import UsageError
from gleitzeit.near import did_you_mean
from gleitzeit.values import Tool, ToolCall

if TYPE_CHECKING:
    from gleitzeit.host import Host

__all__ = ["arguments", "run", "usage"]


def run(options: Namespace, output: Output) -> int:
    """`gleitzeit tool`"""
    if any(character in options.name for character in "*?["):
        raise UsageError(
            f"{options.name!r} is a pattern", hint=f"see `gleitzeit tools --live '{options.name}'`"
        )
    given = None
    if options.arguments is not None:
        if options.values:
            raise UsageError("--arguments and KEY=VALUE do not go together", hint="use one of them")
        given = read_json(options.arguments, "--arguments")
        if not isinstance(given, dict):
            raise UsageError("--arguments: expected an object", hint='such as \'{"key": "value"}\'')

    async def work(host: Host) -> int:
        [(_, name, tool)] = await host.find_tools([options.name])
        values = arguments(name, tool, options.values) if given is None else given
        asked = ToolCall(values).to(name, timeout=options.timeout, **addressing(options))
        return await send(host, asked, output)

    return with_host(options, output, work, person=True)


def arguments(name: str, tool: Tool, words: Sequence[str]) -> dict[str, Any]:
    """The arguments in `words`, typed by the tool's schema; a key that is repeated makes a list.

    Raises `UsageError` naming the key for what is no such value, an unknown key, or one that is missing.
    """
    schema = tool.input_schema
    known = properties(schema)
    found: dict[str, Any] = {}
    for word in words:
        key, value = _argument(word, name, tool)
        if key in found:
            if "array" not in accepts(known.get(key), schema):
                raise UsageError(f"{key} was given twice", hint="give it once")
            before = found[key] if isinstance(found[key], list) else [found[key]]
            value = [*before, *(value if isinstance(value, list) else [value])]
        found[key] = value
    missing = [key for key in schema.get("required", ()) if key not in found]
    if missing:
        raise UsageError(f"{name} needs {', '.join(map(str, missing))}", hint=usage(name, tool))
    return found


def usage(name: str, tool: Tool) -> str:
    """How the arguments of a tool are written, those that may be left out in brackets."""
    schema = tool.input_schema
    required = schema.get("required", ())
    words = []
    for key, inner in properties(schema).items():
        types = "|".join(sorted(accepts(inner, schema) - {"null"})) or "value"
        words.append(f"{key}=<{types}>" if key in required else f"[{key}=<{types}>]")
    return " ".join([f"gleitzeit tool {name}", *words])


def _argument(word: str, name: str, tool: Tool) -> tuple[str, Any]:
    schema = tool.input_schema
    known = properties(schema)
    key, equals, text = word.partition("=")
    if not equals or not key:
        hint = "JSON goes to --arguments" if word.startswith("{") else usage(name, tool)
        raise UsageError(f"{word!r} is no KEY=VALUE", hint=hint)
    raw = key.endswith(":")
    key = key.removesuffix(":")
    if known and key not in known and schema.get("additionalProperties") is False:
        raise UsageError(f"{name} has no argument {key!r}", hint=did_you_mean(key, known, usage(name, tool)))
    if raw:
        return key, read_json(text, key)
    if text.startswith("@"):
        try:
            text = read_file(text[1:], key).decode()
        except UnicodeDecodeError:
            raise UsageError(f"{key}: {text[1:]} is no UTF-8 text", hint="a tool takes text") from None
    return key, _typed(key, text, known.get(key), schema)


def _typed(key: str, text: str, wanted: Mapping[str, Any] | None, schema: Mapping[str, Any]) -> Any:
    try:
        return decode(text, wanted, schema)
    except ValueError as error:
        if "array" in accepts(wanted, schema) and not text.lstrip().startswith("["):
            return [_typed(key, text, descend(schema, (key, 0)), schema)]  # a list, given item by item
        raise UsageError(f"{key}: {error}", hint=f"{key}:=JSON gives a value as it is") from None
