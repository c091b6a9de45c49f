"""Signing in with OAuth: as a program, as a person, with what was kept, and what goes wrong."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gleitzeit.errors import AuthenticationError, GleitzeitError, WireError
from gleitzeit.testing.loopback import Call
from gleitzeit.values import ToolCall
from plugins.transports.http.tests.authority import CLIENT, SECRET, Guarded
from plugins.transports.http.tests.conftest import Connect
from plugins.transports.http.tests.script import answer, ask, heard


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The SDK logs each failed sign-in with its traceback."""
    logger = logging.getLogger("mcp.client.auth.oauth2")
    before, logger.level = logger.level, logging.CRITICAL
    yield
    logger.level = before


def credentials(server: Guarded, **fields: Any) -> dict[str, Any]:
    return {
        "grant": "client_credentials",
        "issuer": server.address,
        "client_id": CLIENT,
        "client_secret": SECRET,
        **fields,
    }


async def call(wire: Any, id: Any = 1) -> None:
    await wire.send(ask(id))
    assert (await heard(wire))["id"] == id


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_program_signs_in_with_its_secret(connect: Connect, method: str) -> None:
    async with Guarded() as server:
        async with connect(server.mcp, oauth=credentials(server, token_auth=method, scope="read")) as wire:
            await call(wire, 1)
            await call(wire, 2)
        assert [form["grant_type"] for form in server.forms] == ["client_credentials"]
        assert server.forms[0]["scope"] == "read"


async def test_a_program_signs_in_with_a_key(connect: Connect) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    async with Guarded() as server:
        signed = credentials(server, private_key=key.decode(), key_algorithm="ES256")
        del signed["client_secret"]
        async with connect(server.mcp, oauth=signed) as wire:
            await call(wire)


@pytest.mark.parametrize("key", ["auth", "oauth"])
async def test_a_server_of_a_host_signs_in_by_its_entry(host: Any, key: str) -> None:
    async with Guarded() as server:
        table = credentials(server)
        entry = {"auth": {"type": "oauth", **table}} if key == "auth" else {"oauth": table}
        async with host(server.mcp, mode="legacy", **entry) as opened:
            assert (await opened.call(ToolCall().to("desk/echo"))).text == "done"
    assert len(server.forms) == 1


async def test_calls_at_the_same_time_share_a_sign_in(connect: Connect) -> None:
    async with Guarded() as server, connect(server.mcp, oauth=credentials(server)) as wire:
        await asyncio.gather(*(wire.send(ask(number)) for number in range(10)))
        assert {(await heard(wire))["id"] for _ in range(10)} == set(range(10))
        assert len(server.forms) == 1


async def test_calls_do_not_wait_for_one_another_once_there_is_a_token(connect: Connect) -> None:
    async with Guarded() as server, connect(server.mcp, oauth=credentials(server)) as wire:
        await call(wire)

        async def slow(each: Call) -> None:
            if each.json["id"] == "slow":
                await each.stall()
            else:
                await answer(each)

        server.instead["/mcp"] = slow
        waiting = asyncio.create_task(wire.send(ask("slow")))
        await server.request(len(server.requests))
        await call(wire, "quick")
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_a_token_that_is_revoked_is_replaced(connect: Connect) -> None:
    async with Guarded() as server, connect(server.mcp, oauth=credentials(server)) as wire:
        await call(wire, 1)
        server.tokens.clear()
        await call(wire, 2)
        assert len(server.forms) == 2


async def test_more_scope_is_asked_for_where_it_is_wanted(connect: Connect) -> None:
    async with Guarded() as server, connect(server.mcp, oauth=credentials(server, scope="read")) as wire:
        await call(wire, 1)
        server.scope = "write"
        await call(wire, 2)
        assert set(server.forms[-1]["scope"].split()) == {"read", "write"}


async def test_nobody_signs_in_to_say_goodbye(connect: Connect) -> None:
    async with Guarded() as server:
        async with connect(server.mcp, oauth=credentials(server)) as wire:
            await wire.send(ask(0, "initialize"))
            await heard(wire)
            server.tokens.clear()
        assert server.requests[-1].method == "DELETE"
        assert len(server.forms) == 1


async def test_a_wrong_secret_is_told_without_it(connect: Connect) -> None:
    async with Guarded() as server:
        wrong = credentials(server, client_secret="wrong-secret-0815")
        async with connect(server.mcp, oauth=wrong) as wire:
            with pytest.raises(AuthenticationError, match="signing in to server 'desk' failed") as error:
                await wire.send(ask(1))
            assert error.value.sent is False
            assert "0815" not in str(error.value)


async def test_a_secret_goes_only_to_the_issuer_that_it_belongs_to(connect: Connect) -> None:
    async with Guarded() as server:
        elsewhere = credentials(server, issuer="https://elsewhere.example")
        async with connect(server.mcp, oauth=elsewhere) as wire:
            with pytest.raises(AuthenticationError):
                await wire.send(ask(1))
        assert server.forms == []


async def test_a_token_that_is_refused_again_is_no_endless_loop(connect: Connect) -> None:
    async with Guarded() as server:
        server.instead["/mcp"] = lambda each: each.send(401, {}, b"never")
        async with connect(server.mcp, oauth=credentials(server)) as wire:
            with pytest.raises(AuthenticationError):
                await wire.send(ask(1))
        assert server.count("/mcp") == 2


