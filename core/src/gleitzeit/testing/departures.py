"""Rules for how a wire ends; each raises `ContractBroken` where it is broken."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from gleitzeit.errors import AccessError, CannotConnectError, GleitzeitError, WireError
from gleitzeit.kinds import Endpoint
from gleitzeit.testing.case import ContractBroken
from gleitzeit.testing.secrecy import records
from gleitzeit.testing.wires import WireBench, request

__all__ = [
    "absent_server_is_told_unsent",
    "cancelled_at_a_deaf_server",
    "cancelled_send_leaves_the_wire",
    "closing_ends_everything",
    "dead_server_is_noticed",
    "death_in_mid_call_is_told",
    "leaving_by_an_error_closes",
    "nothing_is_left_on_the_loop",
    "secrets_are_not_shown",
]

#: After how many turns of the loop something is cancelled.
_TURNS: Final = (0, 1, 3, 10, 40)


async def closing_ends_everything(bench: WireBench) -> None:
    """Once the block is left the wire is lost without an error, readers end and senders are refused."""
    async with bench.transport.connect(bench.case.endpoint) as wire:
        reader = asyncio.create_task(_drain(wire))
        await wire.send(request(1, "echo", {}))
    await bench.within(asyncio.wait({reader}), "a reader waits on after the wire was closed")
    if reader.exception() is not None:
        raise ContractBroken(f"closing raised {reader.exception()!r} in a reader; end the iteration")
    if not wire.lost.is_set() or wire.error is not None:
        raise ContractBroken(
            f"after a wanted close: lost.is_set() = {wire.lost.is_set()}, error = {wire.error!r}; "
            "set `lost`, and leave `error` at None"
        )
    await _refused_unsent(bench, wire)
    wire.diagnostics()


async def leaving_by_an_error_closes(bench: WireBench) -> None:
    """What the block raises comes out of it, and the wire is closed."""
    raised = LookupError("from inside")
    wire: Any = None
    try:
        async with bench.transport.connect(bench.case.endpoint) as wire:
            raise raised
    except LookupError as error:
        if error is not raised:
            raise ContractBroken("the block let out another error than the one that was raised") from error
    else:
        raise ContractBroken("the block swallowed what was raised in it")
    if wire is None or not wire.lost.is_set():
        raise ContractBroken("`lost` is not set after the block was left by an error")


async def cancelled_at_a_deaf_server(bench: WireBench) -> None:
    """Connecting and sending to a server that reads nothing return at once when they are cancelled."""
    for turns in _TURNS:
        work = asyncio.create_task(_talk(bench, bench.case.deaf))
        for _ in range(turns):
            await asyncio.sleep(0)
        work.cancel()
        await bench.within(asyncio.wait({work}), "what is cancelled goes on")
        if not work.cancelled() and not isinstance(work.exception(), GleitzeitError):
            raise ContractBroken(f"what is cancelled ended with {work.exception()!r}")


async def cancelled_send_leaves_the_wire(bench: WireBench) -> None:
    """Cancelling the sender of one request leaves the wire to the others."""
    async with bench.line() as line:
        await bench.within(line.ask("first", "echo", {}), "a request has no answer")
        for turns in _TURNS:
            sending = asyncio.create_task(line.wire.send(request(f"held-{turns}", "hold", {})))
            for _ in range(turns):
                await asyncio.sleep(0)
            sending.cancel()
            await bench.within(asyncio.wait({sending}), "a cancelled sender goes on")
            sent = {"turns": turns}
            back = await bench.within(line.ask(turns, "echo", sent), "the next request has no answer")
            if back != sent:
                raise ContractBroken("after a cancelled sender a request got another's answer")


async def dead_server_is_noticed(bench: WireBench) -> None:
    """When the server dies the wire is lost with a typed error, and nothing waits on."""
    async with bench.line() as line:
        await bench.within(line.ask(1, "echo", {}), "a request has no answer")
        await bench.kill()
        if bench.case.notices:
            await bench.within(line.wire.lost.wait(), "`lost` is not set although the server is gone")
            await bench.within(line.ended.wait(), "a reader waits on although the wire is lost")
            if not isinstance(line.wire.error, (WireError, AccessError)):
                raise ContractBroken(f"`error` of a lost wire is {line.wire.error!r}; say why as a WireError")
            line.wire.diagnostics()
        await _refused_unsent(bench, line.wire)


async def death_in_mid_call_is_told(bench: WireBench) -> None:
    """Who waits for an answer hears that it will not come, and that the request had been sent."""
    async with bench.line() as line:
        sending = asyncio.create_task(line.wire.send(request("held", "hold", {})))
        try:
            await bench.within(line.note("contract/held", id="held"), "a request does not arrive")
            await bench.kill()
            lost = asyncio.create_task(line.wire.lost.wait())
            told = asyncio.create_task(_told(line.answer("held")))
            try:
                failing = {lost, told}
                await bench.within(
                    asyncio.wait(failing, return_when=asyncio.FIRST_COMPLETED),
                    "nobody hears that an answer will not come",
                )
            finally:
                lost.cancel()
                told.cancel()
            answer = told.result() if told.done() and not told.cancelled() else None
            if answer is not None and "error" not in answer:
                raise ContractBroken("a dead server's request was answered with a result")
        finally:
            sending.cancel()
            await asyncio.wait({sending})
        error = None if sending.cancelled() else sending.exception()
        if isinstance(error, GleitzeitError) and error.sent is False:
            raise ContractBroken("a request that had arrived is said to be not sent")


async def absent_server_is_told_unsent(bench: WireBench) -> None:
    """Where nobody serves, connecting or the first frame raises `CannotConnectError`, not sent."""
    error = await bench.refused(_talk(bench, bench.case.nobody), "talking to nobody")
    if not isinstance(error, CannotConnectError) or error.sent is not False:
        raise ContractBroken(f"where nobody serves {error!r} is raised with sent = {error.sent}")


async def secrets_are_not_shown(bench: WireBench) -> None:
    """The secret is in no repr, no diagnostics, no log record and no error."""
    secret = bench.case.secret
    assert secret is not None, "rules are run only where the case has what they need"
    shown: dict[str, str] = {"the repr of the transport": repr(bench.transport)}
    with records() as logged:
        async with bench.line() as line:
            shown["the repr of the wire"] = repr(line.wire)
            await bench.within(line.ask(1, "echo", {"text": secret}), "a request has no answer")
            if bench.case.kill is not None:
                await bench.kill()
                shown["an error"] = _text(await bench.refused(_persist(line.wire), "sending to the dead"))
            shown["the diagnostics"] = repr(line.wire.diagnostics())
            shown["the error of the wire"] = _text(line.wire.error)
        shown["a log record"] = "\n".join(logged)
    for where, text in shown.items():
        if secret in text:
            raise ContractBroken(f"the secret is seen in {where}")


#: Seconds in which tasks end that are on their way out when their wire has closed.
_AFTERMATH: Final = 2.0


async def nothing_is_left_on_the_loop(bench: WireBench) -> None:
    """No task outlives its wire, however often one is opened."""
    async with bench.line() as line:  # what a transport keeps for all its wires may stay
        await bench.within(line.ask(0, "echo", {}), "a request has no answer")
    before = asyncio.all_tasks()
    for number in range(3):
        async with bench.line() as line:
            await bench.within(line.ask(number, "echo", {}), "a request has no answer")
            with_hold = asyncio.create_task(line.wire.send(request("held", "hold", {})))
            await bench.within(line.note("contract/held"), "a request does not arrive")
        await bench.within(asyncio.wait({with_hold}), "a sender outlives its wire")
        if not with_hold.cancelled():
            with_hold.exception()
    left = asyncio.all_tasks() - before
    if left:  # a client library may hear of the end from a thread of its own
        _, left = await asyncio.wait(left, timeout=_AFTERMATH)
    if left:
        raise ContractBroken(f"left behind: {', '.join(sorted(task.get_name() for task in left))}")


async def _talk(bench: WireBench, endpoint: Endpoint | None) -> None:
    assert endpoint is not None, "rules are run only where the case has what they need"
    async with bench.transport.connect(endpoint) as wire:
        for number in range(100):
            await wire.send(request(number, "echo", {"text": "x" * 100_000}))
        await wire.lost.wait()
        raise wire.error or AssertionError("closed")


async def _persist(wire: Any) -> None:
    """Send until it is refused: the first frames to the dead may still find room in a buffer."""
    while True:
        await wire.send(request("persist", "echo", {}))
        await asyncio.sleep(0.01)


async def _refused_unsent(bench: WireBench, wire: Any) -> None:
    error = await bench.refused(wire.send(request("late", "echo", {})), "sending over a lost wire")
    if not isinstance(error, (WireError, AccessError)) or error.sent is not False:
        raise ContractBroken(
            f"sending over a lost wire raised {error!r} with sent = {error.sent}; "
            "raise a WireError with sent=False"
        )


async def _told(answer: Any) -> Any:
    try:
        return await answer
    except ContractBroken:  # the wire ended, which tells it as well
        return None


async def _drain(wire: Any) -> None:
    async for _ in wire:
        pass


def _text(error: GleitzeitError | None) -> str:
    return "" if error is None else f"{error} {error!r} {error.to_dict()}"
