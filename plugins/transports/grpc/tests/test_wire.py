"""Frames between our two sides: order, size, ends, and what each end is called."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import trustme
from gleitzeit_plugin_mcp_grpc import GrpcTransport
from gleitzeit_plugin_mcp_grpc.codec import pack
from gleitzeit_plugin_mcp_grpc.reasons import reason
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gleitzeit.errors import (
    AuthenticationError,
    CannotConnectError,
    ConfigError,
    GleitzeitError,
    InvalidRequestError,
    OverloadedError,
    ResetError,
    WireError,
)
from gleitzeit.kinds import Endpoint, Frame, Wire

HERE = "grpc://127.0.0.1:0"


def message(number: int, **params: Any) -> Frame:
    return Frame({"jsonrpc": "2.0", "id": number, "method": "echo", "params": params})


async def echo(wire: Wire) -> None:
    async for frame in wire:
        await wire.send(frame)


async def lost(wire: Wire) -> GleitzeitError:
    """Why the wire was lost, once it is."""
    async with asyncio.timeout(30):
        assert [frame async for frame in wire] == []
    assert wire.lost.is_set()
    assert wire.error is not None
    return wire.error


async def refusal(transport: GrpcTransport, endpoint: Endpoint) -> GleitzeitError:
    """Why the server does not let us in; it may say so before or after the stream stands."""
    try:
        async with transport.connect(endpoint) as wire:
            return await lost(wire)
    except GleitzeitError as error:
        return error


async def test_frames_of_many_senders_come_whole_and_in_order(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {}) as url, transport.connect(Endpoint("s", url=url)) as wire:

        async def sender(one: int) -> None:
            for number in range(50):
                await wire.send(message(number, sender=one, text="Grüße 😀\n"))

        senders = [asyncio.ensure_future(sender(one)) for one in range(20)]
        heard: dict[int, list[int]] = {}
        async for frame in wire:
            assert frame.message["params"]["text"] == "Grüße 😀\n"
            heard.setdefault(frame.message["params"]["sender"], []).append(frame.message["id"])
            if sum(map(len, heard.values())) == 1000:
                break
        await asyncio.gather(*senders)
        assert heard == {one: list(range(50)) for one in range(20)}
        assert wire.diagnostics() == {"received": 1000, "sent": 1000, "junk": 0}


async def test_a_large_message_passes(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {}) as url, transport.connect(Endpoint("s", url=url)) as wire:
        await wire.send(message(1, text="x" * 5 * 2**20))
        assert len((await anext(aiter(wire))).message["params"]["text"]) == 5 * 2**20


async def test_one_over_our_limit_is_refused_and_the_stream_goes_on(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {}) as url:
        small = Endpoint("s", url=url, options={"max_message_bytes": 1000})
        async with transport.connect(small) as wire:
            with pytest.raises(InvalidRequestError, match="1000 allowed") as refused:
                await wire.send(message(1, text="x" * 1000))
            assert refused.value.sent is False
            await wire.send(message(2))
            assert (await anext(aiter(wire))).message["id"] == 2


async def test_one_over_their_limit_ends_the_stream(transport: GrpcTransport) -> None:
    async def large(wire: Wire) -> None:
        await wire.send(message(1, text="x" * 1000))
        await echo(wire)

    async with transport.listen(HERE, large, {}) as url:
        small = Endpoint("s", url=url, options={"max_message_bytes": 1000})
        async with transport.connect(small) as wire:
            error = await lost(wire)
    assert isinstance(error, ResetError)
    assert "max_message_bytes" in str(error.hint)


async def test_a_sender_that_gives_up_and_a_reader_that_gives_up_end_nothing(
    transport: GrpcTransport,
) -> None:
    gate = asyncio.Event()

    async def patient(wire: Wire) -> None:
        await gate.wait()
        await echo(wire)

    async with transport.listen(HERE, patient, {}) as url, transport.connect(Endpoint("s", url=url)) as wire:
        reader = asyncio.ensure_future(anext(aiter(wire)))
        # Nobody reads over there: the streams fill up, and then senders wait.
        senders = [asyncio.ensure_future(wire.send(message(n, text="x" * 2**20))) for n in range(200)]
        while wire.diagnostics()["sent"] == 0:
            await asyncio.sleep(0.01)
        assert not senders[-1].done()
        for task in (reader, *senders[100:]):
            task.cancel()
        await asyncio.wait((reader, *senders[100:]))
        assert senders[-1].cancelled()
        gate.set()
        got = [(await anext(aiter(wire))).message["id"] for _ in range(100)]
        assert got == list(range(100))
        await asyncio.gather(*senders[:100])
        await wire.send(message(200))
        assert (await anext(aiter(wire))).message["id"] == 200


async def test_the_end_of_the_server_ends_the_wire(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {}) as url:
        opened = transport.connect(Endpoint("s", url=url))
        wire = await opened.__aenter__()
        await wire.send(message(1))
        await anext(aiter(wire))
    try:
        assert isinstance(await lost(wire), ResetError)
        with pytest.raises(ResetError) as told:
            await wire.send(message(2))
        assert told.value.sent is False
    finally:
        await opened.__aexit__(None, None, None)


async def test_a_wanted_close_is_no_error_and_reaches_the_other_side(transport: GrpcTransport) -> None:
    over: asyncio.Future[Wire] = asyncio.get_running_loop().create_future()

    async def session(wire: Wire) -> None:
        try:
            await echo(wire)
        finally:
            over.set_result(wire)

    async with transport.listen(HERE, session, {}) as url:
        async with transport.connect(Endpoint("s", url=url)) as wire:
            await wire.send(message(1))
            await anext(aiter(wire))
        assert wire.lost.is_set()
        assert wire.error is None
        with pytest.raises(ResetError):
            await wire.send(message(2))
        async with asyncio.timeout(30):
            theirs = await over
        assert theirs.diagnostics()["received"] == 1


async def test_a_server_that_is_done_ends_the_session(transport: GrpcTransport) -> None:
    async def brief(wire: Wire) -> None:
        await wire.send(message(1))

    async with transport.listen(HERE, brief, {}) as url, transport.connect(Endpoint("s", url=url)) as wire:
        assert (await anext(aiter(wire))).message["id"] == 1
        assert "ended the session" in str(await lost(wire))


async def test_nobody_there_is_told_at_once(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {}) as url:
        pass
    with pytest.raises(CannotConnectError, match="cannot be reached") as told:
        async with transport.connect(Endpoint("s", url=url)):
            pass
    assert told.value.sent is False


async def test_another_service_is_no_mcp_server(transport: GrpcTransport) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        error = await refusal(transport, Endpoint("s", url=f"grpc://127.0.0.1:{port}"))
        assert isinstance(error, CannotConnectError)
        assert "mcp.transport.v1" in str(error)
    finally:
        await server.stop(None)


async def test_junk_and_batches_between_messages_do_no_harm(transport: GrpcTransport) -> None:
    async def session(wire: Any) -> None:
        for line in (b"\xff", b"", pack(b"no json"), pack(b'{"id": 1}'), pack(b'[{"method": "a"}]')):
            await wire._call.write(line)
        await wire.send(message(1))
        await echo(wire)

    async with transport.listen(HERE, session, {}) as url, transport.connect(Endpoint("s", url=url)) as wire:
        assert (await anext(aiter(wire))).message == {"method": "a"}
        assert (await anext(aiter(wire))).message["id"] == 1
        assert wire.diagnostics()["junk"] == 3


async def test_what_has_no_form_in_json_is_refused_unsent(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {}) as url, transport.connect(Endpoint("s", url=url)) as wire:
        with pytest.raises(InvalidRequestError) as told:
            await wire.send(message(1, it=object()))
        assert told.value.sent is False
        await wire.send(message(2))
        assert (await anext(aiter(wire))).message["id"] == 2


@pytest.mark.parametrize("given", [{}, {"authorization": "Bearer canary-wrong"}, {"authorization": "canary"}])
async def test_a_token_is_required_where_one_is_set(transport: GrpcTransport, given: dict[str, str]) -> None:
    async with transport.listen(HERE, echo, {"token": "canary-right"}) as url:
        right = {"Authorization": "bearer canary-right"}
        async with transport.connect(Endpoint("s", url=url, headers=right)) as wire:
            await wire.send(message(1))
            await anext(aiter(wire))
        error = await refusal(transport, Endpoint("s", url=url, headers=given))
    assert isinstance(error, AuthenticationError)
    assert "canary" not in f"{error!r} {error.hint}"


def test_what_a_server_says_at_the_end_is_cleaned_before_it_is_quoted() -> None:
    error = reason("s", "UNAUTHENTICATED", "no canary-1234\x1b[31m", stood=True, secrets=("canary-1234",))
    assert "canary" not in str(error)
    assert str(error).isprintable()


async def test_an_empty_token_opens_no_door(transport: GrpcTransport) -> None:
    with pytest.raises(ConfigError, match="token"):
        async with transport.listen(HERE, echo, {"token": ""}):
            pytest.fail("it is open")


async def test_no_more_sessions_than_there_may_be(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {"max_sessions": 1}) as url:
        here = Endpoint("s", url=url)
        async with transport.connect(here) as wire:
            await wire.send(message(1))
            await anext(aiter(wire))
            assert isinstance(await refusal(transport, here), OverloadedError)


async def test_a_taken_port_is_told(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {}) as url:
        with pytest.raises(ConfigError, match="cannot be opened"):
            async with transport.listen(url, echo, {}):
                pass


@pytest.mark.feature("S001-10")
async def test_tls_is_checked_on_both_sides(transport: GrpcTransport, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    files = {"ca": authority, "stranger": stranger}
    for name, one in files.items():
        one.cert_pem.write_to_path(tmp_path / f"{name}.pem")
    for name, signed in (
        ("server", authority.issue_cert("localhost", "127.0.0.1")),
        ("client", authority.issue_cert("client.example")),
    ):
        signed.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        signed.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.crt")
    path = {name: str(tmp_path / name) for name in ("ca.pem", "stranger.pem", "server.crt", "server.key")}
    own = {"cert_file": path["server.crt"], "key_file": path["server.key"]}
    mine = {"cert_file": str(tmp_path / "client.crt"), "key_file": str(tmp_path / "client.key")}
    options = {**own, "token": "t", "client_ca_file": path["ca.pem"]}
    async with transport.listen("grpcs://127.0.0.1:0", echo, options) as url:
        assert url.startswith("grpcs://127.0.0.1:")

        def at(**options: Any) -> Endpoint:
            return Endpoint("s", url=url, headers={"authorization": "Bearer t"}, options=options)

        async with transport.connect(at(ca_file=path["ca.pem"], **mine)) as wire:
            await wire.send(message(1))
            assert (await anext(aiter(wire))).message["id"] == 1
        for wrong in (
            at(ca_file=path["stranger.pem"], **mine),  # another authority
            at(**mine),  # none but the public ones
            at(ca_file=path["ca.pem"], server_name="elsewhere.example", **mine),
            at(use_tls=False),
            at(ca_file=path["ca.pem"]),  # no certificate of our own
        ):
            assert isinstance(await refusal(transport, wrong), WireError)


async def test_a_door_with_tls_wants_certificate_and_key(transport: GrpcTransport, tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text("")
    for address, options in (
        ("grpcs://127.0.0.1:0", {}),
        (HERE, {"cert_file": str(cert)}),
        (HERE, {"cert_file": "/nowhere", "key_file": str(cert)}),
        (HERE, {"tokens": "t"}),
    ):
        with pytest.raises(ConfigError, match=r"^listen"):
            async with transport.listen(address, echo, options):
                pass


async def test_a_unix_socket(transport: GrpcTransport, tmp_path: Path) -> None:
    async with transport.listen(f"unix:{tmp_path}/mcp", echo, {}) as url:
        assert url == f"unix:{tmp_path}/mcp"
        async with transport.connect(Endpoint("s", url=url)) as wire:
            await wire.send(message(1))
            assert (await anext(aiter(wire))).message["id"] == 1


async def test_health_is_answered_as_grpc_has_it(transport: GrpcTransport) -> None:
    async with transport.listen(HERE, echo, {}) as url:
        channel = grpc.aio.insecure_channel(url.removeprefix("grpc://"))
        async with channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            serving = health_pb2.HealthCheckResponse.SERVING
            for service in ("", "mcp.transport.v1.Mcp"):
                assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == serving
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await health.Check(health_pb2.HealthCheckRequest(service="other"))
            assert told.value.code() is grpc.StatusCode.NOT_FOUND
            watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
            assert (await watch.read()).status == serving
            watch.cancel()
