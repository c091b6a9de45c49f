"""Rules for what a provider offers and answers; each raises `ContractBroken` where it is broken."""

from __future__ import annotations

import asyncio
from typing import Any, Final, get_args

from gleitzeit.errors import GleitzeitError, PluginLoadError
from gleitzeit.hookspecs import check_hooks
from gleitzeit.testing.case import Bench, ContractBroken, drain
from gleitzeit.values import (
    Finished,
    FinishReason,
    Health,
    Model,
    Reply,
    Request,
    UsageUpdate,
)

__all__ = [
    "concurrent_calls_do_not_mix",
    "health_is_told",
    "hooks_fit_the_contract",
    "models_are_listed",
    "stream_ends_once",
    "stream_gives_the_whole_answer",
    "usage_is_told_once",
    "whole_answer_is_complete",
]

_REASONS: Final = get_args(FinishReason)
_AT_ONCE: Final = 8


async def hooks_fit_the_contract(bench: Bench) -> None:
    """Hooks have the names, parameters and kinds that the host calls them with."""
    try:
        found = check_hooks(bench.provider, "under test")
    except PluginLoadError as error:
        raise ContractBroken(str(error)) from None
    if "call" not in found:
        raise ContractBroken("the provider does not implement `call`; write `async def call(self, request)`")


