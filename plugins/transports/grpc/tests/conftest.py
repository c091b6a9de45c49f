"""A transport, and a server of the official SDK behind our door."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import anyio
import grpc
import mcp_types as types
import pytest
from gleitzeit_plugin_mcp_grpc import GrpcConfig, GrpcTransport
from mcp.server.lowlevel.server import Server
from mcp.shared.message import SessionMessage
from pydantic import TypeAdapter

from gleitzeit.kinds import Frame, Wire
from gleitzeit.testing import FakeContext

_MESSAGE: TypeAdapter[Any] = TypeAdapter(types.JSONRPCMessage)


@pytest.fixture
def transport() -> GrpcTransport:
    return GrpcTransport(GrpcConfig(connect_timeout=30), FakeContext("grpc"))


@pytest.fixture(scope="package", autouse=True)
def _engine() -> Iterator[None]:
    """gRPC has one engine a process, which it ends at leisure once nothing uses it: keep it for all tests."""
    with grpc.insecure_channel("127.0.0.1:1"):
        yield


@pytest.fixture(autouse=True)
def _poller(_engine: None) -> Iterator[None]:
    """gRPC's thread ends when the last channel and server are collected."""
    yield
    gc.collect()


async def serve(server: Server[Any], wire: Wire) -> None:
    """Run a server of the SDK on a wire."""
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](16)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](16)

    async def receive() -> None:
        async with incoming:
            async for frame in wire:
                await incoming.send(SessionMessage(_MESSAGE.validate_python(frame.message)))

    async def send() -> None:
        async for item in outgoing:
            await wire.send(Frame(item.message.model_dump(by_alias=True, mode="json", exclude_none=True)))

    async with outgoing, anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(send)
        async with read, write:
            await server.run(read, write, server.create_initialization_options())
        group.cancel_scope.cancel()
