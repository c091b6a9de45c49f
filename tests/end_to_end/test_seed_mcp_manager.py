"""One host over native and MCP providers: who has a model, who stands, who fails, what is counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from gleitzeit import Chat, GleitzeitError, Host, Invoke, Model, Provider, Reply, Request, ToolCall
from gleitzeit.errors import DeadlineError, PluginError, ServerFaultError, UnknownModelError, WireError

SERVER = str(Path(__file__).resolve().parents[2] / "plugins/providers/mcp/tests/server.py")
#: Seconds; long enough for any machine.
LONG = 120
PATIENT = {"timeout": LONG, "hook_timeout": LONG, "start_timeout": LONG, "drain_timeout": LONG}
TEXT = {"type": "object", "properties": {"prompt": {"type": "string"}}}
#: A server with a model, and with the tool that seed 000 calls it by.
WRITER = {"tools": {"generate_text": TEXT}}


def scripted(server: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An entry of `[servers]` for the scripted server of the plugin's own tests."""
    args = [SERVER, json.dumps(server or {})]
    base = {"command": sys.executable, "args": args, "sandbox": "none", "mode": "modern", "timeout": LONG}
    return {**base, **more}


def entries(**servers: dict[str, Any]) -> dict[str, Any]:
    """A configuration in which no other distribution has a provider."""
    return {"host": {**PATIENT, "allow": ["gleitzeit-plugin-mcp*"]}, "servers": servers}


class Native(Provider):
    """An extension in Python, with a method beside its model."""

    def provide_models(self) -> list[Model]:
        """One."""
        return [Model("native-1", capabilities={"text"})]

    async def call(self, request: Request) -> Reply:
        """Repeats what it is told."""
        operation = request.operation
        if isinstance(operation, Invoke):
            prompt = operation.args[0] if operation.args else operation.arguments["prompt"]
            return Reply(f"{operation.method}: {prompt}")
        return Reply("native", finish_reason="stop")


