"""Follows tasks: tool calls that a server answers with a promise, and later with the result.

In 2026-07-28 a server does so as it likes (the extension `io.modelcontextprotocol/tasks`); in 2025-11-25
the tools say which of them are only to be had in this way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from gleitzeit.errors import (
    AuthenticationError,
    CapacityError,
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    ServerFaultError,
    UnsupportedError,
    WireError,
)
from gleitzeit.values import Tool
from gleitzeit_plugin_mcp.course import Course, related
from gleitzeit_plugin_mcp.faults import again
from gleitzeit_plugin_mcp.riding import aboard, tasked, unrelated
from gleitzeit_plugin_mcp.supervisor import Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection, OnProgress

__all__ = ["Follower", "defers"]

#: Seconds that a server may be out of reach while it works at a task.
AWAY: Final = 60.0
#: Seconds before it is tried again, doubled up to the second.
RETRY: Final = (0.05, 2.0)
#: Seconds for a server to hear that a task is not wanted any more, and of them after the end of the host.
CANCEL: Final = (5.0, 1.0)
#: Milliseconds for which a server of 2025-11-25 is asked to keep the result.
KEEP: Final = 86_400_000


class Call(Protocol):
    """How far the call has come that a task belongs to."""

    supervisor: Supervisor | None
    #: Did it ask for a task, of a server of the handshake era?
    deferred: bool
    #: Did the server refuse who we are?
    refused: bool
    #: Goes on with the task that the server has made of it.
    task: Callable[[], Awaitable[dict[str, Any]]] | None

    def accepted(self) -> None:
        """The server has just taken us for who we say."""

    def began(self, connection: Connection) -> None:
        """Something of it was sent there."""


def defers(capabilities: Mapping[str, Any]) -> bool:
    """Does a server of 2025-11-25 take calls of tools as tasks?"""
    found: Any = capabilities.get("tasks")
    for key in ("requests", "tools"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping) and found.get("call") is not None


class Follower:
    """Follows the tasks of one server to their ends.

    A lost session is no end: the task is looked for in the next one. The tool is never called again.
    `answers` gives what answers the server's questions, `tools` the tools that it lists.
    """

    def __init__(
        self, name: str, answers: Callable[[], Any], tools: Callable[[], Awaitable[Iterable[Tool]]]
    ) -> None:
        self._name = name
        self._answers = answers
        self._tools = tools
        self._cancelling: set[asyncio.Task[None]] = set()

    async def follow(
        self, call: Call, method: str, params: Mapping[str, Any], created: Any, on_progress: OnProgress | None
    ) -> dict[str, Any]:
        """The result of the task that `created` tells of; whoever cancels this cancels the task."""
        if method != "tools/call":
            raise MalformedAnswerError(
                f"server {self._name!r} answered {method} with a task", provider=self._name, sent=True
            )
        old = call.deferred
        course = Course(created["task"] if old else created, self._name)
        if course.ended and not old:  # the result stands only in the answer to `tasks/get`
            course = Course({**created, "status": "working", "pollIntervalMs": 0}, self._name)
        poll = course.pause

        def tell(news: Mapping[str, Any]) -> None:
            tasked(self._name, method, params, poll, news.get("statusMessage"))
            if on_progress is not None and news:
                on_progress(news)

        tell(course.news() or {})
        call.task = lambda: self._to_its_end(call, course, tell, self._resulted if old else self._asked)
        return await call.task()

    async def deferred(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters for a server of 2025-11-25, which has some tools as tasks only."""
        if method != "tools/call":
            return params
        tool = next((tool for tool in await self._tools() if tool.name == params.get("name")), None)
        execution = None if tool is None else tool.metadata.get("execution")
        only = isinstance(execution, Mapping) and execution.get("taskSupport") == "required"
        return {**params, "task": {"ttl": KEEP}} if only else params

    async def close(self) -> None:
        """Give servers a moment to hear of the last cancellations."""
        if self._cancelling:
            _, late = await asyncio.wait(self._cancelling, timeout=CANCEL[1])
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _to_its_end(
        self,
        call: Call,
        course: Course,
        tell: OnProgress,
        step: Callable[[_Trip, Course], Awaitable[dict[str, Any] | None]],
    ) -> dict[str, Any]:
        trip = _Trip(self._name, call, self._answers, course.id)
        try:
            while True:
                if (news := course.news()) is not None:
                    tell(news)
                if (result := await step(trip, course)) is not None:
                    return result
        except BaseException as error:
            if isinstance(error, GleitzeitError):
                error.sent = True
            if isinstance(error, AuthenticationError) and error.status == 401:
                call.refused = True  # with others it goes on; without them there is no telling the server
            elif not course.ended:
                self._abandon(call.supervisor, course.id)
            raise

    async def _asked(self, trip: _Trip, course: Course) -> dict[str, Any] | None:
        """One step in 2026-07-28: the outcome, or an answer to its questions, or a look at it."""
        if course.ended:
            return course.outcome(trip.secrets)
        refused: InvalidRequestError | None = None
        if questions := course.questions:
            answers = await self._answers().answer(questions)
            course.answered(questions)
            try:
                await trip.send("tasks/update", inputResponses=answers)
            except InvalidRequestError as error:
                refused = error  # unless it has ended meanwhile
        else:
            await asyncio.sleep(course.pause)
        course.saw(await trip.look())
        if refused is not None and course.status == "input_required":
            raise refused
        return None

    async def _resulted(self, trip: _Trip, course: Course) -> dict[str, Any] | None:
        """One step in 2025-11-25: while the result is asked for, the server puts its questions."""
        if course.status == "cancelled":
            return course.outcome(trip.secrets)
        if course.status != "working":
            return related(await trip.send("tasks/result"))
        await asyncio.sleep(course.pause)
        course.saw(await trip.look())
        return None

    def _abandon(self, supervisor: Supervisor | None, id: str) -> None:
        """Tell the server that the task is not wanted any more; nobody waits for that."""
        if supervisor is None:
            return
        with unrelated():
            task = asyncio.create_task(
                self._cancel(supervisor, id), name=f"mcp: cancel a task of {self._name}"
            )
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel(self, supervisor: Supervisor, id: str) -> None:
        with suppress(GleitzeitError, TimeoutError):
            async with asyncio.timeout(CANCEL[0]):
                connection = await supervisor.ready()
                await connection.request("tasks/cancel", {"taskId": id})


