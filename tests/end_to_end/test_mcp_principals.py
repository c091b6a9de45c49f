"""Whose credentials an MCP server is shown: those of whoever calls, and never another's."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gleitzeit import Host
from gleitzeit.cli import main
from gleitzeit.errors import AuthenticationError, ConfigError, InvalidRequestError, UnsupportedError
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.values import Invoke, ReadResource, ToolCall
from plugins.transports.http.tests.authority import CLIENT, SECRET, Guarded
from plugins.transports.http.tests.script import answer, result, say
from tests.end_to_end.mcp_serving import text

SERVER = str(Path(__file__).parents[2] / "plugins" / "providers" / "mcp" / "tests" / "server.py")

#: None of these may be seen anywhere but at the server.
TOKENS = {"alice": "canary-of-alice-1", "bob": "canary-of-bob-1", "lists": "canary-of-lists-1"}


class Service(LoopbackServer):
    """Wants a token of `known`, and tells whose it was; each session belongs to one."""

    def __init__(self) -> None:
        super().__init__(self._respond)
        self.known = dict(zip(TOKENS.values(), TOKENS, strict=True))
        self.opened: list[str] = []
        self.ended: list[str] = []
        self.gate: dict[str, asyncio.Event] = {}

    async def _respond(self, call: Call) -> None:
        whose = self.known.get(call.headers.get("authorization", "").removeprefix("Bearer "))
        session = call.headers.get("mcp-session-id")
        message = call.json or {}
        if whose is None:
            await say(call, {"error": "who?"}, 401)
        elif session is not None and not session.startswith(f"{whose}-"):
            await say(call, None, 404)
        elif call.method == "DELETE":
            self.ended.append(whose)
            await say(call, None, 200)
        elif message.get("method") == "initialize":
            self.opened.append(whose)
            info = {"name": "service", "version": "1"}
            found = result(
                message["id"],
                protocolVersion="2025-11-25",
                capabilities={"tools": {}, "resources": {}},
                serverInfo=info,
            )
            await say(call, found, mcp_session_id=f"{whose}-{len(self.opened)}")
        elif message.get("method") == "tools/call":
            if whose in self.gate:
                await self.gate[whose].wait()
            await say(call, result(message["id"], content=[{"type": "text", "text": whose}]))
        elif message.get("method") == "prompts/get":
            quoted = f"what is {call.headers['authorization']}?\x1b[31m"
            error = {"code": -32602, "message": quoted}
            await say(call, {"jsonrpc": "2.0", "id": message["id"], "error": error})
        elif message.get("method") == "resources/read":
            found = {"contents": [{"uri": "x://y", "text": whose}], "ttlMs": 60_000, "cacheScope": "public"}
            await say(call, result(message["id"], **found))
        else:
            await answer(call)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the tokens of all, and a secret beside it that is nobody's."""
    folder = tmp_path / "keys"
    folder.mkdir()
    (tmp_path / "nobodys").write_text("canary-of-nobody")
    for name, token in TOKENS.items():
        (folder / name).write_text(f"{token}\n")
    return folder


def entry(service: Service, keys: Path, *, lists: bool = False, **more: Any) -> dict[str, Any]:
    theirs: dict[str, Any] = {"auth": {"type": "bearer", "token": f"secret://file{keys}/{{principal}}"}}
    theirs |= {} if lists else {"lists": "lists"}
    own = {"auth": {"type": "bearer", "token": f"secret://file{keys}/lists"}} if lists else {}
    found = {"url": f"{service.address}/mcp", "mode": "legacy", "per_principal": theirs}
    return {**found, **own, "options": {"mode": "streamable"}, **more}


@asynccontextmanager
async def hosted(**servers: Any) -> AsyncIterator[Host]:
    async with Host({"servers": servers}, environ={}) as host, asyncio.timeout(60):
        yield host


async def asked(host: Host, principal: str | None, tool: str = "desk/echo") -> str:
    return (await host.call(ToolCall().to(tool, principal=principal))).text


