"""A host as an MCP server over gRPC."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.end_to_end.mcp_serving import chained, everything


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    """gRPC has one engine a process, which it ends at leisure once nothing uses it: keep it meanwhile."""
    with grpc.insecure_channel("127.0.0.1:1"):
        yield


@pytest.fixture(autouse=True)
def _poller(_engine: None) -> Iterator[None]:
    """Its thread ends when the last channel and server are collected."""
    yield
    gc.collect()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_everything_passes_two_hosts_over_grpc(mode: str, tmp_path: Path) -> None:
    async with chained("grpc", tmp_path, mode=mode) as host:
        await everything(host)
