"""The host for synchronous code: one background loop, the same corridor."""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from gleitzeit.catalogue import Offer, Thing
from gleitzeit.conversation import Approve, Ending
from gleitzeit.deferral import Defer
from gleitzeit.errors import UsageError
from gleitzeit.host import Host, InstanceHealth
from gleitzeit.servers import ServerInfo, ServersStatus
from gleitzeit.toolbox import ToolInfo
from gleitzeit.values import Change, Event, Reply, Request, Snapshot, Stream

__all__ = ["BlockingHost", "BlockingServers", "BlockingStream"]

T = TypeVar("T")
#: How long a cancelled call may take to clean up after Ctrl-C.
GRACE: Final = 5.0


class BlockingStream:
    """A stream for a `for` loop; leaving the `with` block closes the upstream."""

    def __init__(self, host: BlockingHost, stream: Stream) -> None:
        self._host = host
        self._stream = stream

    def __enter__(self) -> Self:
        self._host.run(self._stream.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._host.run(self._stream.aclose())

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self._host.run(self._next())
        if event is None:
            raise StopIteration
        return event

    @property
    def reply(self) -> Reply:
        """What was delivered so far, as a reply."""
        return self._stream.reply

    async def _next(self) -> Event | None:
        async for event in self._stream:
            return event
        return None


class BlockingServers:
    """`Host.servers` without `await`: see `gleitzeit.servers.Servers`, which raises the same."""

    def __init__(self, host: BlockingHost) -> None:
        self._host = host

    def deploy(self, name: str, entry: Mapping[str, Any]) -> None:
        """Add a server and start it."""
        self._host.run(self._host.host.servers.deploy(name, entry))

    def undeploy(self, name: str) -> None:
        """Remove a server; calls in flight may end."""
        self._host.run(self._host.host.servers.undeploy(name))

    def start(self, name: str) -> bool:
        """Start a server; True where it stands."""
        return self._host.run(self._host.host.servers.start(name))

    def stop(self, name: str) -> None:
        """Stop a server; it stays in the listing."""
        self._host.run(self._host.host.servers.stop(name))

    def execute(self, name: str, request: Mapping[str, Any], *, timeout: float | None = None) -> Reply:
        """Send `{"method": ..., "params": {...}}` to one server."""
        return self._host.run(self._host.host.servers.execute(name, request, timeout=timeout))

    def state(self, name: str) -> str:
        """The state of one server."""
        return self._host.run(self._host.host.servers.state(name))

    def scale(self, name: str, instances: int) -> None:
        """Have so many processes or sessions of a server."""
        self._host.run(self._host.host.servers.scale(name, instances))

    def list(self) -> builtins.list[ServerInfo]:
        """All servers."""
        return self._host.run(self._host.host.servers.list())

    def status(self) -> ServersStatus:
        """How many servers are well, and how long they take to answer."""
        return self._host.run(self._host.host.servers.status())


class BlockingHost:
    """A `Host` without `await`: `with BlockingHost() as host: host.call(...)`.

    Takes the arguments of `Host`. May be used from any thread but that of its own loop, where it
    would wait for itself: such a call raises `UsageError`. Ctrl-C cancels the call at its provider.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._host = Host(*args, **kwargs)
        #: MCP servers at run time.
        self.servers = BlockingServers(self)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Start the loop and open the host."""
        if self._loop is not None:
            raise UsageError("the host is open already")
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="gleitzeit host", daemon=True)
        self._thread.start()
        try:
            self.run(self._host.open())
        except BaseException:
            self._stop()
            raise

    def close(self) -> None:
        """Close the host and stop the loop. Idempotent."""
        if self._loop is not None:
            try:
                self.run(self._host.close())
            finally:
                self._stop()

    @property
    def host(self) -> Host:
        """The host itself, for coroutines that `run` takes."""
        return self._host

    def call(self, request: Request) -> Reply:
        """Send a request and wait for the whole answer."""
        return self.run(self._host.call(request))

    def stream(self, request: Request) -> BlockingStream:
        """Send a request and get its answer as events."""
        return BlockingStream(self, self.run(_made(lambda: self._host.stream(request))))

    def converse(
        self,
        request: Request,
        *,
        tools: Iterable[str] = (),
        max_turns: int = 8,
        approve: Approve | None = None,
        defer: Defer = "auto",
    ) -> Ending:
        """Let a model use tools until it answers. `approve` is called in the host's thread."""

        async def converse() -> Ending:
            return await self._host.converse(
                request, tools=tools, max_turns=max_turns, approve=approve, defer=defer
            )

        return self.run(converse())

    def offers(self, thing: Thing, *, wait: float | None = None) -> list[Offer]:
        """What all providers offer; those that take longer than `wait` seconds are `pending`."""
        return self.run(self._host.offers(thing, wait=wait))

    def start(self) -> dict[str, bool]:
        """Start what is configured of providers at once; gives for each whether it then stands."""
        return self.run(self._host.start())

    def provider_of(self, model: str) -> InstanceHealth | None:
        """Who is asked first for a model, and how it fares; None where nobody has it."""
        return self.run(self._host.provider_of(model))

    def tools(
        self,
        *,
        category: str | None = None,
        tags: Iterable[str] = (),
        set: str | None = None,
        wait: float | None = None,
    ) -> list[ToolInfo]:
        """All tools, or those of one category, with all of these tags, in one set."""
        return self.run(self._host.tools(category=category, tags=tags, set=set, wait=wait))

    def health(self, deep: bool = False) -> list[InstanceHealth]:
        """How every instance fares."""
        return self.run(self._host.health(deep))

    def watch(self, watcher: Callable[[Change], None]) -> Callable[[], None]:
        """Call `watcher`, in the host's thread, with each change that an instance announces.

        Returns what ends the watching.
        """
        return self._host.watch(watcher)

    def snapshot(self) -> Snapshot:
        """What has been counted since the host was made."""
        return self.run(_made(self._host.snapshot))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine in the host's loop, for what has no method of its own here."""
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            work.close()
            if loop is None:
                raise UsageError("the host is not open", hint="use `with BlockingHost() as host:`")
            raise UsageError(
                "a blocking call in the host's own thread would wait for itself", hint="await the Host"
            )
        result: concurrent.futures.Future[T] = concurrent.futures.Future()
        call = _Call(work, result)
        try:
            loop.call_soon_threadsafe(call.begin)
            return result.result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(call.cancel)  # after `begin`, whenever the interrupt came
            with contextlib.suppress(BaseException):
                concurrent.futures.wait([result], GRACE)
            raise

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_settle(), loop).result(GRACE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(GRACE)
        loop.close()


class _Call(Generic[T]):
    """A coroutine on its way through the loop; both methods run in the loop, in the order of their calls."""

    def __init__(self, work: Coroutine[Any, Any, T], result: concurrent.futures.Future[T]) -> None:
        self._work = work
        self._result = result
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        self._task = asyncio.ensure_future(self._work)
        self._task.add_done_callback(self._settle)

    def cancel(self) -> None:
        if self._task is None:
            self._work.close()
        else:
            self._task.cancel()

    def _settle(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._result.set_exception(concurrent.futures.CancelledError())
        elif (error := task.exception()) is not None:
            self._result.set_exception(error)
        else:
            self._result.set_result(task.result())


async def _made(make: Callable[[], T]) -> T:
    return make()


async def _settle() -> None:
    """Let cancelled tasks and abandoned generators of the loop end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=GRACE / 2)
    await asyncio.get_running_loop().shutdown_asyncgens()
