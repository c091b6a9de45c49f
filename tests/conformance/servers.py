"""Servers that others wrote, each as an upstream of a host: `python -m tests.conformance.servers`.

The last line of the output is a JSON list of what was found; a row with a `fault` did not hold. Words after
the command choose the servers and wires that hold one of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Sized
from pathlib import Path
from typing import Any, Final

from gleitzeit import Host
from gleitzeit.values import GetPrompt, ReadResource, ToolCall
from tests.conformance import parts
from tests.conformance.client import elicited
from tests.conformance.upstreams import SERVERS, Call, Peer
from tests.conformance.ways import Way

__all__ = ["examine", "main"]

#: Calls that are made together.
AT_ONCE: Final = 16


async def examine(peer: Peer, way: Way) -> dict[str, str]:
    """Ask the server everything over one of its wires; the row about it."""
    row = {"server": peer.name, "from": peer.source, "wire": way.wire}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        try:
            peer.prepare(folder)
            with way.opened(folder) as entry:
                row |= await _under_a_host(peer, way, entry, folder)
        except parts.Missing:
            raise
        except Exception as error:
            row["fault"] = f"{type(error).__name__}: {error}"
    return row


async def _under_a_host(peer: Peer, way: Way, entry: dict[str, Any], folder: Path) -> dict[str, str]:
    asking = {"may_ask": True, "sampling_model": "scripted/echo", "roots": [str(folder)]}
    patience = {"timeout": 120.0, "probe_timeout": 20.0}
    entry = {**entry, **patience, "mode": way.mode, "sandbox": "none", **asking}
    config = {"host": {"hook_timeout": 120.0, "timeout": 120.0}, "servers": {"peer": entry}}
    async with Host(config, environ={}, on_elicit=elicited) as host:
        return await _asked(host, peer, way, folder)


async def _asked(host: Host, peer: Peer, way: Way, folder: Path) -> dict[str, str]:
    offered: dict[str, list[Any]] = {}
    for thing in ("tools", "resources", "prompts"):
        for offer in await host.offers(thing):
            if offer.instance == "peer":
                if offer.error is not None:
                    raise offer.error
                offered[thing] = list(offer.items)
    [health] = [each.health for each in await host.health() if each.name == "peer"]
    protocol = health.data["protocol"]
    assert protocol == way.protocol, f"{protocol} is spoken, not {way.protocol}"
    assert len(offered["tools"]) >= peer.tools, f"{len(offered['tools'])} tools in place of {peer.tools}"
    calls = [call for call in peer.calls if "questions" not in way.lacks or not call.asks]
    for call in calls:
        await _call(host, call, folder, streams="progress" not in way.lacks)
    behaved = [words async for words in _behaviour(host, way)] if peer.behaves else []
    for uri, said in peer.reads:
        read = await host.call(ReadResource(uri).to("peer"))
        assert said in read.text, f"{uri} holds {read.text!r}, not {said!r}"
    for name, arguments in peer.prompts:
        prompt = await host.call(GetPrompt(arguments).to(f"peer/{name}"))
        assert prompt.messages, f"{name} rendered nothing"
    counts = [counted(items, thing[:-1]) for thing, items in offered.items() if items]
    done = [_told(calls, streams="progress" not in way.lacks)] if calls else ["listed"]
    done += behaved
    done += [f"{counted(peer.reads, 'resource')} read"] if peer.reads else []
    done += [f"{counted(peer.prompts, 'prompt')} rendered"] if peer.prompts else []
    return {"protocol": protocol, "offers": ", ".join(counts), "exercised": ", ".join(done)}


async def _call(host: Host, call: Call, folder: Path, *, streams: bool) -> None:
    given = {
        key: value.format(folder=folder) if isinstance(value, str) else value
        for key, value in call.given.items()
    }
    request = ToolCall(given).to(f"peer/{call.tool}")
    if call.progress and streams:
        async with host.stream(request) as stream:
            came = [event async for event in stream if event.type == "progress"]
            reply = stream.reply
        assert len(came) >= call.progress, f"{call.tool} told its progress {len(came)} times"
    else:
        reply = await host.call(request)
    assert reply.is_error == call.fails, f"{call.tool}: {reply.text}"
    text = reply.text + json.dumps(_plain(reply.data), ensure_ascii=False)
    said = call.said.replace("{folder}", str(folder))
    assert said in text, f"{call.tool} said {reply.text!r}, without {said!r}"


async def _behaviour(host: Host, way: Way) -> AsyncIterator[str]:
    """Call many times at once, cancel a call, and have the list change; says what was seen."""
    sums = [host.call(ToolCall({"a": n, "b": n}).to("peer/add")) for n in range(AT_ONCE)]
    said = [reply.text for reply in await asyncio.gather(*sums)]
    assert said == [str(2 * n) for n in range(AT_ONCE)], f"the sums were {said}"
    yield f"{AT_ONCE} calls at once"
    if "cancelling" not in way.lacks:
        async with host.stream(ToolCall().to("peer/wait")) as stream:
            await anext(event async for event in stream if event.type == "progress")
        await _until(lambda: _stopped(host), "no call was cancelled there")
        yield "one cancelled"
    if "changes" not in way.lacks:
        await _until(lambda: _grown(host), "no tool came to be listed")
        yield "a new tool heard of"


async def _until(seen: Callable[[], Awaitable[bool]], fault: str) -> None:
    """Ask again and again; raises `AssertionError` where it is not seen in a minute."""
    try:
        async with asyncio.timeout(60.0):
            while not await seen():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(fault) from None


async def _stopped(host: Host) -> bool:
    return (await host.call(ToolCall().to("peer/cancelled"))).text != "0"


async def _grown(host: Host) -> bool:
    """Have it offer one more tool; one may be missed, where the stream for news does not stand yet."""
    await host.call(ToolCall().to("peer/grow"))
    for _ in range(20):
        [offer] = [each for each in await host.offers("tools") if each.instance == "peer"]
        if any(tool.name.startswith("grown_") for tool in offer.items):
            return True
        await asyncio.sleep(0.05)
    return False


def _told(calls: Sequence[Call], *, streams: bool) -> str:
    """What the calls showed, in words."""
    asking = sum(call.asks for call in calls)
    words = [
        (f"{asking} that asked back", asking),
        ("one with progress", streams and any(call.progress for call in calls)),
        ("one that failed", any(call.fails for call in calls)),
    ]
    said = ", ".join(word for word, holds in words if holds)
    return f"{counted(calls, 'tool')} called" + (f" ({said})" if said else "")


def counted(things: Sized, one: str) -> str:
    return f"{len(things)} {one}{'' if len(things) == 1 else 's'}"


def _plain(value: Any) -> Any:
    return value if isinstance(value, (dict, list, str, int, float, type(None))) else str(value)


async def main(names: Sequence[str] = ()) -> None:
    rows = []
    for peer in SERVERS:
        for way in peer.ways:
            if names and not any(name in f"{peer.name}, {way.wire}" for name in names):
                continue
            try:
                rows.append(await examine(peer, way))
            except parts.Missing as missing:
                sys.stderr.write(f"{peer.name}, {way.wire}: SKIPPED: {missing}\n")
    print(json.dumps(rows, ensure_ascii=False))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
