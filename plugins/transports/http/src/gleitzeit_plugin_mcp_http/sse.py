"""HTTP+SSE, the dialect of 2024: one stream of events brings everything, messages are posted beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import httpx2

from gleitzeit.errors import GleitzeitError, ResetError
from gleitzeit.wire.exchange import shut
from gleitzeit.wire.jsonrpc import messages
from gleitzeit_plugin_mcp_http.dialect import Dialect, Post
from gleitzeit_plugin_mcp_http.events import Events, media
from gleitzeit_plugin_mcp_http.inbox import Inbox
from gleitzeit_plugin_mcp_http.link import Link, NoEndpointError

__all__ = ["Sse"]

#: Seconds for the server to say where messages go.
OPENING: Final = 10.0


class Sse(Dialect):
    """HTTP+SSE; usable once `open` has returned. The wire is lost with its stream."""

    name: ClassVar[str] = "sse"

    def __init__(self, link: Link, inbox: Inbox, limit: int) -> None:
        super().__init__(link, inbox, limit)
        self._target: httpx2.URL | None = None
        self._opened = asyncio.Event()  # it is known where messages go, or that they go nowhere
        self._refused: GleitzeitError | None = None

    async def open(self) -> None:
        """Open the stream and wait for the address of messages; raises where there is none."""
        reader = self.start(self._read(), "read from")
        try:
            async with asyncio.timeout(OPENING):
                await self._opened.wait()
        except TimeoutError:
            self._refused = self._no_endpoint(f"did not say within {OPENING:g} s where messages go")
        finally:
            if self._target is None:
                reader.cancel()
                await asyncio.wait({reader})
        if self._target is None:
            raise self._refused or self.inbox.gone(sent=False)

    async def send(self, message: Mapping[str, Any], body: bytes, headers: Mapping[str, str]) -> None:
        """Post a message; it is taken when the server says so, and answered over the stream."""
        post = Post(message)
        await self.post(post, lambda: self._post(post, body, headers))

    async def _post(self, post: Post, body: bytes, headers: Mapping[str, str]) -> None:
        response = await self.link.open(
            "POST", {"content-type": "application/json", **headers}, body, url=self._target
        )
        if response.is_success:
            post.taken()  # the answer comes over the stream, whatever is said here
        answer = await self.link.refusal(response)
        if not response.is_success:
            raise self.link.error(response, answer)

    async def _read(self) -> None:
        """Read the stream to its end, which is the wire's."""
        try:
            response = await self.link.open("GET", {"accept": "text/event-stream"}, endless=True)
            if not response.is_success:
                raise self.link.error(response, await self.link.refusal(response))
            if media(response) != "text/event-stream":
                await shut(response)
                raise self._no_endpoint(f"answered with {media(response) or 'nothing'} in place of events")
            await self._events(response)
            error: GleitzeitError = ResetError(
                f"server {self.inbox.name!r} closed the stream of events",
                hint="see whether the server still runs",
                provider=self.inbox.name,
            )
        except GleitzeitError as fault:
            error = fault
        finally:
            self._opened.set()  # also where the wire is closed meanwhile
        if self._target is None:
            self._refused = error
        else:
            self.lose(error)

    async def _events(self, response: httpx2.Response) -> None:
        events = Events(response, self.inbox.name, self.limit)
        try:
            while (found := await events.read()) is not None:
                for event in found:
                    if event.event == "endpoint":
                        self._aim(event.data)
                    elif event.event == "message" and event.data:
                        self._deliver(event.data)
                await self.inbox.room()
        finally:
            await events.close()

    def _aim(self, data: bytes) -> None:
        """Take the address of messages; what lies elsewhere would get our credentials."""
        if self._target is not None:
            return
        here = self.link.url
        try:
            there = here.join(data.decode())
        except (ValueError, httpx2.InvalidURL):
            raise self._no_endpoint("gave an address for messages that is none") from None
        if (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
            raise self._no_endpoint("wants messages to go to another host")
        self._target = there
        self._opened.set()

    def _deliver(self, data: bytes) -> None:
        found = messages(data)
        if found is None:
            self.inbox.junk += 1
        for message in found or ():
            self.inbox.put(message)

    def _no_endpoint(self, what: str) -> GleitzeitError:
        return NoEndpointError(
            f"server {self.inbox.name!r} {what}",
            hint="is `url` the address of its stream of events? for streamable HTTP see `mode`",
            provider=self.inbox.name,
            retryable=False,
        )
