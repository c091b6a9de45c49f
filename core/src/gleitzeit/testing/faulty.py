"""The base of a vendor's fake: a queue of answers, faults by path, and bodies sent well or badly.

A fake says what its vendor says in `respond`; all else is here. Complete:

    class AcmeServer(FaultyServer[Answer]):
        prefix = "/v2"

        def respond(self, call: Call) -> Answer:
            if call.path != "/v2/say":
                return Answer(status=404, body={"error": "no such path"})
            if self.answers:
                return self.answers.popleft()
            return Answer(frames=[{"word": "hi"}, "[DONE]"]) if call.json["stream"] else Answer(body={})

    async with AcmeServer() as server:
        server.answers.append(Answer(frames=[{"word": "hi"}], fault="cut", after=1))
        server.faults["/v2/models"] = Answer(status=503, body="down")
        ...                                   # point a client at server.url
        call = await server.request()         # what arrived: call.json, call.headers, call.path
        await call.closed.wait()              # the client went before the answer was complete
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, Literal, Self, TypeAlias, TypeVar

from attrs import field, frozen

from gleitzeit.testing.loopback import Call, LoopbackServer

__all__ = ["Answer", "Fault", "FaultyServer", "as_bytes", "ndjson", "sse"]

Fault: TypeAlias = Literal["reset", "close", "stall", "cut", "garbage"]


@frozen(kw_only=True)
class Answer:
    """One answer on the wire. With `frames` it is a stream of them, else it is `body`.

    `body` and each frame are sent as they are where they are bytes or text (a text frame is the data
    of its event), and as JSON where they are anything else; frames of bytes bring their own framing.

    `fault` strikes after `after` frames of a stream, or `at` bytes of the body; with neither,
    before the head: "reset" breaks the connection, "close" closes it, "stall" goes silent, "cut" ends the
    body as if it were whole, "garbage" sends what is not HTTP.
    """

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    body: Any = None
    frames: Sequence[Any] | None = None
    #: Seconds before each frame of a stream, and before a whole body.
    delay: float = 0.0
    fault: Fault | None = None
    after: int | None = None
    at: int | None = None
    #: Bytes of one write; 0 writes each frame whole.
    chunk: int = 0
    newline: str = "\n"
    gzip: bool = False
    #: Fields put into every object of the answer, but for what calls hold: what do unknown ones do?
    beside: Mapping[str, Any] | None = None


A = TypeVar("A", bound=Answer)
#: Names of the objects that models fill, in which every field means something.
_CALLS: Final = frozenset({"arguments", "args", "input", "metadata"})


class FaultyServer(Generic[A]):
    """Serves on 127.0.0.1 while its block is entered; a vendor's fake overrides `respond`.

    `answers` is the queue that `respond` takes from; `faults["/v1/models"]` and so on answer a whole
    path, before `respond` is asked and after `refuse` was.
    """

    #: The path of the base URL.
    prefix: ClassVar[str] = ""
    #: The content type of a stream; an answer's own header wins.
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    #: The header that numbers the answers, as `fake-1`; "" sends none.
    request_id: ClassVar[str] = "x-request-id"

    def __init__(self, *, port: int = 0) -> None:
        self.answers: deque[A] = deque()
        self.faults: dict[str, Answer] = {}
        self._http = LoopbackServer(self._handle, port=port)

    @property
    def url(self) -> str:
        """The base URL, with the prefix."""
        return f"{self._http.address}{self.prefix}"

    @property
    def requests(self) -> list[Call]:
        """Every request in order of arrival."""
        return self._http.requests

    @property
    def connections(self) -> int:
        """Connections that were opened, over all time."""
        return self._http.connections

    async def request(self, number: int = 0) -> Call:
        """The request with this number, as soon as it has arrived."""
        return await self._http.request(number)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    def refuse(self, call: Call) -> Answer | None:
        """The refusal of a request before anything else, as for a wrong key; None lets it through."""
        return None

    def respond(self, call: Call) -> Answer:
        """The answer to a request; what it raises is raised where the server's block ends."""
        raise NotImplementedError

    def frame(self, item: Any, newline: str) -> bytes:
        """One frame of a stream on the wire: server-sent events, unless a fake says otherwise."""
        return sse(item, newline)

    def written(self, answer: Answer) -> list[bytes]:
        """The pieces of an answer on the wire, before any fault strikes."""
        items = [answer.body] if answer.frames is None else list(answer.frames)
        if answer.beside is not None:
            items = [_beside(item, answer.beside) for item in items]
        if answer.frames is None:
            return [as_bytes(items[0])]
        return [item if isinstance(item, bytes) else self.frame(item, answer.newline) for item in items]

    async def _handle(self, call: Call) -> None:
        answer = self.refuse(call) or self.faults.get(call.path) or self.respond(call)
        if answer.fault is not None and answer.after is None and answer.at is None:
            await _strike(call, answer.fault)
            return
        streamed = answer.frames is not None
        pieces = self.written(answer)
        headers = {"content-type": self.stream_type if streamed else "application/json"}
        if self.request_id:
            headers[self.request_id] = f"fake-{len(self.requests)}"
        headers |= answer.headers
        if answer.gzip:
            pieces, headers["content-encoding"] = _gzip(pieces), "gzip"
        if not streamed and answer.fault != "cut":
            headers["content-length"] = str(sum(map(len, pieces)))
        await call.start(answer.status, headers)
        await _write(call, answer, pieces)


def _beside(item: Any, fields: Mapping[str, Any]) -> Any:
    if isinstance(item, list):
        return [_beside(each, fields) for each in item]
    if not isinstance(item, dict):
        return item
    kept = {name: each if name in _CALLS else _beside(each, fields) for name, each in item.items()}
    return {**fields, **kept}


def as_bytes(item: Any) -> bytes:
    """Bytes and text as they are, anything else as JSON."""
    if isinstance(item, bytes):
        return item
    return (item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)).encode()


def sse(item: Any, newline: str = "\n", *, event: str | None = None) -> bytes:
    """A server-sent event with this data, and with an `event:` line where one is named."""
    end = newline.encode()
    name = b"" if event is None else b"event: " + event.encode() + end
    return name + b"data: " + as_bytes(item) + end * 2


def ndjson(item: Any, newline: str = "\n") -> bytes:
    """A line of newline-delimited JSON."""
    return as_bytes(item) + newline.encode()


async def _write(call: Call, answer: Answer, pieces: Sequence[bytes]) -> None:
    left = sum(map(len, pieces)) + 1 if answer.at is None else answer.at
    for index, piece in enumerate(pieces):
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if index == answer.after:
            left = 0
        for start in range(0, len(piece), answer.chunk or len(piece) or 1):
            part = piece[start : start + (answer.chunk or len(piece))][:left]
            await call.write(part)
            left -= len(part)
            if answer.chunk:
                await asyncio.sleep(0)
            if not left:
                break
        if not left and answer.fault is not None:
            await _strike(call, answer.fault)
            if answer.fault != "cut":
                return
            break
    await call.end()


async def _strike(call: Call, fault: Fault) -> None:
    if fault == "reset":
        call.reset()
    elif fault == "close":
        call.close()
    elif fault == "stall":
        await call.stall()
    elif fault == "garbage":
        await call.raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n")


def _gzip(pieces: Sequence[bytes]) -> list[bytes]:
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*packed, packer.flush()]