async def models_are_listed(bench: Bench) -> None:
    """`provide_models` gives distinct `Model` values, the same at every asking."""
    hook = getattr(bench.provider, "provide_models", None)
    if hook is None:
        raise ContractBroken("there is no `provide_models`; inherit from gleitzeit.Provider, or write it")
    models = await drain(hook())
    for model in models:
        if not isinstance(model, Model):
            raise ContractBroken(f"`provide_models` gave {type(model).__name__}; give gleitzeit.Model values")
        if not model.name or not isinstance(model.name, str):
            raise ContractBroken("`provide_models` gave a model without a name")
        for key in ("context_tokens", "output_tokens"):
            tokens = getattr(model, key)
            if tokens is not None and (not isinstance(tokens, int) or tokens <= 0):
                raise ContractBroken(f"model {model.name!r} has {key} = {tokens!r}; None is for unknown")
    names = [model.name for model in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ContractBroken(f"`provide_models` lists twice: {', '.join(twice)}")
    if getattr(bench.provider, "complete", True) and bench.case.request.name not in names:
        raise ContractBroken(
            f"`provide_models` does not list {bench.case.request.name!r}, which answers; "
            "list it, or set `complete = False` on the class"
        )
    again = [model.name for model in await drain(hook())]
    if again != names:
        raise ContractBroken(
            f"`provide_models` gave {len(names)} models, then {len(again)}; an iterator was used up?"
        )


async def health_is_told(bench: Bench) -> None:
    """`health` gives a `Health` and does not raise."""
    hook = getattr(bench.provider, "health", None)
    if hook is None:
        return
    health = await hook()
    if not isinstance(health, Health):
        raise ContractBroken(f"`health` gave {type(health).__name__}; return gleitzeit.Health")


async def whole_answer_is_complete(bench: Bench) -> None:
    """A whole answer has its text and a finish reason."""
    reply = await bench.reply(bench.case.request)
    _expect_text(reply, bench.case.text, "the whole answer")
    _expect_reason(reply, "the whole answer")


async def stream_gives_the_whole_answer(bench: Bench) -> None:
    """A stream, joined, is what the whole answer says."""
    whole = await bench.reply(bench.case.request)
    streamed = await (await bench.open(bench.case.request)).collect()
    _expect_text(streamed, bench.case.text, "the stream")
    _expect_reason(streamed, "the stream")
    if not bench.case.stable:
        return
    for what in ("text", "thinking", "finish_reason"):
        ours, theirs = getattr(streamed, what), getattr(whole, what)
        if ours != theirs:
            raise ContractBroken(
                f"{what} of the stream is {_short(ours)}, of the whole answer {_short(theirs)}"
            )
    calls = [[(call.name, call.arguments) for call in reply.tool_calls] for reply in (streamed, whole)]
    if calls[0] != calls[1]:
        raise ContractBroken(
            f"the stream has {len(calls[0])} tool calls, the whole answer {len(calls[1])}, or others"
        )


async def stream_ends_once(bench: Bench) -> None:
    """A stream ends in exactly one `Finished`, and nothing comes after it."""
    events = await _raw(bench, bench.case.request)
    ends = [place for place, event in enumerate(events) if isinstance(event, Finished)]
    if len(ends) != 1:
        raise ContractBroken(f"the stream has {len(ends)} `Finished` events; exactly one ends a good stream")
    after = [type(event).__name__ for event in events[ends[0] + 1 :]]
    if after:
        raise ContractBroken(f"after `Finished` comes {', '.join(after)}, which nobody reads; move it before")


async def usage_is_told_once(bench: Bench) -> None:
    """Usage says one thing, streamed or whole, and its parts lie inside their totals."""
    events = await _raw(bench, bench.case.request)
    updates = [event.usage for event in events if isinstance(event, UsageUpdate)]
    final = next((event.usage for event in events if isinstance(event, Finished)), None)
    if final is not None and updates and updates[-1] != final:
        raise ContractBroken("`Finished.usage` differs from the last `UsageUpdate`; say it once, or the same")
    streamed = final or (updates[-1] if updates else None)
    whole = (await bench.reply(bench.case.request)).usage
    for usage in (streamed, whole):
        if usage is None:
            continue
        for part, total in (("cache_read", "input"), ("cache_write", "input"), ("reasoning", "output")):
            inside, outside = getattr(usage, part), getattr(usage, total)
            if inside is not None and outside is not None and inside > outside:
                raise ContractBroken(f"usage.{part} lies inside usage.{total}, but {inside} > {outside}")
    if bench.case.stable and streamed is not None and whole is not None and streamed != whole:
        raise ContractBroken(
            f"usage of the stream is {streamed}, of the whole answer {whole}; updates replace, they never add"
        )


async def concurrent_calls_do_not_mix(bench: Bench) -> None:
    """Calls at the same time each get their own answer."""
    case = bench.case
    asked: list[tuple[Request, str | None]] = [(case.request, case.text), *case.others]
    if case.text is None:
        if not case.stable:
            return
        asked[0] = (case.request, (await bench.reply(case.request)).text)

    async def one(number: int) -> None:
        request, text = asked[number % len(asked)]
        streamed = case.streams and (number // len(asked)) % 2
        reply = await ((await bench.open(request)).collect() if streamed else bench.reply(request))
        if reply.text != text:
            raise ContractBroken(
                f"of {_AT_ONCE} calls at once one got {_short(reply.text)} instead of {_short(text)}; "
                "keep what belongs to a call out of the instance"
            )

    results = await asyncio.gather(*map(one, range(max(_AT_ONCE, 2 * len(asked)))), return_exceptions=True)
    for result in results:
        if isinstance(result, GleitzeitError):
            raise ContractBroken(f"of {_AT_ONCE} calls at once one failed with {type(result).__name__}")
        if isinstance(result, BaseException):
            raise result


async def _raw(bench: Bench, request: Request) -> list[Any]:
    """The events as the provider's source gives them: `Stream` itself stops at the first `Finished`."""
    stream = await bench.open(request)
    async with stream:
        return [event async for event in stream._source]


def _expect_text(reply: Reply, text: str | None, what: str) -> None:
    if text is None and not reply.text and not reply.tool_calls:
        raise ContractBroken(f"{what} has neither text nor tool calls")
    if text is not None and reply.text != text:
        raise ContractBroken(f"{what} is {_short(reply.text)}, expected {_short(text)}")


def _expect_reason(reply: Reply, what: str) -> None:
    if reply.finish_reason not in _REASONS:
        raise ContractBroken(
            f"{what} has finish_reason {reply.finish_reason!r}; it is one of {', '.join(_REASONS)}, "
            "and the vendor's own word goes to raw_finish_reason"
        )


def _short(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:76]}…{shown[-1]}"