def gone(pid: int) -> bool:
    """Has the process ended?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def pid_of(host: Host, name: str) -> int:
    return int((await host.call(ToolCall({}).to(f"{name}/who"))).text)


async def numbers(host: Host) -> dict[str, int]:
    """Providers by kind, and how many of them are connected."""
    rows = [row for row in await host.health() if row.kind == "provider" and row.state != "disabled"]
    mcp = [row for row in rows if row.plugin == "mcp"]
    return {
        "total": len(rows),
        "mcp": len(mcp),
        "native": len(rows) - len(mcp),
        "connected": sum(row.connected for row in rows),
    }


@pytest.mark.feature("S000-16", "S000-17", "S000-21", "S000-22", "S000-29")
async def test_native_and_mcp_providers_are_found_started_counted_and_called_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (600.0, 600.0))
    config = entries(
        good=scripted(WRITER, models=["mcp-1", "mcp-2"]),
        bad={"command": "no-such-program", "sandbox": "none", "models": ["bad-1"]},
    )
    config["aliases"] = {"favourite": "mcp-2"}
    async with Host(config, plugins={"native": Native}, environ={}) as host:
        assert await numbers(host) == {"total": 3, "mcp": 2, "native": 1, "connected": 0}
        before = await host.provider_of("mcp-1")
        assert before is not None
        assert (before.name, before.plugin, before.connected) == ("good", "mcp", False)

        assert await host.start() == {"good": True, "bad": False, "native": True}
        assert await numbers(host) == {"total": 3, "mcp": 2, "native": 1, "connected": 2}
        found = {}
        for model in ("native-1", "mcp-1", "good/mcp-1", "favourite", "bad-1"):
            row = await host.provider_of(model)
            assert row is not None
            found[model] = row.name, row.plugin, row.connected
        assert found == {
            "native-1": ("native", "native", True),
            "mcp-1": ("good", "mcp", True),
            "good/mcp-1": ("good", "mcp", True),
            "favourite": ("good", "mcp", True),
            "bad-1": ("bad", "mcp", False),
        }
        assert await host.provider_of("nobody-1") is None
        offers = [each for each in await host.offers("models") if each.instance in ("good", "bad", "native")]
        models = {each.instance: [model.name for model in each.items] for each in offers}
        assert models == {"good": ["mcp-1", "mcp-2"], "bad": ["bad-1"], "native": ["native-1"]}

        for model, said in (("native-1", "generate_text: hi"), ("mcp-1", '{"prompt": "hi"}')):
            row = await host.provider_of(model)
            assert row is not None
            by_position = await host.call(Invoke("generate_text", args=("hi",)).to(row.name))
            by_keyword = await host.call(Invoke("generate_text", arguments={"prompt": "hi"}).to(row.name))
            assert (by_position.text, by_position.data) == (by_keyword.text, by_keyword.data)
            assert said in (by_position.text, (by_position.data or {}).get("text"))
        assert (await host.call(Chat("hi").to("native-1"))).text == "native"

        os.kill(await pid_of(host, "good"), signal.SIGKILL)
        while await host.servers.state("good") == "ready":
            await asyncio.sleep(0.005)
        assert await numbers(host) == {"total": 3, "mcp": 2, "native": 1, "connected": 1}
        row = await host.provider_of("mcp-1")
        assert row is not None
        assert (row.name, row.connected) == ("good", False)


@pytest.mark.feature("S000-10", "S000-13", "S004-20", "S001-01")
async def test_a_server_is_added_connected_disconnected_and_gone_with_its_host() -> None:
    async with Host(entries(), environ={}) as host:
        entry = scripted(
            WRITER,
            env={"API_KEY": "your-key"},
            models=["custom-model-v1", "custom-model-v2"],
            capabilities=["text", "custom-processing"],
            description="Custom LLM provider",
            kind="process",
        )
        await host.servers.deploy("custom-llm", entry)
        [server] = await host.servers.list()
        assert (server.name, server.kind, server.description) == (
            "custom-llm",
            "process",
            "Custom LLM provider",
        )
        [offer] = [each for each in await host.offers("models") if each.instance == "custom-llm"]
        assert [model.name for model in offer.items] == ["custom-model-v1", "custom-model-v2"]
        assert {model.capabilities for model in offer.items} == {frozenset({"text", "custom-processing"})}
        said = (await host.call(ToolCall({}).to("custom-llm/environment"))).data
        assert said["argv"] == entry["args"]
        assert said["env"]["API_KEY"] == "your-key"
        pid = said["pid"]

        await host.servers.stop("custom-llm")
        assert gone(pid)
        assert await host.servers.state("custom-llm") == "disabled"
        with pytest.raises(PluginError, match=r"disabled.*host\.servers\.start"):
            await host.call(ToolCall({}).to("custom-llm/who"))
        await host.servers.stop("custom-llm")
        assert await host.servers.start("custom-llm") is True
        assert await host.servers.start("custom-llm") is True
        again = await pid_of(host, "custom-llm")
        assert again != pid

        await host.servers.deploy("broken", {"command": "no-such-program", "sandbox": "none"})
        assert await host.servers.start("broken") is False
        with pytest.raises(UnknownModelError):
            await host.servers.start("nobody")
        assert (await host.servers.execute("custom-llm", {"method": "tools/list"})).data["tools"]
    assert gone(again)


@pytest.mark.feature("S000-25", "S004-23", "S004-29")
async def test_tools_succeed_or_fail_with_their_reason_and_are_counted() -> None:
    args = ["-m", "mcp_server_time"]
    time = {"command": sys.executable, "args": args, "sandbox": "none", "mode": "modern", "timeout": LONG}
    once: dict[str, Any] = {
        "retry": {"max_retries": 0},
        "circuit_breaker": {"enabled": False},
        "tools": {"hang": {"timeouts": {"attempt": 0.3}}},
    }
    async with Host(entries(up=scripted(**once), time=time), environ={}) as host:
        for _ in range(3):
            good = await host.call(ToolCall({"text": "hi"}).to("up/echo"))
            assert (good.is_error, good.text, good.data["text"]) == (False, "hi", "hi")
        for _ in range(2):
            failed = await host.call(ToolCall({}).to("up/fail"))
            assert (failed.is_error, failed.text) == (True, "the disk is full")
        async with host.stream(ToolCall({}).to("up/fail")) as stream:
            assert (await stream.collect()).is_error
        wrong = await host.call(ToolCall({"timezone": "Mars/Base"}).to("time/get_current_time"))
        assert wrong.is_error
        assert "Mars/Base" in wrong.text
        with pytest.raises(DeadlineError):
            await host.call(ToolCall({}).to("up/hang"))
        with pytest.raises(ServerFaultError, match="up") as fault:
            await host.call(ToolCall({"code": -32603}).to("up/refuse"))
        with pytest.raises(WireError, match="on fire") as dead:
            await host.call(ToolCall({}).to("up/die"))
        with pytest.raises(UnknownModelError, match="nobody") as unknown:
            await host.call(Invoke("generate_text", args=("hi",)).to("nobody"))
        assert all(isinstance(each.value, GleitzeitError) for each in (fault, dead, unknown))

        snapshot = host.snapshot()
        tools = {each.name: each for each in snapshot.tools()}
        assert {name: dict(each.outcomes) for name, each in tools.items()} == {
            "up/echo": {"ok": 3},
            "up/fail": {"tool_failed": 3},
            "time/get_current_time": {"tool_failed": 1},
            "up/hang": {"deadline": 1},
            "up/refuse": {"server_fault": 1},
            "up/die": {"process_died": 1},
        }
        assert (tools["up/fail"].failed, tools["up/echo"].failed, tools["up/hang"].timed_out) == (3, 0, 1)
        total = snapshot.total("up")
        assert dict(total.attempts) == {
            "ok": 3,
            "tool_failed": 3,
            "deadline": 1,
            "server_fault": 1,
            "process_died": 1,
        }
        assert (total.count, total.failed) == (9, 6)
