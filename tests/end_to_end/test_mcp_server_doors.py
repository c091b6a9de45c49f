"""Who gets in, and how a server ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gleitzeit import Host
from gleitzeit.cli import main
from gleitzeit.errors import ConfigError, PluginNotFoundError
from tests.end_to_end.mcp_serving import LONG, SERVE, text, written

TOKEN = "a-token-of-ours"
PING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def body(**more: Any) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {**PING, "params": {"_meta": meta}, **more}


HEADERS = {**ACCEPT, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}


async def test_without_the_token_nobody_gets_in() -> None:
    async with Host({}, environ={}) as host, host.mcp_server().http(token=TOKEN) as url:
        async with httpx2.AsyncClient() as http:
            for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                answer = await http.post(url, json=body(), headers={**HEADERS, **given})
                assert answer.status_code == 401
                assert "Bearer" in answer.headers["www-authenticate"]
            given = {"Authorization": f"Bearer {TOKEN}"}
            answer = await http.post(url, json=body(), headers={**HEADERS, **given})
            assert answer.status_code == 200
        async with (
            httpx2.AsyncClient(headers=given) as http,
            Client(streamable_http_client(url, http_client=http), mode="legacy") as session,
        ):
            assert (await session.call_tool("list_models", {})).structured_content is not None


async def test_a_page_of_somebody_elses_is_refused() -> None:
    async with Host({}, environ={}) as host, host.mcp_server().http() as url, httpx2.AsyncClient() as http:
        for strange, status in (({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)):
            answer = await http.post(url, json=body(), headers={**HEADERS, **strange})
            assert answer.status_code == status
        assert (await http.post(url, json=body(), headers=HEADERS)).status_code == 200


async def test_beyond_this_machine_a_token_is_required_before_anything_is_opened() -> None:
    async with Host({}, environ={}) as host:
        server = host.mcp_server()
        for transport, address in (("http", "0.0.0.0"), ("grpc", "0.0.0.0:0")):
            front = server.http(address) if transport == "http" else server.listen(transport, address)
            with pytest.raises(ConfigError, match="other machines"):
                async with front:
                    pytest.fail("it is open")
        with pytest.raises(PluginNotFoundError):
            async with server.listen("pigeon", "roof"):
                pytest.fail("it is open")


async def test_a_port_that_is_taken_is_said() -> None:
    async with Host({}, environ={}) as host, host.mcp_server().http() as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConfigError, match=f"{port} cannot be listened on"):
            async with host.mcp_server().http(port=port):
                pytest.fail("it is open")


@pytest.mark.parametrize("option", ["--token", "--state-key"])
def test_a_secret_on_the_command_line_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "serve", "--transport", "http", option, TOKEN]) == 2
    told = capsys.readouterr().err
    assert "secret://env/NAME" in told
    assert TOKEN not in told


def test_a_state_key_that_is_too_short_is_said_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_KEY", "short")
    words = ["mcp", "serve", "--transport", "http", "--port", "0", "--state-key", "secret://env/STATE_KEY"]
    assert main(words) == ConfigError.exit_code
    told = capsys.readouterr().err
    assert "has 5 bytes, of the 32" in told
    assert "serving" not in told


async def test_a_signal_lets_answers_in_flight_come(tmp_path: Path) -> None:
    words = [*SERVE, "--config", written(tmp_path), "--transport", "http", "--port", "0"]
    words += ["--set", "host.drain_timeout=120"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    assert process.stdout is not None
    begun = asyncio.Event()

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        begun.set()

    try:
        async with asyncio.timeout(LONG):
            while "serving MCP at" not in (line := (await process.stderr.readline()).decode()):
                assert line
            async with Client(line.split()[-1]) as session:
                await session.list_tools()  # it validates results by this list, and would ask later
                asked = {"model": "scripted/slow", "messages": [{"role": "user", "content": "hi"}]}
                call = asyncio.create_task(session.call_tool("chat", asked, progress_callback=progress))
                await begun.wait()
                process.send_signal(signal.SIGTERM)
                said = await call
            assert said.structured_content["finish_reason"] == "stop"
            assert text(said)
            assert await process.wait() == 128 + signal.SIGTERM
            assert await process.stdout.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await process.stderr.read()


async def test_what_is_printed_does_not_disturb_the_wire(tmp_path: Path) -> None:
    """Lines by hand: blank, junk and unknown ones are passed over, and the process ends with its input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *SERVE,
        "--config",
        written(tmp_path),
        "--no-models",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LONG):
            process.stdin.write(b"\nthis is no json\n" + json.dumps(body()).encode() + b"\n")
            answer = json.loads(await process.stdout.readline())
            assert answer["id"] == 1
            assert "up__echo" in [tool["name"] for tool in answer["result"]["tools"]]
            process.stdin.close()
            assert await process.stdout.read() == b""
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_file_as_standard_input_is_refused_with_the_next_step(tmp_path: Path) -> None:
    config = written(tmp_path)
    with open(config) as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *SERVE,
            "--config",
            config,
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    out, told = await process.communicate()
    assert process.returncode == ConfigError.exit_code
    assert out == b""
    assert b"serve over http" in told
