"""One request over HTTP and its answer: JSON at once, or a stream where something is said before it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
from mcp import MCPError
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params
from mcp.shared.transport_context import TransportContext

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions
    from starlette.types import Send

__all__ = ["PING", "Exchange", "written"]

#: Seconds of silence after which a stream is begun or kept up: proxies close what is idle.
PING: Final = 15.0
_SSE: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_ids: Final = itertools.count(1)
_encoder: Final = msgspec.json.Encoder()


def written(message: Any) -> bytes:
    """A message as JSON."""
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, OverflowError):
        # Half of a surrogate pair, an integer of more than 64 bits.
        return json.dumps(message, separators=(",", ":")).encode()


class Exchange:
    """What the SDK calls a dispatch context: how the answering of a request reaches the client.

    With `pushes` the client may be asked in between (the handshake era); `extra` are headers of the answer.
    What is said after the end is left out.
    """

    message_metadata = None

    def __init__(
        self,
        send: Send,
        request_id: int | str,
        params: Mapping[str, Any],
        *,
        pushes: bool,
        extra: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.request_id = request_id
        self.can_send_request = pushes
        #: Why the answering was broken off: "gone" is the client, "cancelled" its wish, "ended" the session.
        self.broken: str | None = None
        #: The questions to the client that wait for its answers, by their ids.
        self.questions: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._send = send
        self._token = progress_token_from_params(params)
        self._extra = extra
        self._task = asyncio.current_task()
        self._streaming = self._done = False
        self._turn = asyncio.Lock()
        self._pinging: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(PING, self._silent)

    @property
    def transport(self) -> TransportContext:
        """What the SDK may ask about the wire."""
        return TransportContext(kind="streamable-http", can_send_request=self.can_send_request)

    @property
    def cancel_requested(self) -> anyio.Event:
        """Never set: who is cancelled hears of it as a task does."""
        return anyio.Event()

    def stop(self, why: str) -> None:
        """Break the answering off, once, and not after its end."""
        if self.broken is None and not self._done and self._task is not None:
            self.broken = why
            self._task.cancel()

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Say something before the answer."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = dict(params)
        await self._event(message)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell of progress, if the client gave a token for it."""
        if self._token is None:
            return
        params: dict[str, Any] = {"progressToken": self._token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.notify("notifications/progress", params)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client; raises `MCPError` with its refusal. Whoever stops waiting tells it so."""
        if not self.can_send_request:
            raise NoBackChannelError(method)
        # Not a number, as those are the SDK's own questions of the same session.
        key = f"gleitzeit-{next(_ids)}"
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.questions[key] = future
        try:
            await self._event({"jsonrpc": "2.0", "id": key, "method": method, "params": dict(params or {})})
            answer = await future
        except asyncio.CancelledError:
            if self.broken in (None, "cancelled"):
                await self.notify("notifications/cancelled", {"requestId": key})
            raise
        finally:
            del self.questions[key]
        if "result" in answer:
            result = answer["result"]
            return dict(result) if isinstance(result, Mapping) else {}
        error = answer["error"] if isinstance(answer.get("error"), Mapping) else {}
        raise MCPError(
            int(error.get("code") or 0), str(error.get("message") or "it was refused"), error.get("data")
        )

    async def finish(self, answer: Mapping[str, Any], *, status: int = 200, stream: bool = False) -> None:
        """Give the answer, with which the exchange ends; `stream` as an event, though it is all there is."""
        self._timer.cancel()
        message = {"jsonrpc": "2.0", "id": self.request_id, **answer}
        if self._streaming or stream:
            await self._event(message, last=True)
            return
        self._done = True
        body = written(message)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *self._extra,
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def close(self) -> None:
        """Leave nothing behind, whether there was an answer or not."""
        self._done = True
        self._timer.cancel()
        if self._pinging is not None and not self._pinging.done():
            self._pinging.cancel()
            await asyncio.wait({self._pinging})

    async def _event(self, message: Mapping[str, Any], *, last: bool = False) -> None:
        await self._write(b"event: message\r\ndata: %b\r\n\r\n" % written(message), last=last)

    async def _write(self, piece: bytes, *, last: bool = False) -> None:
        # In turns: a connection that is full makes them wait in the middle.
        async with self._turn:
            if self._done:
                return
            self._done = last
            if not self._streaming:
                self._streaming = True
                headers = [*_SSE, *self._extra]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": piece, "more_body": not last})

    def _silent(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PING, self._silent)
        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.create_task(self._write(b": ping\r\n\r\n"))
