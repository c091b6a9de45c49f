"""The plugin: connects to servers, and lets clients in."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from gleitzeit.errors import CannotConnectError, ConfigError, GleitzeitError
from gleitzeit.kinds import Context, Endpoint, Wire
from gleitzeit.plugin import Plugin
from gleitzeit.wire.closing import surely
from gleitzeit_plugin_mcp_grpc.address import parse
from gleitzeit_plugin_mcp_grpc.config import DoorConfig, GrpcConfig, settled
from gleitzeit_plugin_mcp_grpc.reasons import reason
from gleitzeit_plugin_mcp_grpc.wire import GrpcWire

__all__ = ["METHOD", "GrpcConfig", "GrpcTransport"]

METHOD: Final = "/mcp.transport.v1.Mcp/Session"


class GrpcTransport(Plugin):
    """One bidirectional stream a session; see `gleitzeit.kinds.Transport` and `Listener`."""

    Config: ClassVar[Any] = GrpcConfig
    manifest: ClassVar[Any] = {"summary": "MCP over gRPC, both sides."}
    config: GrpcConfig

    def __init__(self, config: GrpcConfig | None, context: Context) -> None:
        super().__init__(config or GrpcConfig(), context)

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[GrpcWire]:
        """Open a channel and a stream to the server at the endpoint's `url`; its headers are metadata.

        Raises `CannotConnectError` where no connection comes to stand in time, `ConfigError` for
        what cannot be meant, such as credentials in the open beyond this machine.
        """
        name = endpoint.name
        where = f"servers.{name}"
        options = {key: value for key, value in endpoint.options.items() if key != "secrets"}
        config: GrpcConfig = settled(
            GrpcConfig, f"{where}.options", self.config.model_dump(exclude_unset=True), options
        )
        if endpoint.url is None:
            raise ConfigError(f"{where}: gRPC needs an address", hint="set `url`, such as grpc://HOST:PORT")
        address = parse(endpoint.url, f"{where}.url")
        tls = config.use_tls if config.use_tls is not None else bool(address.tls)
        if endpoint.headers and not (tls or address.local or config.insecure):
            raise ConfigError(
                f"{where}: its headers would travel unencrypted",
                hint="use grpcs://, or say `insecure = true` in its options if that is meant",
            )
        metadata = tuple((key.lower(), value) for key, value in endpoint.headers.items())
        grpc = await _grpc()
        channel = _channel(grpc, address.target, config, tls=tls, where=where)
        call = channel.stream_stream(METHOD)(metadata=metadata or None)
        stood = False
        hidden = endpoint.options.get("secrets", endpoint.headers.values())
        try:

            async def why() -> GleitzeitError:
                code = await call.code()
                return reason(name, code.name, await call.details() or "", stood=stood, secrets=hidden)

            try:
                async with asyncio.timeout(config.connect_timeout):
                    await call.wait_for_connection()
            except TimeoutError:
                raise CannotConnectError(
                    f"server {name!r} was not reached within {config.connect_timeout:g} s",
                    hint="check `url`; raise `connect_timeout` if it is only slow",
                    provider=name,
                    sent=False,
                ) from None
            except grpc.AioRpcError:
                raise await why() from None
            stood = True
            wire = GrpcWire(name, call, why, limit=config.max_message_bytes)
            try:
                yield wire
            finally:
                await wire.close()
        finally:
            await surely(channel.close())

    @asynccontextmanager
    async def listen(
        self, address: str, serve: Callable[[Wire], Awaitable[None]], options: Mapping[str, Any]
    ) -> AsyncIterator[str]:
        """Let clients in at `address` (port 0: any free one), one wire a stream; see `DoorConfig`.

        Beyond this machine it wants TLS and either a token or client certificates, or `insecure`.
        Answers health checks of grpc.health.v1 on the same address.
        """
        config: DoorConfig = settled(DoorConfig, "listen", options)
        where = parse(address, "listen")
        if where.tls and config.cert_file is None:
            raise ConfigError("listen: grpcs:// needs a certificate", hint="set `cert_file` and `key_file`")
        known = config.token is not None or config.client_ca_file is not None
        if not (where.local or config.insecure) and (config.cert_file is None or not known):
            raise ConfigError(
                f"listen: {where.target} can be reached from other machines",
                hint="set `cert_file`, `key_file` and `token`; or listen on 127.0.0.1; or say `insecure`",
            )
        door = await asyncio.to_thread(importlib.import_module, "gleitzeit_plugin_mcp_grpc.door")
        async with door.opened(where.target, serve, config) as bound:
            yield f"{'grpcs' if config.cert_file else 'grpc'}://{bound}" if "unix:" not in bound else bound


async def _grpc() -> Any:
    """gRPC costs a fifth of a second to import, which would stall the loop."""
    return await asyncio.to_thread(importlib.import_module, "grpc.aio")


def _channel(grpc: Any, target: str, config: GrpcConfig, *, tls: bool, where: str) -> Any:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.keepalive_time_ms", int(config.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Sessions come and go with their channel; a pool behind it would outlive them.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]
    if not tls:
        return grpc.insecure_channel(target, options=options)
    if config.server_name is not None:
        options.append(("grpc.ssl_target_name_override", config.server_name))
    basics = importlib.import_module("grpc")
    credentials = basics.ssl_channel_credentials(
        _file(config.ca_file, f"{where}.options.ca_file"),
        _file(config.key_file, f"{where}.options.key_file"),
        _file(config.cert_file, f"{where}.options.cert_file"),
    )
    return grpc.secure_channel(target, credentials, options=options)


def _file(path: str | None, where: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}: {error}", hint="give the path of a PEM file") from None
