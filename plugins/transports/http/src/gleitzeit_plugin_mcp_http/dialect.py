"""What the dialects of MCP over HTTP have in common: messages that are posted, each in its own request."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar

from gleitzeit.errors import GleitzeitError, MalformedAnswerError
from gleitzeit_plugin_mcp_http.inbox import Inbox
from gleitzeit_plugin_mcp_http.link import Link

__all__ = ["Dialect", "Post"]


class Post:
    """A message on its way. `begun` is done once the server has taken it, or tells why it has not."""

    def __init__(self, message: Mapping[str, Any], *, modern: bool = False) -> None:
        self.method = message.get("method")
        #: The id of a request; None where no answer is due.
        self.id = message.get("id") if self.method is not None else None
        self.modern = modern
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None

    def taken(self) -> None:
        """The server has it."""
        if not self.begun.done():
            self.begun.set_result(None)

    def refused(self, error: GleitzeitError) -> bool:
        """The server has not taken it; False where it is known already what became of it."""
        if self.begun.done():
            return False
        self.begun.set_exception(error)
        self.begun.exception()  # a sender that is gone does not ask for it
        return True


class Dialect(ABC):
    """One way of talking over `link`; what comes goes to `inbox`. Ends its work when the wire is lost."""

    name: ClassVar[str]

    def __init__(self, link: Link, inbox: Inbox, limit: int) -> None:
        self.link = link
        self.inbox = inbox
        self.limit = limit
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def send(self, message: Mapping[str, Any], body: bytes, headers: Mapping[str, str]) -> None:
        """Post a message; returns once the server has taken it, raises where it has not."""

    async def farewell(self) -> None:  # noqa: B027 - only some dialects have one
        """Tell the server that the session is over."""

    async def close(self) -> None:
        """End all work; the wire is lost already."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        """Run in a task that ends with the wire."""
        task = asyncio.create_task(work, name=f"http: {what} {self.inbox.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def lose(self, error: GleitzeitError | None) -> None:
        """Give the wire up."""
        self.inbox.lose(error)
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()

    async def post(self, post: Post, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the exchange of a post; returns as soon as the server has taken it.

        Cancelling ends the exchange. What fails after it was taken is told to the request's waiter.
        """
        post.task = self.start(self._exchange(post, work), "post to")
        # A task that is cancelled before its first step, as by a loss at this moment, never runs.
        post.task.add_done_callback(lambda _: post.refused(self.inbox.gone(sent=False)))
        try:
            await post.begun
        except asyncio.CancelledError:
            post.task.cancel()
            raise

    async def _exchange(self, post: Post, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
            post.taken()
        except asyncio.CancelledError:
            post.refused(self.inbox.gone(sent=True))  # the wire was lost meanwhile
            raise
        except GleitzeitError as error:
            self._failed(post, error)
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer must hear of it
            what = (
                f"server {self.inbox.name!r} answered in a way that is not understood: {type(error).__name__}"
            )
            self._failed(post, MalformedAnswerError(what, provider=self.inbox.name, sent=True))

    def _failed(self, post: Post, error: GleitzeitError) -> None:
        if not post.refused(error) and post.id is not None and not post.begun.cancelled():
            self.inbox.fail(post.id, error)
