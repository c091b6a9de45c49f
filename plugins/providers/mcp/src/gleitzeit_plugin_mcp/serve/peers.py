"""Clients that are asked something while a call of theirs is under way."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mcp import MCPError
from mcp_types import LOG_LEVEL_META_KEY

from gleitzeit.errors import QueueFullError
from gleitzeit_plugin_mcp import ears
from gleitzeit_plugin_mcp.faults import from_rpc
from gleitzeit_plugin_mcp.serve.refusals import wrong

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.shared.dispatcher import Outbound

    from gleitzeit_plugin_mcp.serve.tasks import Desk

__all__ = ["LEVELS", "Asking", "Parking", "Pushing", "asked", "wanted"]

#: Seconds that a call waits for answers, and how many calls may.
PATIENCE: Final = 600.0
PARKED: Final = 256
#: Log messages that wait to be passed on; what comes beyond is left out.
TOLD: Final = 256
LEVELS: Final = tuple(ears.LEVELS)
_ASKED: Final = ("elicitation", "sampling", "roots")
#: Before the state of a round: whose it is.
_OURS, _THEIRS = "park:", "pass:"
_ELSEWHERE: Final = (
    "the call waits in another process of this service, or in one that has ended; make it again"
)


def asked(context: ServerRequestContext[Any, Any]) -> dict[str, Any]:
    """What the client says that it can be asked."""
    found = context.session.client_capabilities
    if found is None:
        return {}
    state = context.session._connection.state
    known: Any
    said: dict[str, Any]
    known, said = state.get("gleitzeit-asked", (None, {}))
    if known is not found:
        whole = found.model_dump(by_alias=True, mode="json", exclude_none=True)
        said = {key: whole[key] for key in _ASKED if key in whole}
        state["gleitzeit-asked"] = found, said
    return said


class _Told:
    """Passes log messages on, on the stream of the call, before its result."""

    def __init__(self, context: ServerRequestContext[Any, Any]) -> None:
        self.context = context
        #: The least level that the client wants to hear of; None for none.
        self.level: str | None = None
        #: Has its call become a task, which is not told of in between?
        self.held = False
        self._telling: set[asyncio.Task[None]] = set()

    def tell(self, params: Mapping[str, Any]) -> None:
        """Pass on a log message."""
        if not self.held and loud(params.get("level"), self.level):
            self._tell(self.context.session._request_outbound, "notifications/message", _plain(params))

    def _tell(self, outbound: Outbound, method: str, params: Mapping[str, Any]) -> None:
        if len(self._telling) < TOLD:
            task = asyncio.create_task(outbound.notify(method, params))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def told(self) -> None:
        """Wait until what was passed on has gone out."""
        if self._telling:
            await asyncio.wait(self._telling)


class Pushing(_Told):
    """A client of the handshake era: it is asked on the stream of its call.

    One for each session, as a server that asks cannot say which of its calls it means.
    """

    rounds: Final = False

    def __init__(self, context: ServerRequestContext[Any, Any], capabilities: Mapping[str, Any]) -> None:
        super().__init__(context)
        self.capabilities = capabilities
        self._calls: list[ServerRequestContext[Any, Any]] = []
        self.level = "info"  # what servers say before anybody has asked for more or less

    @contextmanager
    def during(self, context: ServerRequestContext[Any, Any]) -> Iterator[None]:
        """A call is under way: its stream is there as long."""
        self._calls.append(context)
        self.context = context
        try:
            yield
        finally:
            self._calls.remove(context)
            if self._calls:
                self.context = self._calls[-1]

    def tasked(self, poll: float, said: str | None) -> None:
        """Nothing to do: it waits."""

    def visited(self, id: str) -> None:
        """Tell that a visit is over; its call has ended with the error, and so has the stream of that."""
        method = "notifications/elicitation/complete"
        self._tell(self.context.session._connection, method, {"elicitationId": id})

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Its raw answer."""
        try:
            return await self.context.session._request_outbound.send_raw_request(method, _plain(params))
        except MCPError as error:
            raise from_rpc(
                error.error.code, error.error.message, None, server="the client", what=method
            ) from error


