"""Servers that nobody here wrote, as they come from PyPI."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig

from gleitzeit import Host
from gleitzeit.errors import ProcessDiedError
from gleitzeit.values import Invoke, ToolCall

Start = Callable[..., Any]
Published = Callable[[str], str]


@pytest.fixture
def repository_here(tmp_path: Path) -> Path:
    """A repository with one commit, whatever the machine knows of git identities."""
    path = tmp_path / "work"
    who = {
        f"GIT_{role}_{what}": "x@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": os.devnull, **who}
    (path / "docs").mkdir(parents=True)
    (path / "docs" / "big.txt").write_text("line\n" * 100_000)
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "Begin the log")):
        subprocess.run(["git", *command], cwd=path, env=env, check=True)
    return path


@pytest.mark.feature("S001-09")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_time_server_answers_in_both_eras(start: Start, published: Published, mode: str) -> None:
    entry = {"command": published("mcp-server-time"), "args": ["--local-timezone", "Europe/Vienna"]}
    config = McpConfig.model_validate({**entry, "mode": mode})
    async with start(config=config) as provider:
        tools = {tool.name: tool for tool in await provider.provide_tools()}
        assert set(tools) == {"convert_time", "get_current_time"}
        assert tools["get_current_time"].input_schema["required"] == ["timezone"]
        reply = await provider.reply(ToolCall({"timezone": "Asia/Tokyo"}).to("get_current_time"))
        assert reply.data["timezone"] == "Asia/Tokyo"
        found = await provider.reply(Invoke("convert_time", args=("UTC", "12:00", "Asia/Tokyo")).to(""))
        assert found.data["target"]["datetime"].split("T")[1].startswith("21:00")
        wrong = await provider.reply(ToolCall({"timezone": "Mars/Base"}).to("get_current_time"))
        assert wrong.is_error
        health = await provider.health(deep=True)
    assert health.status == "ok"
    assert health.data["era"] == ("legacy" if mode == "legacy" else "modern")
    assert health.data["sandbox"] == "none"


@pytest.mark.feature("S001-09")
async def test_the_git_server_works_on_a_repository(
    start: Start, published: Published, repository_here: Path
) -> None:
    config = McpConfig(command=published("mcp-server-git"), args=("--repository", str(repository_here)))
    path = {"repo_path": str(repository_here)}
    async with start(config=config) as provider:
        assert len(await provider.provide_tools()) >= 12
        assert "Begin the log" in (await provider.reply(ToolCall(path).to("git_log"))).text
        large = await provider.reply(ToolCall({**path, "revision": "HEAD"}).to("git_show"))
        assert large.text.count("line") >= 100_000


@pytest.mark.feature("S000-14")
async def test_a_killed_server_harms_no_other_and_comes_back(
    start: Start, published: Published, gone: Callable[[int], bool]
) -> None:
    config = McpConfig(command=published("mcp-server-time"))
    now = ToolCall({"timezone": "UTC"}).to("get_current_time")
    async with start(config=config) as killed, start(config=config) as other:
        pid = await killed.pid()
        assert pid != await other.pid()
        calls = asyncio.gather(*(killed.reply(now) for _ in range(10)), return_exceptions=True)
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert {type(found) for found in await calls} == {ProcessDiedError}
        assert (await other.reply(now)).data["timezone"] == "UTC"
        assert (await killed.reply(now)).data["timezone"] == "UTC"
        assert (await killed.health()).data["restarts"] == 1
        last = await killed.pid()
    assert gone(last)


@pytest.mark.feature("S003-14")
async def test_published_servers_are_deployed_and_scaled_while_the_host_runs(
    published: Published, repository_here: Path, gone: Callable[[int], bool]
) -> None:
    entry = {"command": published("mcp-server-time"), "sandbox": "none"}
    git = {"command": published("mcp-server-git"), "sandbox": "none", "tags": ["code"]}
    now = ToolCall({"timezone": "UTC"}).to("clock/get_current_time")
    async with Host({}, environ={"HOME": str(repository_here)}) as host:
        await asyncio.gather(host.servers.deploy("clock", entry), host.servers.deploy("git", git))
        listed = await host.servers.execute("git", {"method": "tools/list"})
        assert "git_log" in {tool["name"] for tool in listed.data["tools"]}
        log = await host.call(ToolCall({"repo_path": str(repository_here)}).to("git/git_log"))
        assert "Begin the log" in log.text
        assert (await host.call(now)).data["timezone"] == "UTC"
        calls = [asyncio.create_task(host.call(now)) for _ in range(10)]
        await host.servers.scale("clock", 2)
        calls += [asyncio.create_task(host.call(now)) for _ in range(10)]
        await host.servers.scale("clock", 1)
        assert {(await call).data["timezone"] for call in calls} == {"UTC"}
        assert [(each.name, each.state, each.tags) for each in await host.servers.list()] == [
            ("clock", "ready", ()),
            ("git", "ready", ("code",)),
        ]
        [clock] = [each for each in await host.health() if each.name == "clock"]
        await host.servers.undeploy("clock")
        assert gone(clock.health.data["pid"])
        status = await host.servers.status()
        assert (status.total, status.healthy) == (1, 1)
