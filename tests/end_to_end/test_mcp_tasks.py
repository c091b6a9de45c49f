"""A host as an MCP server whose upstreams make tasks of their calls: clients that take tasks, and others."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gleitzeit_plugin_mcp import tasks as following
from gleitzeit_plugin_mcp.serve import tasks
from mcp import Client
from mcp_types import ElicitResult

from gleitzeit import Host
from gleitzeit.plugin import Plugin
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.values import Progress, Reply, TextPart, ToolCall
from plugins.transports.http.tests.script import result, say
from tests.end_to_end.mcp_serving import LONG, PATIENT, text

UPSTREAM = Path(__file__).parents[2] / "plugins" / "providers" / "mcp" / "tests" / "tasks_server.py"
MODERN = "2026-07-28"
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])
ENDS = ("completed", "failed", "cancelled")


class Wire:
    """A modern client by hand, which says of itself what a test wants."""

    def __init__(self, http: httpx2.AsyncClient, url: str, log: Path) -> None:
        self.http, self.url, self.log = http, url, log

    async def ask(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        can: Any = TASKS,
        progress: bool = False,
        **headers: str,
    ) -> dict[str, Any]:
        """The answer, whatever it is; with `progress` the last of what was said."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": can,
            **({"progressToken": "t"} if progress else {}),
        }
        named = {"Mcp-Name": params.get("name") or params.get("taskId") or ""}
        answer = await self.http.post(
            self.url,
            json={"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}},
            headers={
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": MODERN,
                "Mcp-Method": method,
                **named,
                **{key.replace("_", "-"): value for key, value in headers.items()},
            },
        )
        found: dict[str, Any] = json.loads(answer.text.rpartition("data: ")[2])
        return found

    async def result(self, method: str, params: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """What was asked for."""
        answer = await self.ask(method, params, **more)
        assert "result" in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    async def begin(self, tool: str, can: Any = TASKS, **given: Any) -> str:
        """Call a tool, which becomes a task; gives its name."""
        created = await self.result("tools/call", {"name": f"up__{tool}", "arguments": given}, can=can)
        assert created["resultType"] == "task", created
        found: str = created["taskId"]
        return found

    async def until(self, id: str, *statuses: str, can: Any = TASKS) -> dict[str, Any]:
        """The task, once it has one of the statuses."""
        while True:
            task = await self.result("tasks/get", {"taskId": id}, can=can)
            assert task["resultType"] == "complete"
            if task["status"] in statuses:
                return task
            assert task["status"] not in ENDS, task
            await asyncio.sleep(0.01)

    def heard(self, method: str) -> list[dict[str, Any]]:
        """What the upstream heard."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [each for each in map(json.loads, lines) if each.get("method") == method]

    async def eventually(self, check: Callable[[], Any]) -> None:
        """Wait for what can only be looked for."""
        while not check():
            await asyncio.sleep(0.01)


@pytest.fixture
def serving(tmp_path: Path) -> Any:
    """Runs a host that serves an upstream with tasks."""

    @asynccontextmanager
    async def run(
        era: str = "modern", token: Any = None, plugins: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Wire]:
        log = tmp_path / "heard.jsonl"
        options = json.dumps({"era": era, "log": str(log)})
        up = {
            "command": sys.executable,
            "args": [str(UPSTREAM), options],
            "sandbox": "none",
            "mode": era,
            "timeout": LONG,
        }
        config = {"host": PATIENT, "servers": {"up": up}}
        async with (
            asyncio.timeout(LONG),
            Host(config, environ={}, plugins=plugins) as host,
            host.mcp_server().http(token=token) as url,
            httpx2.AsyncClient(timeout=LONG) as http,
        ):
            yield Wire(http, url, log)

    return run


@ERAS
async def test_who_takes_tasks_gets_one_of_the_hosts_own(serving: Any, era: str) -> None:
    async with serving(era) as wire:
        discovered = await wire.result("server/discover", {})
        assert "io.modelcontextprotocol/tasks" in discovered["capabilities"]["extensions"]
        created = await wire.result("tools/call", {"name": "up__work", "arguments": {"steps": 4}})
        assert created["status"] == "working"
        assert not {"result", "error", "inputRequests", "requestState", "task"} & set(created)
        assert isinstance(created["ttlMs"], int)
        assert isinstance(created["pollIntervalMs"], int)
        id = created["taskId"]
        assert id != "task-1"
        assert len(id) >= 32
        task = await wire.until(id, "completed")
        assert task["result"]["content"] == [{"type": "text", "text": "done"}]
        assert task["result"]["structuredContent"] == {"steps": 4}
        again = await wire.result("tasks/get", {"taskId": id})
        assert (again["status"], again["result"]) == ("completed", task["result"])
        assert again["lastUpdatedAt"] == task["lastUpdatedAt"]
        assert "_meta" not in task["result"]
        assert len(wire.heard("tools/call")) == 1
        plain = await wire.result("tools/call", {"name": "up__plain", "arguments": {}})
        assert plain["content"][0]["text"] == "at once"
        assert await wire.result("tasks/cancel", {"taskId": id}) == {
            "resultType": "complete",
            "_meta": plain["_meta"],
        }
        assert wire.heard("tasks/cancel") == []


@ERAS
async def test_who_takes_no_tasks_gets_the_result_when_it_is_there(serving: Any, era: str) -> None:
    async def elicit(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with serving(era) as wire:
        call = {"name": "up__work", "arguments": {}}
        done = await wire.result("tools/call", call, can={}, progress=True)
        assert done["content"][0]["text"] == "done"
        assert "taskId" not in done
        listed = (await wire.result("tools/list", {}))["tools"]
        assert [tool for tool in listed if "execution" in tool] == []  # else some clients refuse to call it
        modes: Any = ("legacy", "auto")
        for mode in modes:
            async with Client(wire.url, mode=mode, elicitation_callback=elicit) as client:
                said = text(await client.call_tool("up__ask", {}))
                assert said.count("Ada") == (1 if era == "legacy" else 2)


@ERAS
async def test_what_a_task_asks_its_client_answers_bit_by_bit(serving: Any, era: str) -> None:
    can = {**TASKS, "elicitation": {}}
    async with serving(era) as wire:
        id = await wire.begin("ask", can=can)
        task = await wire.until(id, "input_required", can=can)
        keys = list(task["inputRequests"])
        while len(keys) < (1 if era == "legacy" else 2):  # they may be put one after the other
            task = await wire.until(id, "input_required", can=can)
            keys = list(task["inputRequests"])
        assert {each["method"] for each in task["inputRequests"].values()} == {"elicitation/create"}
        for number, key in enumerate(keys):
            answer = {"action": "accept", "content": {"number": number}}
            given = {"taskId": id, "inputResponses": {key: answer, "nobody": answer}}
            assert (await wire.result("tasks/update", given, can=can))["resultType"] == "complete"
            if number + 1 < len(keys):
                rest = await wire.until(id, "input_required", can=can)
                assert list(rest["inputRequests"]) == keys[number + 1 :]
        done = await wire.until(id, "completed", can=can)
        assert '"number": 0' in done["result"]["content"][0]["text"]


@ERAS
async def test_cancelling_and_failing_reach_the_other_side(
    serving: Any, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(era) as wire:
        call = {"name": "up__work", "arguments": {"steps": 10**9}}
        id = (await wire.result("tools/call", call, progress=True))["taskId"]
        while "step" not in (await wire.until(id, "working")).get("statusMessage", ""):
            await asyncio.sleep(0.01)
        await wire.result("tasks/cancel", {"taskId": id})
        assert "result" not in await wire.until(id, "cancelled")
        await wire.eventually(lambda: wire.heard("tasks/cancel"))
        failed = await wire.until(await wire.begin("break"), "failed")
        assert "boom" in failed["error"]["message"]
        assert isinstance(failed["error"]["code"], int)
        assert failed["statusMessage"] == failed["error"]["message"]
        assert "result" not in failed
        monkeypatch.setattr(following, "CANCEL", (LONG, LONG))
        # What runs when the host leaves is not left to itself.
        await wire.begin("work", steps=10**9)
    assert len(wire.heard("tasks/cancel")) == 2


async def test_a_task_is_only_for_who_began_it(serving: Any) -> None:
    async with serving(token={"ann": "a" * 20, "ben": "b" * 20}) as wire:
        ann, ben = ({"Authorization": f"Bearer {each * 20}"} for each in "ab")
        call = {"name": "up__work", "arguments": {"steps": 10**9}}
        id = (await wire.result("tools/call", call, **ann))["taskId"]
        about = {"taskId": id, "inputResponses": {}}
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            theirs = (await wire.ask(method, about, **ben))["error"]
            nobodys = (await wire.ask(method, {**about, "taskId": "x"}, **ben))["error"]
            assert theirs == nobodys == {"code": -32602, "message": "Task not found"}
            assert (await wire.ask(method, {}, **ann))["error"]["code"] == -32602
            unable = (await wire.ask(method, about, can={}, **ann))["error"]
            assert unable["code"] == -32021
            assert unable["data"] == {"requiredCapabilities": TASKS}
            astray = (await wire.ask(method, about, **ann, Mcp_Name="other"))["error"]
            assert astray["code"] == -32020
        listen = {"notifications": {"taskIds": [id]}}
        assert (await wire.ask("subscriptions/listen", listen, can={}, **ann))["error"]["code"] == -32021
        for method in ("tasks/list", "tasks/result"):
            assert (await wire.ask(method, about, **ann))["error"]["code"] == -32601
        assert (await wire.result("tasks/get", about, **ann))["status"] == "working"


async def test_tasks_are_bounded_in_number_and_in_age(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as wire:
        monkeypatch.setattr(tasks, "HELD", 0)
        waited = await wire.result("tools/call", {"name": "up__work", "arguments": {}})
        assert waited["content"][0]["text"] == "done"  # there was no room: it was waited for
        monkeypatch.setattr(tasks, "HELD", 1)
        monkeypatch.setattr(tasks, "KEPT", 0.0)
        id = await wire.begin("work", steps=10**9)
        await wire.eventually(lambda: wire.heard("tasks/cancel"))
        assert (await wire.ask("tasks/get", {"taskId": id}))["error"]["code"] == -32602
        await wire.begin("work", steps=10**9)  # and there is room again


@ERAS
async def test_a_host_follows_the_tasks_of_another(serving: Any, era: str) -> None:
    async with serving(era) as wire:
        config = {"host": PATIENT, "servers": {"inner": {"url": wire.url, "mode": "modern", "timeout": LONG}}}
        async with Host(config, environ={}) as outer:
            reply = await outer.call(ToolCall({"steps": 3}).to("inner/up__work"))
            assert (reply.text, reply.data) == ("done", {"steps": 3})
            async with outer.stream(ToolCall({"steps": 10**9}).to("inner/up__work")) as stream:
                assert (await _first(stream, Progress)).message.startswith("step")
            await wire.eventually(lambda: wire.heard("tasks/cancel"))
        assert len(wire.heard("tools/call")) == 2


async def _first(stream: Any, kind: type[Any]) -> Any:
    async for event in stream:
        if isinstance(event, kind):
            return event
    raise AssertionError("it has ended")


async def test_a_result_is_told_as_it_leaves_the_corridor(serving: Any) -> None:
    class Redacting(Plugin):
        def wrap_call(self, route: Any) -> Any:
            async def redacted(request: Any, call_next: Any) -> Any:
                await call_next(request)
                return Reply((TextPart("***"),))

            return redacted

    async with serving(plugins={"redacting": Redacting}) as wire:
        task = await wire.until(await wire.begin("work"), "completed")
        assert task["result"]["content"] == [{"type": "text", "text": "***"}]


class Guarded(LoopbackServer):
    """A server over HTTP that makes tasks, and wants another token before each second look."""

    def __init__(self, file: Path) -> None:
        super().__init__(self._respond)
        self.file = file
        self.calls: list[str] = []
        self.looks = 0
        self.token = "token-0"
        file.write_text(self.token)

    async def _respond(self, call: Call) -> None:
        message = call.json or {}
        method, id = message.get("method"), message.get("id")
        if call.headers.get("authorization") != f"Bearer {self.token}":
            await say(call, {"error": "who?"}, 401)
        elif method == "server/discover":
            versions = {"supportedVersions": [MODERN], "ttlMs": 0, "cacheScope": "private"}
            await say(call, result(id, capabilities={"tools": {}, **TASKS}, **versions, **COMPLETE))
        elif method == "tools/call":
            self.calls.append(self.token)
            await say(call, result(id, resultType="task", taskId="t", status="working", pollIntervalMs=20))
        elif method == "tasks/get":
            self.looks += 1
            if self.looks % 2 and self.looks < 6:
                self.token = f"token-{self.looks}"
                self.file.write_text(self.token)
            ended = {"status": "completed", "result": {"content": [{"type": "text", "text": "done"}]}}
            state = ended if self.looks == 6 else {"status": "working", "pollIntervalMs": 20}
            await say(call, result(id, taskId="t", **state, **COMPLETE))
        else:
            await say(call, result(id, tools=[{"name": "work", "inputSchema": {}}], **COMPLETE))


COMPLETE: dict[str, Any] = {"resultType": "complete"}


async def test_a_task_outlives_the_credentials_that_it_was_begun_with(tmp_path: Path) -> None:
    async with Guarded(tmp_path / "token") as server:
        auth = {"type": "bearer", "token": f"secret://file{tmp_path}/token"}
        entry = {"url": f"{server.address}/mcp", "mode": "modern", "auth": auth, "timeout": LONG}
        async with Host({"host": PATIENT, "servers": {"up": entry}}, environ={}) as host:
            reply = await host.call(ToolCall().to("up/work", timeout=LONG))
    assert reply.text == "done"
    assert server.calls == ["token-0"]
    assert server.token == "token-5"
