"""Rules for how a wire carries frames; each raises `ContractBroken` where it is broken."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError
from gleitzeit.kinds import Frame, Transport
from gleitzeit.testing.case import ContractBroken
from gleitzeit.testing.wires import WireBench, request

__all__ = [
    "concurrent_senders_do_not_mix",
    "frames_pass_unchanged",
    "headers_travel",
    "large_frames_pass",
    "notifications_pass",
    "order_is_kept",
    "questions_pass_both_ways",
    "unwritable_frame_is_refused_unsent",
    "wire_fits_the_contract",
    "wires_do_not_mix",
]

_MANY: Final = 50
_STEPS: Final = 300


async def wire_fits_the_contract(bench: WireBench) -> None:
    """`connect` gives a context, and the wire in it stands and has what the protocol names."""
    if not isinstance(bench.transport, Transport):
        raise ContractBroken("the transport has no `connect`; see gleitzeit.kinds.Transport")
    async with bench.line() as line:
        wire: Any = line.wire
        if not isinstance(wire.lost, asyncio.Event) or wire.lost.is_set():
            raise ContractBroken("`lost` of a new wire must be an asyncio.Event that is not set")
        if wire.error is not None:
            raise ContractBroken(f"`error` of a new wire is {wire.error!r}; None while it stands")
        if not isinstance(wire.diagnostics(), Mapping):
            raise ContractBroken("`diagnostics()` must give a mapping")


async def frames_pass_unchanged(bench: WireBench) -> None:
    """Any JSON comes back as it was sent: text of all scripts, large numbers, nothing and nesting."""
    params: dict[str, Any] = {
        "texts": ["", "ünï ⏱ 𝄞", "line\nbreak\r\n\u2028 tab\t", '"quoted" \\ \x00', "data: x\n\nevent: y"],
        "numbers": [0, -1, 2**53 + 1, 2**70, 0.1, -1e300],
        "others": [None, True, False, {}, []],
        "deep": {"a": {"b": [{"c": {"d": "e"}}]}},
    }
    async with bench.line() as line:
        for id in (1, "text id"):
            back = await bench.within(line.ask(id, "echo", params), "a request has no answer")
            if back != params:
                raise ContractBroken(f"a frame was changed: {_difference(params, back)}")


async def notifications_pass(bench: WireBench) -> None:
    """What wants no answer is sent without waiting for one."""
    async with bench.line() as line:
        note = Frame({"jsonrpc": "2.0", "method": "notifications/contract", "params": {}})
        await bench.within(line.wire.send(note), "sending a notification does not return")
        await bench.within(line.ask(1, "echo", {}), "a request after a notification has no answer")


async def order_is_kept(bench: WireBench) -> None:
    """Frames arrive in the order in which the server sent them."""
    async with bench.line() as line:
        await bench.within(line.ask(1, "count", {"to": _STEPS}), "a request has no answer")
        found = [each["params"]["number"] for each in line.heard if each.get("method") == "contract/counted"]
        if found != list(range(_STEPS)):
            raise ContractBroken(f"{_STEPS} notifications came as {len(found)}, or in another order")
        if "method" in line.heard[-1]:
            raise ContractBroken("the result came before the notifications that were sent before it")


async def large_frames_pass(bench: WireBench) -> None:
    """A message of millions of characters passes in both directions."""
    text = "é" * bench.case.large
    async with bench.line() as line:
        back = await bench.within(line.ask(1, "echo", {"text": text}), "a large message has no answer")
        if back != {"text": text}:
            raise ContractBroken("a large message came back changed")


async def concurrent_senders_do_not_mix(bench: WireBench) -> None:
    """Many requests at the same time get each its own answer, once."""
    async with bench.line() as line:

        async def one(number: int) -> None:
            sent = {"number": number, "text": str(number) * 1000}
            if await line.ask(number, "echo", sent) != sent:
                raise ContractBroken("the answer to one request carries what another one sent")

        await bench.within(
            asyncio.gather(*(one(number) for number in range(_MANY))),
            "requests sent at the same time have no answers",
        )
        ids: list[Any] = [each.get("id") for each in line.heard if "method" not in each]
        if sorted(ids) != list(range(_MANY)):
            raise ContractBroken(f"{_MANY} requests got {len(ids)} answers")


async def questions_pass_both_ways(bench: WireBench) -> None:
    """While a request is out the server may ask, and is answered."""
    async with bench.line() as line:
        sending = asyncio.create_task(line.ask(7, "ask", {"how": "many"}))
        try:
            question = await bench.within(line.note("contract/asked", how="many"), "a question does not come")
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"of": "them"}}
            await bench.within(line.wire.send(Frame(reply)), "sending an answer does not return")
            if await bench.within(sending, "the request has no answer") != {"of": "them"}:
                raise ContractBroken("the server got another answer than the one that was sent")
        finally:
            sending.cancel()


async def headers_travel(bench: WireBench) -> None:
    """The headers of a frame arrive beside it, and beside no other."""
    async with bench.line() as line:

        async def one(number: int) -> None:
            value = f"value-{number}"
            seen = await line.ask(number, "headers", {}, {"x-contract": value})
            if seen.get("x-contract") != value:
                raise ContractBroken(
                    f"a frame with the header x-contract: {value} arrived with {seen.get('x-contract')!r}"
                )

        everything = asyncio.gather(*(one(number) for number in range(5)))
        await bench.within(everything, "a request with a header has no answer")
        if "x-contract" in await bench.within(line.ask("bare", "headers", {}), "a request has no answer"):
            raise ContractBroken("a header of one frame travelled with another")


async def unwritable_frame_is_refused_unsent(bench: WireBench) -> None:
    """What has no form in JSON is an `InvalidRequestError`, nothing was sent, and the wire goes on."""
    async with bench.line() as line:
        frame = request(1, "echo", {"what": object()})
        error = await bench.refused(line.wire.send(frame), "sending what is no JSON")
        if not isinstance(error, InvalidRequestError) or error.sent is not False:
            raise ContractBroken(f"what is no JSON raised {error!r} with sent = {error.sent}")
        await bench.within(line.ask(2, "echo", {}), "the next request has no answer")


async def wires_do_not_mix(bench: WireBench) -> None:
    """Two wires at the same time have each its own frames, and one outlives the other."""
    async with bench.line() as first:
        async with bench.line() as second:
            asks = (first.ask(1, "echo", {"wire": 1}), second.ask(1, "echo", {"wire": 2}))
            back = list(await bench.within(asyncio.gather(*asks), "two wires have no answers"))
            if back != [{"wire": 1}, {"wire": 2}]:
                raise ContractBroken("a frame of one wire came over another")
        await bench.within(first.ask(2, "echo", {}), "closing one wire ends another")


def _difference(sent: Mapping[str, Any], back: Any) -> str:
    if not isinstance(back, Mapping):
        return f"it came back as {type(back).__name__}"
    return ", ".join(f"{key}: {back.get(key)!r}" for key in sent if back.get(key) != sent[key])[:300]
