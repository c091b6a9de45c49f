"""Puts the questions of servers to the person at the terminal: forms, and addresses to visit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from gleitzeit.cli.output import Output
from gleitzeit.cli.person import present, read_line, turn
from gleitzeit.cli.table import clean
from gleitzeit.config.shape import accepts, decode, properties
from gleitzeit.values import Elicitation, Elicited

__all__ = ["form"]

_YES: Final = ("y", "yes")


class _LeftError(Exception):
    """The input ended before everything was said."""


def form(output: Output) -> Callable[[Elicitation], Awaitable[Elicited]] | None:
    """What asks, one question at a time; None where there is nobody to ask: servers are told that."""
    if not present(output):
        return None

    async def ask(question: Elicitation) -> Elicited:
        async with turn():
            try:
                return await _answer(question, output)
            except _LeftError:
                output.say("")
                return Elicited.cancel()

    return ask


async def _answer(question: Elicitation, output: Output) -> Elicited:
    output.say(f"{clean(question.instance)} asks: {clean(question.message)}", "yellow")
    if question.url is not None:
        said = await _line(output, f"  visit {clean(question.url)} ? [y]es, [n]o: ")
        return Elicited.accept() if said.lower() in _YES else Elicited.decline()
    if (await _line(output, "  answer? [y]es, [n]o: ")).lower() not in _YES:
        return Elicited.decline()
    schema = question.schema or {}
    required = schema.get("required") or ()
    found = {}
    for name, field in properties(schema).items():
        value = await _value(output, name, field, schema, required=name in required)
        if value is not None:
            found[name] = value
    return Elicited.accept(found)


async def _value(
    output: Output, name: str, field: Mapping[str, Any], schema: Mapping[str, Any], *, required: bool
) -> Any:
    """What is said to a field of the form; None where it is left out."""
    several = field.get("items") if "array" in accepts(field, schema) else None
    choices = _choices(several if isinstance(several, Mapping) else field)
    about = [clean(str(field[key])) for key in ("description",) if field.get(key)]
    if choices:
        about.append(f"{'some' if several else 'one'} of {', '.join(map(clean, choices))}")
    elif "boolean" in accepts(field, schema):
        about.append("yes or no")
    if "default" in field:
        about.append(f"default: {clean(_written(field['default']))}")
    elif not required:
        about.append("may be left empty")
    title = clean(str(field.get("title") or name))
    label = f"  {title} ({'; '.join(about)}): " if about else f"  {title}: "
    while True:
        text = await _line(output, label)
        if not text and ("default" in field or not required):
            return field.get("default")
        try:
            if several:
                return [_chosen(word.strip(), choices) for word in text.split(",")]
            return _chosen(text, choices) if choices else decode(text, field, schema)
        except ValueError as error:
            output.say(f"  {error}", "red")


def _choices(field: Mapping[str, Any]) -> dict[str, Any]:
    """What can be chosen, by the words for it; empty where anything goes."""
    titled = [*(field.get("oneOf") or ()), *(field.get("anyOf") or ())]
    if titled and all(isinstance(each, Mapping) and "const" in each for each in titled):
        return {str(each.get("title") or each["const"]): each["const"] for each in titled}
    values: Sequence[Any] = field.get("enum") or ()
    names = field.get("enumNames") or ()
    return {str(names[at] if at < len(names) else value): value for at, value in enumerate(values)}


def _chosen(text: str, choices: Mapping[str, Any]) -> Any:
    """The value behind a word, which may be its title or itself."""
    if text in choices:
        return choices[text]
    for value in choices.values():
        if str(value) == text:
            return value
    if not choices and text:
        return text
    raise ValueError(f"expected {'one of ' + ', '.join(map(clean, choices)) if choices else 'some words'}")


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


async def _line(output: Output, label: str) -> str:
    output.say(label, "yellow", end="")
    text = await read_line()
    if not text:
        raise _LeftError
    return text.strip()
