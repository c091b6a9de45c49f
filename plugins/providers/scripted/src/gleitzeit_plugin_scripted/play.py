"""Plays the answer of a rule as the events of a stream."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

from attrs import field, frozen

from gleitzeit.errors import ConfigError, GleitzeitError, InvalidRequestError
from gleitzeit.values import (
    Chat,
    Event,
    Finished,
    Request,
    Started,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolCallDelta,
    Usage,
)
from gleitzeit_plugin_scripted.config import ERRORS, Call, Failure, Rule, Tokens
from gleitzeit_plugin_scripted.template import fill, fill_text

__all__ = ["Score", "compose", "count_words", "failure", "forever", "perform"]

_WORDS: Final = re.compile(r"\s*\S+\s?|\s+")
_FRAGMENT: Final = 16


@frozen(kw_only=True)
class Score:
    """An answer, ready to be played: pieces with their delays in seconds, and how it ends."""

    started: Started = field(kw_only=False)
    pieces: tuple[tuple[float, Event], ...]
    finished: Finished
    #: What happens instead after `after` pieces: an error to raise, "stall" or "truncate".
    breaks: BaseException | str | None = None
    after: int = 0


async def perform(score: Score) -> AsyncIterator[Event]:
    """The events of `score`, up to where it breaks."""
    if score.breaks == "die":
        return
    yield score.started
    for number, (delay, event) in enumerate(score.pieces):
        if score.breaks is not None and number >= score.after:
            break
        if delay:
            await asyncio.sleep(delay)
        yield event
    if isinstance(score.breaks, BaseException):
        raise score.breaks
    if score.breaks == "stall":
        await forever()
    if score.breaks is None:
        yield score.finished


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()


def compose(
    rule: Rule, request: Request, words: Mapping[str, str], usage: Tokens | str | None, instance: str
) -> Score:
    """The answer of `rule`; raises `InvalidRequestError` where it calls a tool that is not offered."""
    pieces = [*_spoken(rule, words), *_calls(rule, request, words, instance)]
    breaks: BaseException | str | None = None
    after = 0
    if rule.error is not None:
        breaks, after = failure(rule.error, instance), rule.error.after or 0
    elif rule.fault is not None:
        breaks = RuntimeError("a scripted bare exception") if rule.fault.kind == "raise" else rule.fault.kind
        after = rule.fault.after or 0
    return Score(
        Started(id=f"{instance}-{words['call']}", model=request.name),
        pieces=tuple(pieces),
        breaks=breaks,
        after=after,
        finished=Finished(
            rule.finish_reason or ("tool_calls" if rule.calls else "stop"),
            raw_finish_reason=rule.raw_finish_reason,
            usage=_usage(usage, words, pieces),
        ),
    )


def _spoken(rule: Rule, words: Mapping[str, str]) -> Iterator[tuple[float, Event]]:
    delay = rule.delay_ms / 1000
    thinking = fill_text(rule.thinking or "", words)
    for piece in _WORDS.findall(thinking):
        yield delay, ThinkingDelta(piece, index=0)
    for piece in _WORDS.findall(fill_text(rule.text or "", words)):
        yield delay, TextDelta(piece, index=1)
    for part in rule.pieces:
        if isinstance(part, str):
            yield delay, TextDelta(fill_text(part, words), index=1)
            continue
        pause = delay if part.delay_ms is None else part.delay_ms / 1000
        if part.text is not None:
            yield pause, TextDelta(fill_text(part.text, words), index=1)
        else:
            yield pause, ThinkingDelta(fill_text(part.thinking or "", words), index=0)


def _calls(
    rule: Rule, request: Request, words: Mapping[str, str], instance: str
) -> Iterator[tuple[float, Event]]:
    delay = rule.delay_ms / 1000
    tools = request.operation.tools if isinstance(request.operation, Chat) else ()
    for position, call in enumerate(rule.calls, 1):
        name = _tool(call, fill_text(call.name, words), tools, instance)
        text = fill_text(call.raw, words) if call.raw is not None else _json(call.arguments, words, instance)
        first, *more = [text[at : at + _FRAGMENT] for at in range(0, len(text), _FRAGMENT)] or [""]
        id = f"{instance}-{words['call']}-{position}"
        yield delay, ToolCallDelta(position + 1, id=id, name=name, arguments=first)
        for fragment in more:
            yield delay, ToolCallDelta(position + 1, arguments=fragment)


def _json(arguments: Mapping[str, Any], words: Mapping[str, str], instance: str) -> str:
    try:
        return json.dumps(fill(arguments, words), ensure_ascii=False)
    except ValueError:
        raise InvalidRequestError(
            "the script's rule cannot convert a part of the prompt for its tool arguments",
            hint="ask as the rule expects, or correct the conversion (`{…:int}`) in the script",
            provider=instance,
            sent=False,
        ) from None


def _tool(call: Call, name: str, tools: tuple[Tool, ...], instance: str) -> str:
    """The outside name of the offered tool that the script means."""
    offered = [tool.name for tool in tools]
    if call.invented or name in offered:
        return name
    found = [tool for tool in offered if tool.endswith("/" + name)]
    if len(found) == 1:
        return found[0]
    # The name in the script, not the filled one: that may quote the prompt.
    if found:
        what, hint = f"the request offers several: {', '.join(found)}", "write its full name in the script"
    else:
        what, hint = "the request does not offer it", "offer the tool, or set `invented = true` in the script"
    raise InvalidRequestError(
        f"the script calls the tool {call.name!r}, but {what}", hint=hint, provider=instance, sent=False
    )


def failure(spec: Failure, instance: str) -> GleitzeitError:
    """The error that `spec` describes."""
    cls = ERRORS[spec.code]
    if issubclass(cls, ConfigError):
        error: GleitzeitError = cls(spec.message, hint=spec.hint)
        error.provider = instance
        return error
    details = spec.model_dump(exclude={"code", "message", "after"}, exclude_none=True)
    if spec.after is not None:
        details.setdefault("sent", True)
    return cls(spec.message, provider=instance, **details)


def count_words(text: str) -> int:
    """What a scripted model reports as usage: words, as it has no tokens."""
    return len(text.split())


def _usage(
    usage: Tokens | str | None, words: Mapping[str, str], pieces: list[tuple[float, Event]]
) -> Usage | None:
    if usage is None:
        return None
    if isinstance(usage, Tokens):
        return Usage(**usage.model_dump())
    read = count_words(words["system"]) + count_words(words["prompt"]) + count_words(words["result"])
    text = "".join(event.text for _, event in pieces if isinstance(event, TextDelta))
    thought = "".join(event.text for _, event in pieces if isinstance(event, ThinkingDelta))
    called = sum(1 for _, event in pieces if isinstance(event, ToolCallDelta) and event.name)
    return Usage(
        input=read,
        output=count_words(text) + count_words(thought) + called,
        reasoning=count_words(thought) or None,
    )
