"""Servers of the protocol's SDK behind a host, in every dialect and era."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trustme

from gleitzeit import Host
from gleitzeit.errors import AuthenticationError, CannotConnectError, GleitzeitError, PermissionDeniedError
from gleitzeit.values import Progress, ToolCall
from plugins.transports.http.tests.conftest import Desk, Serve, Served, sse_app

Hosted = Callable[..., AbstractAsyncContextManager[Host]]
WAYS = ["modern", "legacy", "sse"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def served(way: str, desk: Desk, serve: Serve) -> Served:
    return await serve(application(way, desk))


def application(way: str, desk: Desk) -> Any:
    return sse_app(desk) if way == "sse" else desk.streamable_http_app()


def entry(way: str, served: Served) -> dict[str, Any]:
    if way == "sse":
        return {"url": f"{served.address}/sse", "transport": "sse", "mode": "legacy"}
    return {"url": f"{served.address}/mcp", "mode": way}


@pytest.fixture
async def running(way: str, served: Served, host: Hosted) -> AsyncIterator[Host]:
    async with host(**entry(way, served)) as opened:
        yield opened


async def names(host: Host) -> set[str]:
    [offer] = [offer for offer in await host.offers("tools") if offer.instance == "desk"]
    if offer.error is not None:
        raise offer.error
    return {item.name for item in offer.items}


async def said(host: Host, tool: str, text: str = "") -> str:
    return (await host.call(ToolCall({"text": text}).to(f"desk/{tool}"))).text


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """For what announces itself in no other way; the test's own deadline bounds it."""
    while not await check():
        await asyncio.sleep(0.01)


@pytest.mark.feature("S001-11")
async def test_tools_are_listed_and_called(running: Host) -> None:
    assert await names(running) == {"echo", "count", "hold", "headers"}
    assert await said(running, "echo", "hü ⏱") == "hü ⏱"


async def test_calls_at_the_same_time_do_not_mix(running: Host) -> None:
    texts = [f"text {number}" for number in range(20)]
    assert await asyncio.gather(*(said(running, "echo", text) for text in texts)) == texts


async def test_progress_comes_while_the_tool_runs(running: Host) -> None:
    async with running.stream(ToolCall().to("desk/count")) as stream:
        events = [event async for event in stream]
    assert [event.message for event in events if isinstance(event, Progress)] == [
        "step 1",
        "step 2",
        "step 3",
    ]


async def test_a_cancelled_call_is_cancelled_on_the_server(running: Host, desk: Desk) -> None:
    calling = asyncio.create_task(said(running, "hold"))
    await desk.held.wait()
    calling.cancel()
    await desk.cancelled.wait()
    await asyncio.wait({calling})
    assert calling.cancelled()
    assert await said(running, "echo", "on") == "on"


async def test_another_http_transport_under_it_does_as_well(
    way: str, served: Served, host: Hosted, desk: Desk
) -> None:
    async with host(**entry(way, served), http="fast") as opened:
        assert await said(opened, "echo", "hi") == "hi"
        await test_progress_comes_while_the_tool_runs(opened)
        await test_a_cancelled_call_is_cancelled_on_the_server(opened, desk)
        await test_a_changed_list_is_told(opened, desk)


async def test_a_changed_list_is_told(running: Host, desk: Desk) -> None:
    assert "late" not in await names(running)
    await desk.grow("late")
    await eventually(lambda: _has(running, "late"))


async def _has(host: Host, tool: str) -> bool:
    return tool in await names(host)


@pytest.mark.feature("S001-11")
async def test_headers_of_the_entry_are_on_every_request(way: str, served: Served, host: Hosted) -> None:
    async with host(**entry(way, served), headers={"X-Key": "of mine"}) as opened:
        assert await said(opened, "echo", "hi") == "hi"
    assert {headers.get("x-key") for _, _, headers in served.heard} == {"of mine"}