async def refused(host: Host, principal: str | None) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        await asked(host, principal)
    assert caught.value.sent is False
    return caught.value


async def test_each_principal_is_shown_as_itself_and_others_not_at_all(
    service: Service, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    with caplog.at_level(logging.DEBUG):
        async with hosted(desk=entry(service, keys)) as host:
            people = ["alice", "bob"] * 10
            assert await asyncio.gather(*(asked(host, each) for each in people)) == people
            assert sorted(service.opened) == ["alice", "bob", "lists"]
            before = len(service.requests)
            strange = [
                "carol",
                "../nobodys",
                "..",
                "/",
                "alice/",
                "alice\0",
                "",
                "ALICE",
                "ali\u0301ce",
                "\ud800",
            ]
            for name in strange:
                error = await refused(host, name)
                assert repr(name) in error.message
                assert "servers.desk" in (error.hint or "")
                told += [error, repr(error), error.to_dict()]
            error = await refused(host, None)
            assert "principal" in (error.hint or "")
            with pytest.raises(UnsupportedError):
                await host.call(
                    Invoke("resources/subscribe", arguments={"uri": "x://y"}).to("desk", principal="alice")
                )
            assert len(service.requests) == before
            told += [
                error,
                await host.health(),
                await host.servers.list(),
                host.snapshot(),
                repr(host),
            ]
            with pytest.raises(InvalidRequestError) as caught:
                await host.call(Invoke("prompts/get", arguments={"name": "x"}).to("desk", principal="bob"))
            assert "what is ***?" in caught.value.message
            assert caught.value.message.isprintable()
            told += [caught.value, repr(caught.value), caught.value.to_dict()]
            (keys / "alice").write_text("canary-of-alice-2")
            service.known.clear()
            error = await refused_by_server(host, "bob")
            assert "'bob'" in (error.hint or "")
            told += [str(error), repr(error), error.to_dict()]
    assert "canary" not in "\n".join([*map(str, told), caplog.text])


async def refused_by_server(host: Host, principal: str) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        await asked(host, principal)
    return caught.value


async def test_lists_and_calls_without_a_name_have_the_entrys_own(service: Service, keys: Path) -> None:
    async with hosted(desk=entry(service, keys, lists=True)) as host:
        [offer] = [each for each in await host.offers("tools") if each.instance == "desk"]
        assert [tool.name for tool in offer.items] == ["echo"]
        assert service.opened == ["lists"]
        for _ in range(2):
            assert await asked(host, "alice") == "alice"
            assert await asked(host, None) == "lists"
            for name, said in ((None, "lists"), ("bob", "bob"), ("alice", "alice")):
                request = ReadResource("x://y").to("desk", principal=name)
                assert (await host.call(request)).text == said
        assert (await refused(host, "carol")).message.startswith("server 'desk'")
        assert service.opened == ["lists", "alice", "bob"]


async def test_a_token_that_was_changed_opens_anew_for_its_principal_alone(
    service: Service, keys: Path
) -> None:
    async with hosted(desk=entry(service, keys, lists=True)) as host:
        for name in ("alice", "bob", None):
            await asked(host, name)
        for turn, name in enumerate(("alice", "lists")):
            del service.known[TOKENS[name]]
            service.known[f"canary-of-{name}-new"] = name
            (keys / name).write_text(f"canary-of-{name}-new")
            caller = None if name == "lists" else name
            assert await asyncio.gather(*(asked(host, caller) for _ in range(5))) == [name] * 5
            assert len(service.opened) == 4 + turn
        assert sorted(service.opened) == ["alice", "alice", "bob", "lists", "lists"]
        # Nothing new to be had: one question at the secrets, and the refusal stands.
        service.known.clear()
        assert (await refused_by_server(host, "bob")).status == 401
        service.known[TOKENS["bob"]] = "bob"
        assert await asked(host, "bob") == "bob"


async def test_sessions_are_bounded_and_the_one_that_rested_longest_makes_way(
    service: Service, keys: Path
) -> None:
    service.known["canary-of-carol"] = "carol"
    (keys / "carol").write_text("canary-of-carol")
    async with hosted(desk=entry(service, keys, max_instances=2)) as host:
        gate = service.gate["bob"] = asyncio.Event()
        assert await asked(host, "alice") == "alice"
        waiting = asyncio.create_task(asked(host, "bob"))
        while "bob" not in service.opened:
            await asyncio.sleep(0.01)
        assert await asked(host, "carol") == "carol"  # alice rests, bob does not
        while service.ended != ["alice"]:
            await asyncio.sleep(0.01)
        gate.set()
        assert await waiting == "bob"
        assert await asked(host, "bob") == "bob"
        assert service.opened == ["lists", "alice", "bob", "carol"]


async def test_one_file_may_hold_the_tokens_of_all(service: Service, tmp_path: Path) -> None:
    service.known["canary-of-dot"] = "someone@example.com"
    file = tmp_path / "all.json"
    file.write_text(json.dumps({**TOKENS, "someone@example.com": "canary-of-dot", "a%2Fb": TOKENS["bob"]}))
    theirs = {"headers": {"authorization": f"secret://file{file}#{{principal}}"}}
    service.known = {token.removeprefix("Bearer "): who for token, who in service.known.items()}
    own = {"auth": {"type": "bearer", "token": TOKENS["lists"]}}
    desk = {"url": f"{service.address}/mcp", "mode": "legacy", "per_principal": theirs, **own}
    async with hosted(desk=desk) as host:
        for name, said in (("alice", "alice"), ("someone@example.com",) * 2, ("a/b", "bob"), (None, "lists")):
            assert await asked(host, name) == said


async def test_each_principal_has_a_process_with_its_own_variables(tmp_path: Path, keys: Path) -> None:
    desk = {
        "command": sys.executable,
        "args": [SERVER, "{}"],
        "sandbox": "none",
        "mode": "modern",
        "env": {"TOKEN": ""},
        "per_principal": {"env": {"TOKEN": f"secret://file{keys}/{{principal}}"}},
    }
    async with hosted(desk=desk) as host:

        async def told(name: str) -> tuple[str, str]:
            found = await host.call(ToolCall().to("desk/environment", principal=name))
            return found.data["env"]["TOKEN"], await asked(host, name, "desk/who")

        found = await asyncio.gather(*map(told, ("alice", "bob", "alice")))
        assert [token for token, _ in found] == [TOKENS["alice"], TOKENS["bob"], TOKENS["alice"]]
        pids = [pid for _, pid in found]
        assert pids[0] == pids[2] != pids[1]
        for pid in pids[:2]:
            assert b"canary" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        with pytest.raises(AuthenticationError):
            await asked(host, "carol", "desk/who")


async def test_tokens_of_oauth_are_kept_apart(keys: Path, tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        (keys / name).write_text(SECRET)
    async with Guarded() as server:
        auth = {
            "type": "oauth",
            "grant": "client_credentials",
            "issuer": server.address,
            "client_id": CLIENT,
            "client_secret": f"secret://file{keys}/{{principal}}",
        }
        desk = {
            "url": server.mcp,
            "mode": "legacy",
            "per_principal": {"auth": auth, "lists": "alice"},
        }
        file = tmp_path / "tokens.json"
        config = {"servers": {"desk": desk}, "transports": {"http": {"token_file": str(file)}}}
        async with Host(config, environ={}) as host, asyncio.timeout(60):
            assert (
                await asyncio.gather(*(asked(host, name) for name in ("alice", "bob", "bob"))) == ["done"] * 3
            )
        assert len(server.forms) == 2
        assert sorted(json.loads(file.read_text())) == [
            f'desk {server.mcp} "alice"',
            f'desk {server.mcp} "bob"',
        ]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"auth": {"type": "bearer", "token": "secret://env/T_{principal}"}}, "per_principal"),
        (
            {"per_principal": {"headers": {"x-key": "Token secret://env/T_{principal}"}, "lists": "x"}},
            "only in references",
        ),
        (
            {"per_principal": {"headers": {"x-key": "the same for all"}, "lists": "x"}},
            "depends on the principal",
        ),
        ({"per_principal": {"url": "http://elsewhere"}}, "per_principal"),
        ({"per_principal": {"headers": {"x-key": "secret://env/T_{principal}"}}}, "lists"),
    ],
)
async def test_what_would_be_everybodys_is_refused(
    service: Service, keys: Path, change: dict[str, Any], told: str
) -> None:
    async with hosted(desk=entry(service, keys, **change)) as host:
        with pytest.raises(ConfigError) as caught:
            await asked(host, "alice")
        assert told in str(caught.value)
    assert not service.requests


