"""The accepting side: a gRPC server whose streams are wires."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from gleitzeit.errors import ConfigError, GleitzeitError, ResetError
from gleitzeit.kinds import Wire
from gleitzeit_plugin_mcp_grpc.config import DoorConfig
from gleitzeit_plugin_mcp_grpc.wire import GrpcWire

__all__ = ["opened"]

_logger = logging.getLogger("gleitzeit.transport.grpc")

_SERVICE: Final = "mcp.transport.v1.Mcp"
_HEALTH: Final = "grpc.health.v1.Health"
#: HealthCheckResponse { status: SERVING }: field 1, an enum, value 1.
_SERVING: Final = b"\x08\x01"
#: Names that may be asked for: the whole server, or our service. HealthCheckRequest { string service = 1 }.
_ASKED: Final = (b"", b"\x0a" + bytes((len(_SERVICE),)) + _SERVICE.encode())
#: Seconds that streams get to end by themselves when the door closes.
_GRACE: Final = 0.5


@asynccontextmanager
async def opened(
    target: str, serve: Callable[[Wire], Awaitable[None]], config: DoorConfig
) -> AsyncIterator[str]:
    """Serve until left; gives the bound target."""
    # A server of gRPC's that never starts keeps its descriptors, so what can fail fails before it is made.
    credentials = None if config.cert_file is None else await asyncio.to_thread(_credentials, config)
    _free(target)
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", config.max_message_bytes),
            ("grpc.max_send_message_length", config.max_message_bytes),
            ("grpc.so_reuseport", 0),  # a taken port is an error, not a shared one
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    sessions = _Sessions(serve, config)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                _SERVICE, {"Session": grpc.stream_stream_rpc_method_handler(sessions.session)}
            ),
            grpc.method_handlers_generic_handler(
                _HEALTH,
                {
                    "Check": grpc.unary_unary_rpc_method_handler(_check),
                    "Watch": grpc.unary_stream_rpc_method_handler(_watch),
                },
            ),
        )
    )
    try:
        try:
            if credentials is None:
                port = server.add_insecure_port(target)
            else:
                port = server.add_secure_port(target, credentials)
        except RuntimeError as error:
            raise ConfigError(f"listen: {target} cannot be opened: {error}", hint="is it in use?") from None
        await server.start()
        yield target if target.startswith("unix:") else f"{target.rpartition(':')[0]}:{port}"
    finally:
        await asyncio.shield(asyncio.ensure_future(_stop(server)))


def _free(target: str) -> None:
    """Raise `ConfigError` where nothing can be bound."""
    host, _, port = target.rpartition(":")
    if target.startswith("unix:") or port == "0":
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigError(f"listen: {target} cannot be opened: {error}", hint="is it in use?") from None


async def _stop(server: Any) -> None:
    await server.stop(_GRACE)


class _Sessions:
    """Turns streams into wires, as many as there may be, for those that may come in."""

    def __init__(self, serve: Callable[[Wire], Awaitable[None]], config: DoorConfig) -> None:
        self._serve = serve
        self._token = None if config.token is None else config.token.get_secret_value().encode()
        self._most = config.max_sessions
        self._limit = config.max_message_bytes
        self._standing = 0

    async def session(self, _: Any, context: Any) -> None:
        """One stream, from its first byte to its end."""
        if not self._may(context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "a bearer token is required")
        if self._standing >= self._most:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many sessions")
        await context.send_initial_metadata(())
        wire = GrpcWire(context.peer(), context, _left, limit=self._limit)
        self._standing += 1
        try:
            await self._serve(wire)
        except Exception as error:  # noqa: BLE001 - it is told, and the client too
            # A client that left, whatever the server was at, is the usual end of a session.
            if not wire.lost.is_set():
                _logger.warning("a session with %s failed: %s", context.peer(), type(error).__name__)
                await context.abort(grpc.StatusCode.INTERNAL, "the session failed")
        finally:
            self._standing -= 1
            await wire.close()

    def _may(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        if self._token is None:
            return True
        given = [value for key, value in metadata if key == "authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = str(given[0]).partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token)


async def _left() -> GleitzeitError:
    return ResetError("the client ended the session")


async def _check(request: bytes, context: Any) -> bytes:
    if request not in _ASKED:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return _SERVING


async def _watch(request: bytes, context: Any) -> AsyncIterator[bytes]:
    # HealthCheckResponse { status: SERVICE_UNKNOWN } is 3; the protocol wants a watch to go on with it.
    yield _SERVING if request in _ASKED else b"\x08\x03"
    await asyncio.get_running_loop().create_future()


def _credentials(config: DoorConfig) -> Any:
    def read(path: str | None, key: str) -> bytes | None:
        if path is None:
            return None
        try:
            return Path(path).expanduser().read_bytes()
        except OSError as error:
            raise ConfigError(f"listen.{key}: {error}", hint="give the path of a PEM file") from None

    chain, key = read(config.cert_file, "cert_file"), read(config.key_file, "key_file")
    if key is None:
        raise ConfigError("listen.key_file: it is missing", hint="give the key of `cert_file`")
    roots = read(config.client_ca_file, "client_ca_file")
    return grpc.ssl_server_credentials([(key, chain or b"")], roots, require_client_auth=roots is not None)