@pytest.mark.parametrize("way", ["modern"], indirect=True)
async def test_modern_requests_say_in_headers_what_they_are(served: Served, running: Host) -> None:
    await said(running, "echo", "hi")
    *_, (_, _, headers) = served.heard
    assert headers["mcp-method"] == "tools/call"
    assert headers["mcp-name"] == "echo"
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert "mcp-session-id" not in headers


async def test_a_server_that_was_started_anew_is_found_again(
    way: str, served: Served, running: Host, desk: Desk
) -> None:
    assert await said(running, "echo", "one") == "one"
    await served.kill()
    with pytest.raises(GleitzeitError) as error:
        await running.call(ToolCall({"text": "x"}).to("desk/echo", timeout=0.3))
    assert error.value.sent is not True or isinstance(error.value, CannotConnectError)
    served.app = application(way, desk)  # which knows none of the sessions
    await served.start()
    await eventually(lambda: _answers(running))
    assert desk.calls.count("echo") == 2


async def _answers(host: Host) -> bool:
    """Does it answer by now? A call that may have acted would be counted by the server."""
    try:
        return await said(host, "echo", "two") == "two"
    except GleitzeitError:
        return False


async def test_changes_are_heard_again_after_a_new_start(
    way: str, served: Served, running: Host, desk: Desk
) -> None:
    assert "late" not in await names(running)
    await served.kill()
    desk.sessions.clear()
    served.app = application(way, desk)
    await served.start()
    await eventually(lambda: _answers(running))
    await desk.grow("late")
    await eventually(lambda: _has(running, "late"))


@pytest.mark.parametrize("way", ["legacy"], indirect=True)
async def test_a_forgotten_session_is_begun_anew_within_the_call(
    way: str, served: Served, running: Host, desk: Desk
) -> None:
    assert await said(running, "echo", "one") == "one"
    fresh = application(way, desk)
    old, served.app = served.app, fresh
    async with fresh.router.lifespan_context(fresh):
        assert await said(running, "echo", "two") == "two"
        assert desk.calls == ["echo", "echo"]
        served.app = old
        del old


@pytest.mark.feature("S003-06")
@pytest.mark.parametrize("status, kind", [(401, AuthenticationError), (403, PermissionDeniedError)])
@pytest.mark.parametrize("way", ["modern", "legacy"])
async def test_refused_credentials_are_an_error_and_never_an_empty_list(
    way: str, serve: Serve, desk: Desk, host: Hosted, status: int, kind: type[GleitzeitError]
) -> None:
    served = await serve(guarded(application(way, desk), "Bearer right", status))
    async with host(**entry(way, served), headers={"Authorization": "Bearer wrong-4711"}) as opened:
        with pytest.raises(kind) as error:
            await names(opened)
        assert "4711" not in str(error.value)
        with pytest.raises(kind):
            await said(opened, "echo")
    async with host(**entry(way, served), auth={"type": "bearer", "token": "right"}) as opened:
        assert await said(opened, "echo", "hi") == "hi"


def guarded(app: Any, credential: str, status: int) -> Any:
    """An application that lets only those in who bring a credential."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if dict(scope["headers"]).get(b"authorization") == credential.encode():
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    application.router = app.router  # type: ignore[attr-defined]  # whose lifespan is entered
    return application


@pytest.mark.feature("S001-12")
@pytest.mark.parametrize("way", ["modern", "sse"])
async def test_a_certificate_of_ones_own_is_refused_until_it_is_trusted(
    way: str,
    serve: Serve,
    desk: Desk,
    host: Hosted,
    server_tls: ssl.SSLContext,
    authority: trustme.CA,
    tmp_path: Any,
) -> None:
    served = await serve(application(way, desk), server_tls)
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    async with host(**entry(way, served)) as opened:
        with pytest.raises(CannotConnectError, match="certificate") as error:
            await said(opened, "echo")
        assert error.value.sent is False
    for trust in ({"ca_file": str(file)}, {"verify_ssl": False}):
        async with host(**entry(way, served), options=trust) as opened:
            assert await said(opened, "echo", "hi") == "hi"