async def test_clients_of_our_server_have_the_principal_of_their_token(service: Service, keys: Path) -> None:
    tokens = {"alice": "door-of-alice", "bob": "door-of-bob"}
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    async with (
        hosted(desk=entry(service, keys, lists=True)) as host,
        host.mcp_server(principal="carol").http(token=tokens) as url,
    ):
        for mode in ("legacy", "2026-07-28"):
            for name, token in tokens.items():
                async with (
                    httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
                    Client(streamable_http_client(url, http_client=http), mode=mode) as session,
                ):
                    assert text(await session.call_tool("desk__echo", {})) == name
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
        async with httpx2.AsyncClient(headers=headers) as http:
            hello = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            }

            async def post(token: str, method: str, params: Any, session: str | None = None) -> Any:
                more = {"Authorization": f"Bearer {token}"} | ({"Mcp-Session-Id": session} if session else {})
                message = {"jsonrpc": "2.0", "method": method, "params": params}
                message |= {} if method.startswith("notifications/") else {"id": 1}
                return await http.post(url, json=message, headers=more)

            opened = await post("door-of-alice", "initialize", hello)
            session = opened.headers["mcp-session-id"]
            await post("door-of-alice", "notifications/initialized", {}, session)
            call = {"name": "desk__echo", "arguments": {}, "_meta": meta}
            assert (await post("door-of-bob", "tools/call", call, session)).status_code == 404
            assert (await post("door-of-alice", "tools/call", call, session)).status_code == 200
            for wrong in ("door-of-carol", "door-of-alic", "door-of-alicee", "x"):
                assert (await post(wrong, "tools/call", call, session)).status_code == 401


