"""What the contract suite has to know of a transport, and the bench that it is tested on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from attrs import field, frozen

from gleitzeit.errors import GleitzeitError
from gleitzeit.kinds import Context, Endpoint, Frame, Wire
from gleitzeit.testing.case import ContractBroken, built

__all__ = ["Line", "TransportCase", "WireBench", "on_wire_bench", "request"]

T = TypeVar("T")


@frozen(kw_only=True)
class TransportCase:
    """A transport under test, and a server that follows the script of `gleitzeit.testing.peer`.

    What is left at None is not tested, and the tests that need it are skipped with that reason.
    """

    #: The class, as in the entry point.
    plugin: Callable[[Any, Context], Any] = field(kw_only=False)
    #: Where the server is.
    endpoint: Endpoint
    #: The configuration: a mapping goes through the plugin's `Config`.
    config: Any = field(factory=dict, repr=False)
    #: Ends the server at once and without a farewell. It may be a coroutine function.
    kill: Callable[[], Awaitable[None] | None] | None = None
    #: Does a wire notice by itself that its server is gone? False where it holds no connection.
    notices: bool = True
    #: A server that lets clients in, and then never reads or answers.
    deaf: Endpoint | None = None
    #: Where nothing serves.
    nobody: Endpoint | None = None
    #: Does the wire carry the headers of each frame?
    headers: bool = False
    #: Characters of the largest message that is tried, each way.
    large: int = 5_000_000
    #: Rules that cannot be checked with this transport, by name, each with the reason.
    without: Mapping[str, str] = field(factory=dict)
    #: A secret that stands in `endpoint` and must never be seen elsewhere.
    secret: str | None = field(default=None, repr=False)
    #: Builds what the host would give to the transport.
    context: Callable[[], Context] | None = None
    #: Seconds within which the wire must react.
    patience: float = 20.0


class Line:
    """A wire with a reader, so that questions can be asked over it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        #: Messages in the order in which they came.
        self.heard: list[Mapping[str, Any]] = []
        #: Set when iterating the wire has come to its end.
        self.ended = asyncio.Event()
        self._news = asyncio.Event()

    async def read(self) -> None:
        """Read until the wire ends."""
        try:
            async for frame in self.wire:
                self.heard.append(frame.message)
                self._news.set()
        finally:
            self.ended.set()
            self._news.set()

    async def until(self, find: Callable[[], T | None]) -> T:
        """What `find` gives, as soon as it finds anything; raises where the wire ends before."""
        while (found := find()) is None:
            if self.ended.is_set():
                raise ContractBroken(f"the wire ended before an awaited message: {self.wire.error!r}")
            self._news.clear()
            await self._news.wait()
        return found

    async def note(self, method: str, **params: Any) -> Mapping[str, Any]:
        """The first notification or question of that method with these parameters."""

        def find() -> Mapping[str, Any] | None:
            return next(
                (
                    each
                    for each in self.heard
                    if each.get("method") == method
                    and params.items() <= dict(each.get("params") or {}).items()
                ),
                None,
            )

        return await self.until(find)

    async def answer(self, id: Any) -> Mapping[str, Any]:
        """The answer to request `id`, with `result` or `error`."""
        return await self.until(
            lambda: next((each for each in self.heard if "method" not in each and each.get("id") == id), None)
        )

    async def ask(self, id: Any, method: str, params: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Send a request, and give the `value` of its result."""
        await self.wire.send(request(id, method, params, headers))
        answer = await self.answer(id)
        result = answer.get("result")
        if not isinstance(result, Mapping) or "value" not in result:
            raise ContractBroken(f"{method} was answered with {str(answer)[:200]}")
        return result["value"]


def request(id: Any, method: str, params: Any, headers: Mapping[str, str] | None = None) -> Frame:
    """A request as a frame."""
    message = {"jsonrpc": "2.0", "id": id, "method": f"contract/{method}", "params": params}
    return Frame(message, headers=headers or {})


class WireBench:
    """A transport, built and started."""

    def __init__(self, case: TransportCase, transport: Any) -> None:
        self.case = case
        self.transport = transport

    @asynccontextmanager
    async def line(self, endpoint: Endpoint | None = None) -> AsyncIterator[Line]:
        """A wire to the case's server, or to another, with a reader."""
        async with self.transport.connect(endpoint or self.case.endpoint) as wire:
            line = Line(wire)
            reader = asyncio.create_task(line.read(), name="contract: reader")
            try:
                yield line
            finally:
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader

    async def within(self, awaitable: Awaitable[T], what: str) -> T:
        """The outcome, which must come within the case's patience."""
        deadline = asyncio.timeout(self.case.patience)
        try:
            async with deadline:
                return await awaitable
        except TimeoutError:
            if deadline.expired():
                raise ContractBroken(f"{what}, even after {self.case.patience:g} s") from None
            raise

    async def kill(self) -> None:
        """End the server."""
        assert self.case.kill is not None, "rules are run only where the case has what they need"
        ending = self.case.kill()
        if ending is not None:
            await ending

    async def refused(self, sending: Awaitable[None], what: str) -> GleitzeitError:
        """The error that sending raises."""
        try:
            await self.within(sending, f"{what} does not return")
        except GleitzeitError as error:
            return error
        except Exception as error:
            raise ContractBroken(
                f"{what} raised {type(error).__name__}: {error}; raise a GleitzeitError"
            ) from error
        raise ContractBroken(f"{what} raised nothing; raise a WireError")


@asynccontextmanager
async def on_wire_bench(case: TransportCase) -> AsyncIterator[WireBench]:
    """The transport of `case`, within its lifespan."""
    async with built(case) as (transport, _):
        yield WireBench(case, transport)
