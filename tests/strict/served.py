"""A fake behind a client without any socket, so that a provider may take it for the vendor itself."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import msgspec
from attrs import field, frozen

from gleitzeit.testing.faulty import Answer, FaultyServer
from gleitzeit.testing.loopback import Call

__all__ = ["Sent", "Served"]

#: Where Azure has what OpenAI has below /v1.
_AZURE: Final = re.compile(r"^/openai(?:/v1|/deployments/[^/]+)?(?=/)")


@frozen
class Sent:
    """A request as it was on the wire, and the fake's answer."""

    path: str
    # Not shown: `asyncio.run` makes the repr of what it returns, and theirs takes a tenth of a second.
    body: Any = field(repr=False)
    answer: Answer = field(repr=False)


class Served(httpx2.AsyncBaseTransport):
    """Hands requests to the `respond` of a fake, and keeps them."""

    def __init__(self, fake: FaultyServer[Any]) -> None:
        self.fake = fake
        self.sent: list[Sent] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        data = await request.aread()
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, request.url.raw_path.decode("ascii"), headers, data, None)
        call.path = _AZURE.sub("/v1", call.path)
        fake = self.fake
        answer = fake.refuse(call) or fake.faults.get(call.path) or fake.respond(call)
        self.sent.append(Sent(call.path, msgspec.json.decode(data) if data else None, answer))
        kind = "application/json" if answer.frames is None else fake.stream_type
        return httpx2.Response(
            answer.status,
            headers={"content-type": kind, **answer.headers},
            stream=_Written(b"".join(fake.written(answer))),
            request=request,
        )


class _Written(httpx2.AsyncByteStream):
    """A body that the client has still to read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data
