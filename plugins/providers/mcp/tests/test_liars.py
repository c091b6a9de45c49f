"""Whatever a server says, its session goes on, and so does everybody else."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig, stream
from gleitzeit_plugin_mcp.bridge import Inbox, Outbox

from gleitzeit.errors import ServerFaultError
from gleitzeit.kinds import Frame
from gleitzeit.values import Progress, TextDelta, ToolCall

Start = Callable[..., Any]
GIANT = "9" * 400


def says(method: str, **params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}) + "\n"


def progresses(rest: str) -> str:
    """A progress notification of the call under way."""
    head = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":@TOKEN@,'
    return head + rest + "}}\n"


def answers(id: str, rest: str = '"result":{}') -> str:
    return f'{{"jsonrpc":"2.0","id":{id},{rest}}}\n'


#: What must not keep the true answer, which follows it, from arriving.
LIES = [
    *(
        answers(id)
        for id in ("true", "null", "1.5", "[1]", "{}", '"x"', "-1", "999", GIANT, "9" * 5000, "NaN")
    ),
    answers("7777", '"error":{"code":"x","message":5}'),
    answers("7777", f'"error":{{"code":{GIANT},"message":"x"}}'),
    answers("7777", '"result":{},"error":{"code":1,"message":"x"}'),
    answers("@ID@", '"id":7777,"result":{}'),
    '{"id":7777,"result":{}}\n',
    '{"jsonrpc":"2.0","method":5}\n',
    '{"jsonrpc":"2.0","method":null,"id":3}\n',
    '{"jsonrpc":"2.0","method":["x"],"id":3}\n',
    '{"jsonrpc":"2.0","method":"notifications/message","params":[1,2]}\n',
    '{"jsonrpc":"2.0","method":"notifications/cancelled","id":null,"params":{"requestId":1}}\n',
    progresses(f'"progress":{GIANT}'),
    progresses(f'"progress":1,"total":{GIANT}'),
    progresses('"progress":NaN'),
    progresses('"progress":1e999'),
    progresses('"progress":"abc","statusMessage":"x"'),
    progresses('"progress":1,"message":{"a":1}'),
    says("notifications/progress", progressToken=[1], progress=1),
    says("notifications/progress", progressToken={"a": 1}, progress=1),
    '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"\\ud800"}}\n',
    says("notifications/message", level=["x"], data=1),
    says("notifications/message", level="error").replace(
        '"error"', '"error","data":' + "[" * 900 + "]" * 900
    ),
    says("notifications/resources/updated", uri=[1]),
    says("notifications/elicitation/complete", elicitationId=[1]),
    says("notifications/tasks", taskId=5),
    says("notifications/cancelled", requestId=[1]),
    says("notifications/cancelled", requestId=True),
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":@ID@}}\n',
    '{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":[1]}\n',
    '{"jsonrpc":"2.0","id":true,"method":"ping"}\n',
    '{"jsonrpc":"2.0","id":[1],"method":"ping"}\n',
    "\xef\xbb\xbf" + says("notifications/x"),
    says("notifications/x").replace("\n", "\r\n"),
    '{"jsonrpc":"2.0","method":"\xff\xfe"}\n',
    "\0" * 1000 + "\n",
    "[" * 100_000 + "\n",
    answers("7777", '"result":' + '{"a":' * 3000 + "1" + "}" * 3000),
    "[]\n",
    "[" + says("notifications/x").strip() + ",5]\n",
    says("notifications/x") * 5000,
]


async def test_lies_end_neither_the_session_nor_the_call(start: Start) -> None:
    config = McpConfig(
        command=sys.executable,
        args=(str(Path(__file__).with_name("liar.py")),),
        mode="modern",
        log_level="debug",
    )
    async with start(config=config) as provider:
        pid = await provider.pid()
        for lie in LIES:
            for streamed in (False, True):
                request = ToolCall({"raw": lie}).to("say", timeout=50, stream=streamed)
                reply = await provider.reply(request)
                assert (reply.text, await provider.pid()) == ("fine", pid), lie[:100]
        with pytest.raises(ServerFaultError):
            await provider.reply(
                ToolCall({"raw": answers("@ID@", '"error":{"code":1,"message":"x"}')}).to("say")
            )


class Endless:
    """A wire on which everything has come already."""

    def __init__(self, message: dict[str, Any], times: int) -> None:
        self._frames = iter([Frame(message)] * times)
        self.lost = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Frame]:
        for frame in self._frames:
            yield frame


async def test_a_flood_leaves_turns_to_others_and_does_not_reach_the_sdk() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    wire: Any = Endless({"jsonrpc": "2.0", "method": "notifications/x"}, 10_000)
    inbox = Inbox(wire, lambda method, params: False, Outbox(wire))
    beside = asyncio.create_task(other())
    assert [each async for each in inbox] == []
    beside.cancel()
    await asyncio.wait({beside})
    assert inbox.dropped == 10_000
    assert turns > 20


async def test_numbers_that_are_none_are_left_out_of_progress(start: Start) -> None:
    """Beside those that are."""
    config = McpConfig(
        command=sys.executable, args=(str(Path(__file__).with_name("liar.py")),), mode="modern", deltas=False
    )
    raw = progresses(f'"progress":{GIANT}') + progresses(f'"progress":2,"total":{GIANT}')
    async with start(config=config) as provider:
        call = await provider.call(provider.aimed(ToolCall({"raw": raw}).to("say", stream=True)))
        seen = [event async for event in call if isinstance(event, Progress)]
    assert [(each.progress, each.total) for each in seen] == [(2.0, None)]


def test_a_reader_who_is_slow_gets_all_text_in_few_events() -> None:
    """Joining each piece to all before it took minutes of everybody's time."""
    queue = stream._Queue(deltas=True)
    for number in range(200_000):
        queue.put({"message": f"{number:05} "})
        if number % 10 == 0:
            queue.put({"progress": number, "statusMessage": "busy"})
    events = list(iter(queue.take, None))
    assert "".join(each.text for each in events if isinstance(each, TextDelta)) == "".join(queue.said)
    assert len(events) == stream.AHEAD + 2
    assert [each.progress for each in events if isinstance(each, Progress)][-1] == 199_990
    queue.put({"message": "and on"})
    assert queue.take() == TextDelta("and on")
