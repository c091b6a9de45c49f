"""Rules for answers that look unusual on the wire; each raises `ContractBroken` where it is broken."""

from __future__ import annotations

import asyncio

from gleitzeit.errors import GleitzeitError
from gleitzeit.testing.case import Bench, ContractBroken
from gleitzeit.values import Reply, Request

__all__ = ["connections_are_given_back", "ragged_answer_is_the_same", "unknown_fields_survive"]

_ROUNDS = 3


async def connections_are_given_back(bench: Bench) -> None:
    """Calls one after the other need no more connections: each is given back, also after an error."""
    case = bench.case

    async def all_kinds() -> None:
        await bench.reply(case.request)
        if case.streams:
            await (await bench.open(case.request)).collect()
        if case.failing is not None:
            await asyncio.gather(bench.reply(case.failing), return_exceptions=True)

    await all_kinds()
    before = bench.counted(case.connections)
    for _ in range(_ROUNDS):
        await all_kinds()
    more = bench.counted(case.connections) - before
    if more >= _ROUNDS:
        raise ContractBroken(
            f"{_ROUNDS} rounds of calls, one after the other, opened {more} more connections; "
            "read each answer to its end, or close it"
        )


async def ragged_answer_is_the_same(bench: Bench) -> None:
    """Other line ends, small pieces and comments change nothing in an answer."""
    await _the_same(bench, bench.case.ragged, "written with other line ends, in small pieces,")


async def unknown_fields_survive(bench: Bench) -> None:
    """Fields that nobody knows change nothing in an answer, and stay in its raw body."""
    whole = await _the_same(bench, bench.case.strange, "with unknown fields")
    raw, text = whole.raw, bench.case.strange_text
    if (
        text
        and raw is not None
        and text.encode() not in (raw if isinstance(raw, bytes) else str(raw).encode())
    ):
        raise ContractBroken("unknown fields are not in `reply.raw`; keep the body as it came")


async def _the_same(bench: Bench, request: Request | None, how: str) -> Reply:
    """The whole reply, when it and the stream say what `case.request` is answered with."""
    assert request is not None, "rules are run only where the case has what they need"
    case, replies = bench.case, []
    text = case.text if case.text is not None else (await bench.reply(case.request)).text
    for streamed in (False, True) if case.streams else (False,):
        kind = "streamed" if streamed else "whole"
        try:
            reply = await (await bench.open(request)).collect() if streamed else await bench.reply(request)
        except GleitzeitError as error:
            raise ContractBroken(f"an answer {how} {kind}, raised {type(error).__name__}: {error}") from error
        if reply.text != text:
            raise ContractBroken(f"an answer {how} {kind}, is {reply.text[:60]!r} instead of {text[:60]!r}")
        replies.append(reply)
    return replies[0]
