"""Finds out which era of the protocol a server speaks: 2026-07-28, or the handshake before it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

from mcp import ClientSession, MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    UNSUPPORTED_PROTOCOL_VERSION,
    DiscoverResult,
    UnsupportedProtocolVersionErrorData,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from gleitzeit.errors import UnsupportedError
from gleitzeit_plugin_mcp.faults import ProbeEndedItError

__all__ = ["Era", "negotiate"]

Era: TypeAlias = Literal["modern", "legacy"]
#: Sends the modern greeting in one version, and gives the raw answer.
Greet: TypeAlias = Callable[[str], Awaitable[dict[str, Any]]]


async def negotiate(
    session: ClientSession,
    greet: Greet,
    *,
    mode: str,
    known: Era | None,
    probe: float,
    timeout: float,
    lost: asyncio.Event,
) -> Era:
    """Agree on a version with the server behind `session`, and say which era it is of.

    `known` saves the probe. A server that is silent for `probe` seconds is taken for an old one;
    where that was wrong it refuses the handshake by code and is greeted again. One that is known to be
    modern has half of `timeout` before that is doubted, and one that has to be has all of it.

    Raises `TimeoutError` after `timeout` seconds.
    """
    async with asyncio.timeout(timeout):
        if mode == "auto" and known == "modern":
            probe = max(probe, timeout / 2)
        return await _agree(session, greet, mode, known, None if mode == "modern" else probe, lost)


async def _agree(
    session: ClientSession,
    greet: Greet,
    mode: str,
    known: Era | None,
    limit: float | None,
    lost: asyncio.Event,
) -> Era:
    known = known if mode == "auto" else None
    if mode == "legacy" or known == "legacy":
        try:
            await session.initialize()
            return "legacy"
        except MCPError as error:
            if mode == "legacy" or error.code != UNSUPPORTED_PROTOCOL_VERSION:
                raise
    try:
        found = await _discover(greet, limit, lost)
    except MCPError as error:
        if mode == "auto" and error.code == CONNECTION_CLOSED and lost.is_set():
            raise ProbeEndedItError from error
        raise
    if found is None and mode != "modern":
        try:
            await session.initialize()
            return "legacy"
        except MCPError as error:
            if error.code != UNSUPPORTED_PROTOCOL_VERSION:
                raise
        found = await _discover(greet, None, lost)
    if found is None:
        raise UnsupportedError(
            f"the server does not speak {LATEST_MODERN_VERSION}",
            hint='let `mode = "auto"` find out what it speaks',
        )
    session.adopt(found)
    return "modern"


async def _discover(greet: Greet, limit: float | None, lost: asyncio.Event) -> DiscoverResult | None:
    """The server's modern greeting; None where it has none."""
    version = LATEST_MODERN_VERSION
    for _ in range(2):
        try:
            async with asyncio.timeout(limit):
                raw = await greet(version)
        except TimeoutError:
            return None
        except MCPError as error:
            if error.code == CONNECTION_CLOSED and lost.is_set():
                raise
            supported = _supported(error.data) if error.code == UNSUPPORTED_PROTOCOL_VERSION else ()
            mutual = [each for each in MODERN_PROTOCOL_VERSIONS if each in supported]
            if mutual:
                version = mutual[-1]
                continue
            if supported and not any(each in HANDSHAKE_PROTOCOL_VERSIONS for each in supported):
                raise
            return None
        ttl = raw.get("ttlMs")
        if isinstance(ttl, (int, float)) and ttl < 0:
            raw = {**raw, "ttlMs": 0}  # as the protocol has clients read it
        try:
            result = DiscoverResult.model_validate(raw)
        except ValidationError:
            return None
        return result if any(each in MODERN_PROTOCOL_VERSIONS for each in result.supported_versions) else None
    return None


def _supported(data: Any) -> tuple[str, ...]:
    try:
        return tuple(UnsupportedProtocolVersionErrorData.model_validate(data).supported)
    except ValidationError:
        return ()
