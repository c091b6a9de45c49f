"""One connection: bytes of requests out, answers parsed by llhttp as they come in."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Final, cast

import httptools
import httpx2

from gleitzeit_plugin_http_fast.body import Answer, wait
from gleitzeit_plugin_http_fast.head import Head
from gleitzeit_plugin_http_fast.tcp import abort

if TYPE_CHECKING:
    from collections.abc import Callable

    from gleitzeit_plugin_http_fast.pool import Pool
    from gleitzeit_plugin_http_fast.routes import Route

__all__ = ["Connection"]

#: Bytes without any of a body: a longer head, trailer or chunk extension is an attack or a mistake.
_QUIET_LIMIT: Final = 100 * 1024
_TOGETHER: Final = 64 * 1024
_NO_ANSWER: Final = "Server disconnected without sending a response."


class Connection(asyncio.Protocol):
    """Serves one request at a time, and tells the pool once when it is free again or gone."""

    __slots__ = (
        "_answer",
        "_closing",
        "_done",
        "_drain",
        "_extra",
        "_full",
        "_headers",
        "_interim",
        "_keep",
        "_parser",
        "_pieces",
        "_poll",
        "_pool",
        "_quiet",
        "_reason",
        "_sent",
        "_transport",
        "loop",
        "on_body",
        "route",
    )

    def __init__(self, pool: Pool, route: Route, loop: asyncio.AbstractEventLoop) -> None:
        self.route = route
        self._pool = pool
        self.loop = loop
        self._transport: asyncio.Transport | None = None
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._answer: Answer | None = None
        self._drain: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        #: The parser calls it for each piece: in this way without entering Python code.
        self.on_body = self._pieces.append
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._closing = self._done = self._extra = self._interim = self._full = False
        self._keep = self._sent = True
        self._quiet = 0
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; raises `httpx2.ConnectError` where the connection is gone already."""
        if self._transport is None:
            raise httpx2.ConnectError("the connection was closed at once")
        return self._transport

    def upgraded(self, transport: asyncio.Transport) -> None:
        """A tunnel or TLS stands: go on over `transport`, as if nothing had been said before."""
        self._transport = transport
        self._answer = None
        self._parser = httptools.HttpResponseParser(self)

    @property
    def usable(self) -> bool:
        """Idle, and neither an end nor anything else has arrived, also not unnoticed by the loop so far."""
        return (
            self._transport is not None
            and not self._closing
            and (self._poll is None or not self._poll(0))
            and not self._transport.is_closing()
        )

    async def ask(
        self,
        head: Head,
        body: bytes | AsyncIterable[bytes],
        method: bytes,
        write: float | None = None,
        read: float | None = None,
    ) -> Answer:
        """Send a request; gives its answer when the head is there. Cancelled, it closes the connection.

        `write` and `read` are seconds. Raises the exceptions of httpx2.
        """
        answer = self._answer = Answer(self, self.loop, method)
        answer.timeout = read
        self._done = self._extra = self._interim = self._sent = False
        self._keep, self._quiet = not head.close, 0
        self._headers = []
        self._reason = b""
        try:
            if isinstance(body, bytes):
                await self._send_whole(answer, head, body, write)
            else:
                await self._send_pieces(answer, head, body, write)
            try:
                await wait(answer.head, read, self.loop.call_later)
            except TimeoutError:
                raise httpx2.ReadTimeout("no answer came in time") from None
        except BaseException as error:
            if self._answer is answer:  # else it is over already, and the connection may be another's by now
                self.abort(error if isinstance(error, httpx2.HTTPError) else httpx2.ReadError("given up"))
            raise
        return answer

    async def _send_whole(self, answer: Answer, head: Head, body: bytes, seconds: float | None) -> None:
        if head.length is None:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        elif head.length != len(body):
            raise httpx2.LocalProtocolError("the body is not as long as its Content-Length says")
        if len(body) <= _TOGETHER:
            self.transport.write(head.data + body)
        else:
            self.transport.write(head.data)
            self.transport.write(body)
        self._sent = True
        if self._full:
            await self._drained(answer, seconds)

    async def _send_pieces(
        self, answer: Answer, head: Head, body: AsyncIterable[bytes], seconds: float | None
    ) -> None:
        self.transport.write(head.data)
        left = head.length
        iterator = body.__aiter__()
        try:
            async for piece in iterator:
                if answer.over or self._transport is None:
                    return  # it answered without waiting for the rest, or has gone: the answer says which
                if left is None:
                    piece = b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b""
                else:
                    left -= len(piece)
                    if left < 0:
                        raise httpx2.LocalProtocolError("the body is longer than its Content-Length says")
                self._transport.write(piece)
                if self._full:
                    await self._drained(answer, seconds)
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
        if answer.over or self._transport is None:
            return
        if left:
            raise httpx2.LocalProtocolError("the body is shorter than its Content-Length says")
        if left is None:
            self._transport.write(b"0\r\n\r\n")
        self._sent = True
        if self._full:
            await self._drained(answer, seconds)

    async def _drained(self, answer: Answer, seconds: float | None) -> None:
        if answer.over:
            return
        self._drain = self.loop.create_future()
        try:
            await wait(self._drain, seconds, self.loop.call_later)
        except TimeoutError:
            raise httpx2.WriteTimeout("the request was not taken in time") from None
        finally:
            self._drain = None

    def abort(self, error: Exception) -> None:
        """Close at once; an answer that is not over ends in `error`. Idempotent."""
        self._closing = True
        abort(self._transport)
        self._finish(error)

    def pause_reading(self) -> None:
        """The reader is slow: let the upstream wait."""
        if self._transport is not None and not self._closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The reader has caught up."""
        if self._transport is not None and not self._closing:
            self._transport.resume_reading()

    def _finish(self, error: Exception | None) -> None:
        """The answer is over: the connection is free again, or must go."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        keep = (
            error is None
            and self._keep
            and self._sent
            and not self._extra
            and not self._closing
            and self._transport is not None
            and not self._transport.get_write_buffer_size()
        )
        answer.end(error)
        self._resume_writer()
        if answer.method == b"CONNECT":
            return
        if keep:
            if answer.paused:
                self.resume_reading()  # an idle connection must notice its end
            self._pool.give(self)
        else:
            self._closing = True
            abort(self._transport)
            self._pool.free()

    def _flush(self, answer: Answer) -> None:
        """Give the reader what the parser has found, in one piece."""
        pieces = self._pieces
        if pieces:
            answer.add(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            pieces.clear()

    def _resume_writer(self) -> None:
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no such class
        self._pool.made(self)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN)
            self._poll = poll.poll

    def data_received(self, data: bytes) -> None:
        answer, parser = self._answer, self._parser
        if answer is None or parser is None:
            self.abort(httpx2.RemoteProtocolError("bytes came that nobody asked for"))
            return
        error: Exception | None = None
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._done, self._keep = True, False
        except httptools.HttpParserError as problem:
            error = httpx2.RemoteProtocolError(str(problem) or type(problem).__name__)
        if self._done:
            self._pieces.clear()  # of what came after the answer
            self._keep = self._keep and error is None
            self._finish(None)
            return
        if self._pieces:
            self._quiet = 0
            self._flush(answer)
        else:
            self._quiet += len(data)
            if self._quiet > _QUIET_LIMIT:
                error = error or httpx2.RemoteProtocolError("the head of the answer is too long")
        if error is not None:
            self.abort(error)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._resume_writer()

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        answer, self._transport, self._poll, self._parser = self._answer, None, None, None
        if answer is not None:
            self._finish(httpx2.ReadError(str(error)) if error is not None else _ended(answer))
        self._pool.lost(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._done:
            self._extra = True

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser, answer = self._parser, self._answer
        if parser is None or answer is None or self._done:
            return
        status = parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim, self._headers, self._reason = True, [], b""
            return
        answer.status, answer.reason, answer.headers = status, self._reason, self._headers
        self._headers = []  # what comes now are trailers
        answer.version = b"HTTP/" + parser.get_http_version().encode()
        if answer.method == b"HEAD" or (answer.method == b"CONNECT" and 200 <= status < 300):
            self._done, self._keep = True, False  # the parser waits for a body that will not come
        if not answer.head.done():
            answer.head.set_result(None)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        elif self._parser is not None and self._answer is not None and not self._done:
            self._done = True
            self._flush(self._answer)
            self._keep = self._keep and self._parser.should_keep_alive()


def _ended(answer: Answer) -> Exception | None:
    """What the end of the input means in the middle of an answer; None where it is the answer's end."""
    if not answer.head.done():
        return httpx2.RemoteProtocolError(_NO_ANSWER)
    encodings = [value.lower() for name, value in answer.headers if name.lower() == b"transfer-encoding"]
    if encodings and encodings[-1].endswith(b"chunked"):
        how = "incomplete chunked read"
    elif not encodings and any(name.lower() == b"content-length" for name, _ in answer.headers):
        how = "fewer bytes than its Content-Length says"
    else:
        return None
    return httpx2.RemoteProtocolError(f"peer closed connection without sending complete message body ({how})")
