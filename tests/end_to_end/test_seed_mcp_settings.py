"""What a configuration says of MCP servers, and what is wrong with it: files, profiles, keys, doors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig
from pydantic import ValidationError

from gleitzeit import BlockingHost, Host, ToolCall
from gleitzeit.errors import AuthenticationError, ConfigError, DeadlineError, QueueFullError
from tests.end_to_end.test_seed_mcp_manager import LONG, PATIENT, gone, pid_of, scripted

NOW = ToolCall({"timezone": "UTC"})
TIME = {"command": sys.executable, "args": ["-m", "mcp_server_time"], "sandbox": "none", "mode": "modern"}
KEY = "sk-canary-of-mcp"
#: As lines of a file and as variables: a machine may be slow, and none of this is about time.
VARIABLES = {f"GLEITZEIT__HOST__{name.upper()}": str(seconds) for name, seconds in PATIENT.items()}
SLOW = "".join(f"{name} = {seconds}\n" for name, seconds in PATIENT.items())


class TransportType(StrEnum):
    """The wires, as an application may name them."""

    STDIO = "stdio"
    HTTP = "http"
    GRPC = "grpc"


@pytest.mark.feature("S000-11", "S003-01")
async def test_servers_of_a_json_file_are_connected_and_a_bad_field_is_named(tmp_path: Path) -> None:
    clock = {"name": "clock", **TIME}
    up = {"name": "up", **scripted(), "env": {"API_KEY": "${UP_KEY}"}, "models": ["m-1"]}
    del up["timeout"]  # programs disagree about its unit, so it is not taken from their files
    (tmp_path / "mcp_servers.json").write_text(json.dumps({"servers": [clock, up]}))
    file = tmp_path / "gleitzeit.toml"
    file.write_text(
        f"[host]\nmcp_files = ['mcp_servers.json']\n{SLOW}"
        f"[servers.clock]\ntimeout = {LONG}\n[servers.up]\ntimeout = {LONG}\n"
        "[servers.up.bulkhead]\nmax_calls = 1\nmax_queue = 0\n"
    )
    async with Host(file, environ={"UP_KEY": "k"}) as host:
        assert "UTC" in (await host.call(NOW.to("clock/get_current_time"))).text
        assert (await host.call(ToolCall({}).to("up/environment"))).data["env"]["API_KEY"] == "k"
        row = await host.provider_of("up/m-1")
        assert row is not None
        assert row.connected
        blocked = asyncio.create_task(host.call(ToolCall({}).to("up/hang")))
        while not next(each.in_flight for each in host.snapshot().instances if each.name == "up"):
            await asyncio.sleep(0.005)
        with pytest.raises(QueueFullError):  # a limit of the file
            await host.call(ToolCall({"text": "x"}).to("up/echo"))
        blocked.cancel()
        await asyncio.wait({blocked})

    (tmp_path / "mcp_servers.json").write_text(json.dumps({"servers": [clock, {**up, "args": "-m"}]}))
    async with Host(file, environ={"UP_KEY": "k"}) as host:  # the other one works all the same
        assert "UTC" in (await host.call(NOW.to("clock/get_current_time"))).text
        with pytest.raises(ConfigError, match=r"mcp_servers\.json.*args"):
            await host.call(ToolCall({}).to("up/who"))
    (tmp_path / "mcp_servers.json").write_text('{"servers": [')
    with pytest.raises(ConfigError, match=r"mcp_servers\.json:1: no valid JSON"):
        Host(file, environ={})
    with pytest.raises(ConfigError, match=r"none\.toml"):
        Host(tmp_path / "none.toml", environ={})
    async with Host(environ={"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), **VARIABLES}) as host:
        await host.servers.deploy("up", scripted())
        assert await pid_of(host, "up")


@pytest.mark.feature("S001-24")
@pytest.mark.parametrize("wire", ["stdio", TransportType.STDIO])
def test_an_entry_goes_through_a_dictionary_and_a_wrong_field_is_named(wire: str) -> None:
    entry: dict[str, Any] = {"transport": wire, "command": "npx", "args": ["-y", "server"], "env": {"A": "1"}}
    more = {"auth": {"type": "bearer", "token": KEY}, "tags": ["a"], "models": ["m"]}
    config = McpConfig.model_validate({**entry, **more})
    again = McpConfig(**config.model_dump())
    assert again == config
    assert again.wire == "stdio"
    assert McpConfig.model_validate_json(McpConfig(**entry).model_dump_json()) == McpConfig(**entry)
    assert KEY not in repr(config) + str(config.model_dump())
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("timeout", {**entry, "timeout": "soon"}),
        ("env", {**entry, "env": ["A"]}),
        ("instances", {**entry, "instances": 0}),
        ("url", {**entry, "url": "https://example.org/mcp"}),
        ("command", {"transport": TransportType.HTTP}),
        ("token", {**entry, "auth": {"type": "bearer"}}),
    ]
    for field, given in wrong:
        with pytest.raises(ValidationError, match=field):
            McpConfig(**given)
        with pytest.raises(ConfigError, match=field), BlockingHost({}, environ={}) as host:
            host.servers.deploy("wrong", {**given, "sandbox": "none"})


@pytest.mark.feature("S001-27", "S001-30")
async def test_profiles_lead_to_a_process_and_to_an_address_with_the_key_of_a_variable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    inner = Host({"providers": {"scripted": {}}}, environ={})
    async with inner, inner.mcp_server().http(token=KEY) as url:
        file = tmp_path / "gleitzeit.toml"
        file.write_text(
            f"""
            [host]\n{SLOW}
            [servers.main]
            timeout = {LONG}
            mode = "modern"
            [profiles.development.servers.main]
            command = {sys.executable!r}
            args = ["-m", "mcp_server_time"]
            sandbox = "none"
            [profiles.production.servers.main]
            url = {url!r}
            auth = {{ type = "bearer", token = "secret://env/MCP_API_KEY" }}
            """
        )
        async with Host(file, profile="development", environ={}) as host:
            assert "UTC" in (await host.call(NOW.to("main/get_current_time"))).text
        async with Host(file, profile="production", environ={"MCP_API_KEY": KEY}) as host:
            assert "scripted/hello" in (await host.call(ToolCall({}).to("main/list_models"))).text
            assert KEY not in str(host.config.show())
        async with Host(file, profile="production", environ={"MCP_API_KEY": f"{KEY}-wrong"}) as host:
            with pytest.raises(AuthenticationError) as refused:
                await host.call(ToolCall({}).to("main/list_models"))
        async with Host(file, profile="production", environ={}) as host:
            with pytest.raises(ConfigError, match="MCP_API_KEY"):
                await host.call(ToolCall({}).to("main/list_models"))
        with pytest.raises(ConfigError, match=r"no profile 'prodution'.*production"):
            Host(file, profile="prodution", environ={})
    assert caplog.records
    assert KEY not in caplog.text + str(refused.value) + repr(refused.value)


async def test_variables_set_the_limits_of_servers_and_a_bad_value_is_named() -> None:
    config = {"host": PATIENT, "servers": {"up": scripted()}}
    variables = {
        "GLEITZEIT__SERVERS__UP__TIMEOUTS__ATTEMPT": "0.5",
        "GLEITZEIT__SERVERS__UP__INSTANCES": "2",
        "GLEITZEIT__SERVERS__UP__BULKHEAD__MAX_CALLS": "7",
        "GLEITZEIT__HOST__HEALTH_INTERVAL": "60",
        "GLEITZEIT__HOST__HTTP__MAX_CONNECTIONS": "10",
    }
    async with Host(config, environ=variables) as host:
        assert await host.servers.start("up")
        [server] = await host.servers.list()
        assert server.instances == 2
        with pytest.raises(DeadlineError):
            await host.call(ToolCall({}).to("up/hang"))
        assert (host.config.host.health_interval, host.config.host.http.max_connections) == (60, 10)
    for name in variables:
        with pytest.raises(ConfigError, match=name):
            async with Host(config, environ={**variables, name: "many"}) as host:
                await host.call(ToolCall({}).to("up/who"))


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A port of loopback that somebody listens on, and that nobody is given who asks for any."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with contextlib.suppress(OSError):
            with closing(socket.create_server(("127.0.0.1", port))) as server:
                yield server
            return


@pytest.mark.feature("S003-21")
async def test_what_cannot_open_says_why_and_opens_once_the_way_is_free(
    taken: socket.socket, tmp_path: Path
) -> None:
    busy = tmp_path / "status"
    first = Host({"host": {"status_socket": str(busy)}}, environ={})
    config = {"host": {**PATIENT, "status_socket": str(busy)}, "servers": {"up": scripted()}}
    host = Host(config, environ={})
    async with first:
        with pytest.raises(ConfigError, match="status_socket"):
            await host.open()
    async with host:
        assert await pid_of(host, "up")
        server, port = host.mcp_server(), taken.getsockname()[1]
        async with AsyncExitStack() as doors:
            with pytest.raises(ConfigError, match=str(port)):
                await doors.enter_async_context(server.http(port=port))
        taken.close()
        async with server.http(port=port) as url:
            far = {"url": url, "mode": "modern", "timeout": LONG}
            async with Host({"host": PATIENT, "servers": {"far": far}}, environ={}) as client:
                assert (await client.call(ToolCall({"text": "hi"}).to("far/up__echo"))).text == "hi"


@pytest.mark.feature("S003-03")
async def test_stopping_is_awaited_in_async_code() -> None:
    host = Host({"host": PATIENT}, environ={})
    await host.open()
    await asyncio.gather(*(host.servers.deploy(f"server-{number}", scripted()) for number in range(2)))
    pids = await asyncio.gather(*(pid_of(host, f"server-{number}") for number in range(2)))
    await host.close()
    await host.close()
    assert all(map(gone, pids))


@pytest.mark.feature("S003-03")
def test_stopping_is_a_plain_call_in_sync_code() -> None:
    host = BlockingHost({"host": PATIENT}, environ={})
    host.open()
    host.servers.deploy("server", scripted())
    pid = int(host.call(ToolCall({}).to("server/who")).text)
    host.close()
    host.close()
    assert gone(pid)