async def test_clients_without_a_token_have_the_principal_of_the_operators_choice(
    service: Service, keys: Path
) -> None:
    async with (
        hosted(desk=entry(service, keys, lists=True)) as host,
        host.mcp_server(principal="bob", bare="desk").http() as url,
        hosted(up={"url": url}) as other,
    ):
        assert await asked(other, "whoever this is there", "up/echo") == "bob"


@pytest.mark.parametrize(
    "given, told",
    [
        (["alice=secret://env/A", "alice=secret://env/B"], "two tokens"),
        (["secret://env/A", "token=secret://env/B"], "two tokens"),
        (["alice=canary-4711"], "not the secret itself"),
        (["=secret://env/A"], "not the secret itself"),
        (["a=b=canary-4711"], "not the secret itself"),
    ],
)
def test_tokens_on_the_command_line_are_references_of_one_principal_each(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for each in given for word in ("--token", each)]
    assert main(["mcp", "serve", "--transport", "http", *words]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "canary" not in err


@pytest.mark.parametrize("tokens", [{}, {"alice": ""}, {"alice": " "}, {"alice": "same", "bob": "same"}, ""])
async def test_tokens_that_would_let_in_the_wrong_ones_are_refused(tokens: Any) -> None:
    async with Host({}, environ={}) as host:
        with pytest.raises(ConfigError, match="token"):
            async with host.mcp_server().http(token=tokens):
                pytest.fail("it is open")