class Asking(_Told):
    """A client of the modern era, in the round of its call that it waits for."""

    rounds: Final = True

    def __init__(self, context: ServerRequestContext[Any, Any], capabilities: Mapping[str, Any]) -> None:
        super().__init__(context)
        self.capabilities = capabilities
        self.level = wanted(context)
        self.task: asyncio.Task[dict[str, Any]] | None = None
        #: Where the call goes on as a task, should its server make one of it; None for nowhere.
        self.desk: Desk | None = None
        #: Seconds between two looks that the server of such a task wishes for, and what it is at.
        self.poll: float | None = None
        self.said: str | None = None
        self.questions: dict[str, tuple[dict[str, Any], asyncio.Future[dict[str, Any]]]] = {}
        self.wake = asyncio.Event()
        self._keys = itertools.count(1)

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Its raw answer, in a later round."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        key = f"question-{next(self._keys)}"
        self.questions[key] = ({"method": method, "params": _plain(params)}, future)
        self.wake.set()
        try:
            return await future
        finally:
            self.questions.pop(key, None)

    def tasked(self, poll: float, said: str | None) -> None:
        """Its server goes on with the call as a task."""
        if self.desk is not None:
            self.poll, self.said = poll, said
            self.wake.set()

    def visited(self, id: str) -> None:
        """Nothing to tell: its protocol has no such error."""

    def put(self) -> dict[str, Any]:
        """The questions that wait for an answer."""
        return {key: asked for key, (asked, future) in self.questions.items() if not future.done()}

    def answer(self, responses: Mapping[str, Any]) -> None:
        """Take the answers of a round; a question without one is asked again in the next."""
        for key, (_, future) in self.questions.items():
            found = responses.get(key)
            if isinstance(found, Mapping) and not future.done():
                future.set_result(dict(found))


class Parking:
    """Keeps calls of modern clients while servers of the handshake era wait for answers."""

    def __init__(self) -> None:
        self._parked: dict[str, tuple[Asking, asyncio.TimerHandle]] = {}
        #: Of this process and no other: a state may come back to one that has the same key.
        self._ours = f"{_OURS}{secrets.token_hex(8)}."

    async def run(
        self,
        context: ServerRequestContext[Any, Any],
        capabilities: Mapping[str, Any],
        params: Mapping[str, Any],
        call: Callable[[Asking, Mapping[str, Any]], Coroutine[Any, Any, dict[str, Any]]],
        desk: Desk | None = None,
    ) -> dict[str, Any]:
        """The result of a call, or what the client is to answer before it goes on.

        Where the server makes a task of it, it goes to `desk`, if there is one. `call` gets the parameters
        as they are for the upstream.
        """
        state = params.get("requestState")
        if isinstance(state, str) and state.startswith(_OURS):
            found = self._parked.pop(state, None)
            if found is None:
                raise wrong("Invalid or expired requestState" if state.startswith(self._ours) else _ELSEWHERE)
            asking, timer = found
            timer.cancel()
            asking.context = context
            responses = params.get("inputResponses")
            asking.answer(responses if isinstance(responses, Mapping) else {})
        else:
            asking = Asking(context, capabilities)
            asking.desk = desk
            if isinstance(state, str):
                params = {**params, "requestState": state.removeprefix(_THEIRS)}
            asking.task = asyncio.create_task(call(asking, params), name="mcp server: call")
            asking.task.add_done_callback(lambda _: asking.wake.set())
        return await self._round(asking)

    async def _round(self, asking: Asking) -> dict[str, Any]:
        task = asking.task
        assert task is not None, "it was made with the call"
        kept = False
        try:
            while not task.done():
                if asking.desk is not None and asking.poll is not None:
                    if (held := asking.desk.hold(asking)) is not None:
                        kept = True
                        return held
                    asking.desk = None
                if asking.put():
                    result = self._keep(asking)
                    kept = True
                    return result
                asking.wake.clear()
                await asking.wake.wait()
            result = task.result()
            if result.get("resultType") == "input_required" and isinstance(result.get("requestState"), str):
                result = {**result, "requestState": _THEIRS + result["requestState"]}
            return result
        finally:
            if not kept and not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _keep(self, asking: Asking) -> dict[str, Any]:
        if len(self._parked) >= PARKED:
            raise QueueFullError(f"{PARKED} calls wait for answers already", retry_after=1.0)
        state = self._ours + secrets.token_urlsafe(16)
        timer = asyncio.get_running_loop().call_later(PATIENCE, self._expire, state)
        self._parked[state] = asking, timer
        return {
            "resultType": "input_required",
            "inputRequests": asking.put(),
            "requestState": state,
        }

    def _expire(self, state: str) -> None:
        found = self._parked.pop(state, None)
        if found is not None and found[0].task is not None:
            found[0].task.cancel()

    async def close(self) -> None:
        """Give up what waits."""
        tasks = set()
        for asking, timer in self._parked.values():
            timer.cancel()
            if asking.task is not None:
                asking.task.cancel()
                tasks.add(asking.task)
        self._parked.clear()
        if tasks:
            await asyncio.wait(tasks)


def loud(level: Any, least: str | None) -> bool:
    """Is a message of this level to be passed on?"""
    return least in LEVELS and level in LEVELS and LEVELS.index(level) >= LEVELS.index(least)


def wanted(context: ServerRequestContext[Any, Any]) -> str | None:
    """The least level of log messages that a request of the modern era asks for."""
    level = ((context.params or {}).get("_meta") or {}).get(LOG_LEVEL_META_KEY)
    return level if level in LEVELS else None


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Without what belongs to the hop from the server to here."""
    return {key: value for key, value in params.items() if key != "_meta"}