async def test_an_authorization_server_out_of_reach_is_no_refusal(connect: Connect) -> None:
    async def reset(each: Call) -> None:
        each.reset()

    async with Guarded() as server:
        server.instead["/token"] = reset
        async with connect(server.mcp, oauth=credentials(server)) as wire:
            with pytest.raises(WireError) as error:
                await wire.send(ask(1))
            assert error.value.sent is False


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A person at a browser, who agrees; the addresses that were opened."""
    opened: list[str] = []

    def open_(url: str) -> bool:
        opened.append(url)
        with httpx2.Client(follow_redirects=True, trust_env=False) as client:
            assert "close this window" in client.get(url).text
        return True

    monkeypatch.setattr("webbrowser.open", open_)
    return opened


async def test_a_person_signs_in_and_the_client_registers_itself(
    connect: Connect, browser: list[str]
) -> None:
    async with Guarded() as server:
        async with connect(server.mcp, oauth={"person": "browser"}) as wire:
            await call(wire)
        [metadata] = server.registered
        assert metadata["client_name"] == "Gleitzeit"
        assert server.forms[0]["client_id"] == "registered-1"
        assert server.forms[0]["redirect_uri"] == metadata["redirect_uris"][0]
        assert metadata["redirect_uris"][0].startswith("http://127.0.0.1:")
        assert len(browser) == 1


async def test_tokens_are_kept_and_refreshed_without_the_person(
    connect: Connect, browser: list[str], tmp_path: Path
) -> None:
    kept = {"token_file": str(tmp_path / "deep" / "tokens.json")}
    async with Guarded() as server:
        for number in range(2):
            async with connect(server.mcp, config=kept, oauth={"person": "browser"}) as wire:
                await call(wire, number)
        assert len(server.forms) == 1
        server.tokens.clear()
        async with connect(server.mcp, config=kept, oauth={"person": "browser"}) as wire:
            await call(wire)
        assert [form["grant_type"] for form in server.forms] == ["authorization_code", "refresh_token"]
        file = Path(kept["token_file"])
        assert file.stat().st_mode & 0o777 == 0o600
        [value] = json.loads(file.read_text()).values()
        assert value["tokens"]["access_token"] in server.tokens
        assert len(browser) == 1
        server.tokens.clear()
        server.refreshing.clear()
        async with connect(server.mcp, config=kept, oauth={"person": "browser"}) as wire:
            await call(wire)
        assert len(browser) == 2
        assert len(server.registered) == 1


async def test_a_token_about_to_end_is_refreshed_before_it_is_used(
    connect: Connect, browser: list[str], tmp_path: Path
) -> None:
    kept = {"token_file": str(tmp_path / "tokens.json")}
    async with Guarded() as server:
        server.lifetime = -1
        async with connect(server.mcp, config=kept, oauth={"person": "browser"}) as wire:
            await call(wire, 1)
            server.lifetime = 3600
            await call(wire, 2)
        assert [form["grant_type"] for form in server.forms] == ["authorization_code", "refresh_token"]
        assert server.count("/mcp") == 3


async def test_nobody_is_asked_without_the_operators_word(connect: Connect, browser: list[str]) -> None:
    async with Guarded() as server:
        async with connect(server.mcp, oauth={}) as wire:
            with pytest.raises(AuthenticationError, match="a person would have to sign in"):
                await wire.send(ask(1))
        assert server.registered == []
        assert browser == []


async def test_the_way_is_logged_where_there_is_no_browser(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    logged = asyncio.Event()

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "sign in at" in record.getMessage():
                logged.set()

    handler = Heard()
    logging.getLogger("gleitzeit.plugin.http").addHandler(handler)
    try:
        async with Guarded() as server:
            async with connect(server.mcp, oauth={"person": "log", "client_id": "known"}) as wire:
                sending = asyncio.create_task(wire.send(ask(1)))
                await logged.wait()
                url = caplog.records[-1].getMessage().split(" at: ")[1]
                async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as client:
                    assert (await client.get(url)).status_code == 200
                await sending
            assert server.registered == []
            assert server.forms[0]["client_id"] == "known"
    finally:
        logging.getLogger("gleitzeit.plugin.http").removeHandler(handler)


async def test_a_person_who_declines_is_told(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def decline(url: str) -> bool:
        asked = dict(httpx2.URL(url).params)
        with httpx2.Client(trust_env=False) as client:
            client.get(asked["redirect_uri"].replace("/callback", "/other"))
            client.get(asked["redirect_uri"], params={"error": "access_denied", "state": asked["state"]})
        return True

    monkeypatch.setattr("webbrowser.open", decline)
    async with Guarded() as server, connect(server.mcp, oauth={"person": "browser"}) as wire:
        with pytest.raises(AuthenticationError, match="access_denied"):
            await wire.send(ask(1))


async def test_a_person_who_does_nothing_is_not_waited_for_without_end(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    soon = {"person": "browser", "patience": 0.05}
    async with Guarded() as server, connect(server.mcp, oauth=soon) as wire:
        with pytest.raises(AuthenticationError, match="nobody signed in within"):
            await wire.send(ask(1))


async def test_a_sign_in_outlives_the_call_that_began_it_and_ends_with_the_transport(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = asyncio.Event()
    loop = asyncio.get_running_loop()
    urls: list[str] = []

    def show(url: str) -> bool:
        urls.append(url)
        loop.call_soon_threadsafe(shown.set)
        return True

    monkeypatch.setattr("webbrowser.open", show)
    async with Guarded() as server:
        async with connect(server.mcp, oauth={"person": "browser"}) as wire:
            first = asyncio.create_task(wire.send(ask(1)))
            await shown.wait()
            first.cancel()
            await asyncio.wait({first})
            second = asyncio.create_task(wire.send(ask(2)))
            async with httpx2.AsyncClient(follow_redirects=True, trust_env=False) as client:
                await client.get(urls[0])
            await second
            assert len(urls) == 1
            shown.clear()
            server.tokens.clear()
            server.refreshing.clear()
            third = asyncio.create_task(wire.send(ask(3)))
            await shown.wait()
        with pytest.raises(GleitzeitError):
            await third