class _Trip:
    """Asks the server about one task, through the losses of its sessions."""

    def __init__(self, name: str, call: Call, answers: Callable[[], Any], id: str) -> None:
        self._name = name
        self._call = call
        self._answers = answers
        self._id = id
        #: What the server may quote of our own, and no error.
        self.secrets: tuple[str, ...] = ()
        #: The first loss on the way.
        self._lost: GleitzeitError | None = None

    async def look(self) -> dict[str, Any]:
        """The task as it is now."""
        try:
            return await self.send("tasks/get")
        except (InvalidRequestError, UnsupportedError) as error:
            if self._lost is not None:  # which explains more than that the task is not known there
                raise again(self._lost, sent=True) from error
            raise ServerFaultError(
                f"server {self._name!r} has lost the task of this call: {error.message}",
                provider=self._name,
                sent=True,
            ) from error

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer; every method of tasks may be repeated."""
        assert self._call.supervisor is not None, "the task was made by it"
        until, pause = None, RETRY[0]
        while True:
            try:
                connection = await self._call.supervisor.ready()
                self._call.began(connection)
                self.secrets = connection.secrets
                with aboard(self._answers()):
                    result = await connection.request(method, {"taskId": self._id, **params})
                self._call.accepted()
                return result
            except (WireError, CapacityError) as error:
                now = time.monotonic()
                until = now + AWAY if until is None else until
                if self._lost is None and isinstance(error, WireError):
                    self._lost = error
                wait = max(pause, error.retry_after or 0.0)
                if now + wait >= until:
                    raise
                await asyncio.sleep(wait)
                pause = min(2 * pause, RETRY[1])
