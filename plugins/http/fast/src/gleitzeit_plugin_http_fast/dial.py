"""Opening a connection: TCP, the way through a proxy, TLS."""

from __future__ import annotations

import asyncio
import ssl

import httpx2

from gleitzeit_plugin_http_fast.connection import Connection
from gleitzeit_plugin_http_fast.head import build_head
from gleitzeit_plugin_http_fast.pool import Pool
from gleitzeit_plugin_http_fast.routes import Proxy, Route
from gleitzeit_plugin_http_fast.tcp import abort, connect

__all__ = ["dial"]


async def dial(pool: Pool, route: Route, context: ssl.SSLContext, seconds: float | None) -> Connection:
    """A connection ready for requests, within so many seconds in all; None is without bound.

    Raises `ConnectTimeout`, `ConnectError` and `ProxyError` of httpx2. Cancelled or failed, it leaves
    nothing open.
    """
    loop = asyncio.get_running_loop()
    connection = Connection(pool, route, loop)
    raw: asyncio.Transport | None = None
    ready = False
    try:
        async with asyncio.timeout(seconds):
            place: Proxy | Route = route.proxy or route
            if isinstance(loop, asyncio.BaseEventLoop):
                sock = await connect(place.host, place.port)
                raw, _ = await loop.create_connection(lambda: connection, sock=sock)
            else:  # uvloop connects by itself, and takes a descriptor that is used again for the one before
                raw, _ = await loop.create_connection(lambda: connection, place.host, place.port)
            if route.proxy is not None and route.proxy.tls:
                await _secure(connection, context, route.proxy.host)
            if route.tls:
                if route.proxy is not None:
                    await _tunnel(connection, route, route.proxy)
                await _secure(connection, context, route.name)
        ready = True
    except TimeoutError:
        raise httpx2.ConnectTimeout("connecting took too long") from None
    except httpx2.TransportError as error:
        if isinstance(error, httpx2.ProxyError | httpx2.ConnectError):
            raise
        raise httpx2.ProxyError(str(error)) from error
    except (OSError, UnicodeError) as error:
        raise httpx2.ConnectError(str(error) or type(error).__name__) from error
    finally:
        if not ready:
            abort(raw)
            # After a broken handshake the loop does not tell the connection that it is lost.
            pool.lost(connection)
    return connection


async def _secure(connection: Connection, context: ssl.SSLContext, name: str) -> None:
    transport = connection.transport
    try:
        secured = await connection.loop.start_tls(transport, connection, context, server_hostname=name)
    except BaseException:
        abort(transport)
        raise
    # Where the peer goes in the handshake, loops differ: no transport, or one that is secured by nothing.
    done = None if secured is None else secured.get_extra_info("ssl_object")
    if secured is None or done is None or done.version() is None or transport.is_closing():
        abort(transport)
        raise httpx2.ConnectError("the connection was closed in the TLS handshake")
    connection.upgraded(secured)


async def _tunnel(connection: Connection, route: Route, proxy: Proxy) -> None:
    host = f"[{route.host}]" if ":" in route.host else route.host
    target = f"{host}:{route.port}".encode("ascii")
    headers = ((b"Host", target), (b"Accept", b"*/*"), *proxy.headers)
    answer = await connection.ask(build_head(b"CONNECT", target, headers), b"", b"CONNECT")
    if not 200 <= answer.status < 300:
        connection.abort(httpx2.ProxyError("refused"))
        raise httpx2.ProxyError(f"{answer.status} {answer.reason.decode('ascii', 'ignore')}")
    connection.upgraded(connection.transport)
