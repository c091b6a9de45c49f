"""Streamable HTTP: each message is a POST, whose answer is JSON or a stream of events.

Since 2026-07-28 a request stands for itself, and closing it cancels it. Before, there is a session:
its id travels in a header, a GET brings what the server says unasked, broken streams are resumed by
the id of their last event, a 404 means that the session is over, and DELETE ends it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

import httpx2

from gleitzeit.errors import (
    AccessError,
    CapacityError,
    GleitzeitError,
    MalformedAnswerError,
    ResetError,
    TruncatedStreamError,
    WireError,
)
from gleitzeit.wire.exchange import shut
from gleitzeit.wire.jsonrpc import messages
from gleitzeit_plugin_mcp_http.dialect import Dialect, Post
from gleitzeit_plugin_mcp_http.events import Events, media, whole
from gleitzeit_plugin_mcp_http.inbox import Inbox
from gleitzeit_plugin_mcp_http.link import Link

__all__ = ["Streamable"]

#: The first version without sessions.
MODERN: Final = "2026-07-28"
VERSION: Final = "mcp-protocol-version"
SESSION: Final = "mcp-session-id"
#: Tries to come back to a stream that broke off, before it is given up.
RETURNS: Final = 3
#: Seconds before the first return to a stream that broke off, doubled each time, and before one to a
#: stream that ended well; a server may name its own time, up to the last of these.
BROKEN: Final = 0.1
ENDED: Final = 1.0
LONGEST: Final = 30.0
#: Seconds for a server to take leave.
FAREWELL: Final = 2.0


class Streamable(Dialect):
    """Streamable HTTP of both eras; which one follows from the messages."""

    name: ClassVar[str] = "streamable"

    def __init__(self, link: Link, inbox: Inbox, limit: int) -> None:
        super().__init__(link, inbox, limit)
        #: Has the server answered a message as an MCP server does?
        self.spoken = False
        self.session: str | None = None
        self._version: str | None = None
        self._posts: dict[Any, Post] = {}
        self._hearing: asyncio.Task[None] | None = None

    @property
    def in_flight(self) -> int:
        """Requests without an answer so far."""
        return len(self._posts)

    async def send(self, message: Mapping[str, Any], body: bytes, headers: Mapping[str, str]) -> None:
        """Post a message; a request is taken once its answer begins."""
        if message.get("method") == "initialize":
            self._version = self.session = None
        elif version := headers.get(VERSION):
            self._version = version
        modern = self._version is not None and self._version >= MODERN
        abandoned = self._abandoned(message)
        if abandoned is not None and abandoned.modern:
            self._abort(abandoned)
            return
        if modern and message.get("method") == "notifications/cancelled":
            return  # the answer has crossed it
        post = Post(message, modern=modern)
        if post.id is not None:
            self._posts[post.id] = post
        try:
            await self.post(post, lambda: self._ask(post, body, headers))
        except BaseException:
            self._forget(post)
            raise
        if abandoned is not None:
            self._abort(abandoned)  # what is cancelled gets no answer
        if post.method == "notifications/initialized" and self._hearing is None:
            self._hearing = self.start(self._hear(), "hear of")

    async def farewell(self) -> None:
        """End the session on the server, where there is one."""
        if self.session is None:
            return
        with suppress(GleitzeitError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await shut(await self.link.open("DELETE", self._headers({}), sign_in=False))

    def _abandoned(self, message: Mapping[str, Any]) -> Post | None:
        if message.get("method") != "notifications/cancelled":
            return None
        params = message.get("params")
        return self._posts.get(params.get("requestId")) if isinstance(params, Mapping) else None

    def _abort(self, post: Post) -> None:
        self._forget(post)
        if post.task is not None:
            post.task.cancel()

    def _forget(self, post: Post) -> None:
        if self._posts.get(post.id) is post:
            del self._posts[post.id]

    def _headers(
        self, headers: Mapping[str, str | bytes], accept: str = "application/json, text/event-stream"
    ) -> Any:
        own = {"accept": accept, "content-type": "application/json"}
        if self._version is not None:
            own[VERSION] = self._version
        if self.session is not None:
            own[SESSION] = self.session
        return {**own, **headers}

    async def _ask(self, post: Post, body: bytes, headers: Mapping[str, str]) -> None:
        """Post, and read the answer to its end."""
        session = self.session
        response = await self.link.open(
            "POST", self._headers(headers), body, endless=post.method == "subscriptions/listen"
        )
        try:
            if not response.is_success:
                await self._refused(post, response, session)
                return
            if post.method == "initialize":
                self.session = self._named(response)
            self.spoken = True
            if post.id is None:
                post.taken()
                await self.link.refusal(response)  # there is nothing in it
            elif media(response) == "text/event-stream":
                post.taken()
                await self._follow(post, response)
            else:
                text = await whole(response, self.inbox.name, self.limit)
                if not self._deliver(post, text):
                    raise self._malformed(response)
        finally:
            self._forget(post)
            await shut(response)

    def _named(self, response: httpx2.Response) -> str | None:
        """The session that the server begins, if it does."""
        session: str | None = response.headers.get(SESSION)
        if session is None or _SESSION.fullmatch(session):
            return session
        raise MalformedAnswerError(
            f"server {self.inbox.name!r} begins a session with an id that no header may hold",
            hint="the protocol wants visible characters of ASCII there",
            provider=self.inbox.name,
            sent=True,
        )

    async def _follow(self, post: Post, response: httpx2.Response) -> None:
        """Read the answer from a stream of events, and from further ones if it breaks off."""
        last: str | None = None
        failures = 0
        while True:
            answered, events, broken = await self._read(response, post)
            if answered:
                return
            if events.last is not None:
                last, failures = events.last, 0
            pause = events.retry
            while True:
                if last is None or post.modern or failures == RETURNS:
                    raise broken or self._cut()
                await asyncio.sleep(min(pause or BROKEN * 2**failures, LONGEST))
                failures += 1
                try:
                    response = await self._get(last)
                except WireError as error:
                    broken = error
                    continue
                if _is_stream(response):
                    break
                await shut(response)
                raise broken or self._cut()

    def _cut(self) -> GleitzeitError:
        what = f"server {self.inbox.name!r} ended its answer before the result"
        return TruncatedStreamError(what, provider=self.inbox.name, sent=True)

    async def _get(self, last: str | None) -> httpx2.Response:
        """Ask for a stream: what comes unasked, or what came after the event `last`."""
        resume = {} if last is None or not last.isprintable() else {"last-event-id": last.encode()}
        return await self.link.open("GET", self._headers(resume, accept="text/event-stream"), endless=True)

    async def _read(
        self, response: httpx2.Response, post: Post | None
    ) -> tuple[bool, Events, GleitzeitError | None]:
        """Read events to their end: has the answer come, where to resume, and why the stream broke off."""
        events = Events(response, self.inbox.name, self.limit)
        answered = False
        try:
            while not answered and (found := await events.read()) is not None:
                for event in found:
                    if event.event == "message" and event.data:
                        answered |= self._deliver(post, event.data)
                await self.inbox.room()
        except ResetError as error:
            return answered, events, error
        finally:
            await events.close(drain=answered)
        return answered, events, None

    def _deliver(self, post: Post | None, text: bytes) -> bool:
        """Hand on what a text holds; is the answer to the post among it?"""
        found = messages(text)
        if found is None:
            self.inbox.junk += 1
            return False
        answered = False
        for message in found:
            ours = post is not None and "method" not in message
            if ours and post is not None and not self._awaits(message.get("id")):
                message = {**message, "id": post.id}  # some servers answer with another id, or none
            if ours and post is not None and message.get("id") == post.id:
                answered = True
                self._learn(post, message)
            self.inbox.put(message)
        return answered

    def _awaits(self, id: Any) -> bool:
        """Is a request of this id under way?"""
        return type(id) in (int, str) and id in self._posts

    def _learn(self, post: Post, message: Mapping[str, Any]) -> None:
        result = message.get("result")
        if post.method == "initialize" and isinstance(result, Mapping):
            version = result.get("protocolVersion")
            self._version = version if isinstance(version, str) else None

    async def _refused(self, post: Post, response: httpx2.Response, session: str | None) -> None:
        """Hand on a refusal in JSON-RPC, or raise what the status means."""
        status = response.status_code
        body = await self.link.refusal(response)
        if session is not None and (status == 404 or (status == 400 and _NO_SESSION.search(body))):
            raise self._expired(session, status)
        error = self.link.error(response, body)
        said = _fault(body)
        if said is None or post.id is None or isinstance(error, (AccessError, CapacityError)):
            raise error
        self.spoken = True
        self.inbox.put({"jsonrpc": "2.0", "id": post.id, "error": said})

    def _expired(self, session: str, status: int) -> GleitzeitError:
        """The server has forgotten the session, and so has not acted."""
        error = ResetError(
            f"server {self.inbox.name!r} no longer knows the session",
            hint="a new one is begun; the server was started anew, or sessions end after a while",
            provider=self.inbox.name,
            status=status,
            sent=False,
        )
        if session == self.session:
            self.session = None
            self.lose(error)
        return error

    def _malformed(self, response: httpx2.Response) -> GleitzeitError:
        kind = media(response) or "nothing"
        return MalformedAnswerError(
            f"server {self.inbox.name!r} answered a request with {kind} that holds no answer to it",
            hint="is `url` the address of its MCP endpoint?",
            provider=self.inbox.name,
            status=response.status_code,
            sent=True,
        )

    async def _hear(self) -> None:
        """Read what the server says unasked, for as long as the session stands."""
        last: str | None = None
        failures = strange = 0
        while True:
            session = self.session
            pause = ENDED
            error: GleitzeitError | None
            try:
                response = await self._get(last)
            except AccessError:
                return  # it answers requests, but tells nothing
            except GleitzeitError as fault:
                error = fault
            else:
                if _is_stream(response):
                    failures = 0
                    try:
                        _, events, error = await self._read(response, None)
                    except GleitzeitError:  # what came can be no message; the session need not end for that
                        error, last = None, None
                        strange = min(strange + 1, 10)
                        pause = BROKEN * 2**strange
                    else:
                        last = events.last or last
                        pause = events.retry or pause
                else:
                    await shut(response)
                    status = response.status_code
                    if status == 404 and session is not None:
                        self._expired(session, status)
                    if status < 500 or status == 501:
                        return  # many servers have no such stream
                    error = self.link.error(response, b"")
            if error is not None:
                failures += 1
                if failures > RETURNS:
                    self.lose(error)
                    return
                pause = BROKEN * 2 ** (failures - 1)
            await asyncio.sleep(min(pause, LONGEST))


_SESSION: Final = re.compile(r"[\x20-\x7e]+")
#: What servers say that answer 400 in place of 404.
_NO_SESSION: Final = re.compile(rb"session", re.I)


def _is_stream(response: httpx2.Response) -> bool:
    return bool(response.is_success) and media(response) == "text/event-stream"


def _fault(body: bytes) -> Mapping[str, Any] | None:
    """The JSON-RPC error in the body of a refusal."""
    found = messages(body)
    if not found or len(found) != 1:
        return None
    error = found[0].get("error")
    return error if isinstance(error, Mapping) and isinstance(error.get("code"), int) else None
