"""One request to a server with everything around it: deadline, room, a standing session, questions back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from gleitzeit.errors import DeadlineError, ServerFaultError, WireError
from gleitzeit.values import Request
from gleitzeit_plugin_mcp.supervisor import Supervisor

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.session import Connection, OnProgress

__all__ = ["Exchange"]

#: Rounds of questions that a server may ask before it answers, as in the SDKs of the protocol.
ROUNDS: Final = 10
#: Seconds for the loss of a session to show after a write to it failed.
SHOW: Final = 1.0


class Answers(Protocol):
    """Answers what a server asks back."""

    async def answer(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by key; raises where there is none."""


class Exchange:
    """Sends requests over the session that stands and waits for their results."""

    def __init__(
        self,
        name: str,
        supervisor: Supervisor,
        answers: Callable[[], Answers],
        *,
        timeout: float | None,
        room: int | None,
    ) -> None:
        self._name = name
        self._supervisor = supervisor
        self._answers = answers
        self._timeout = timeout
        self._room = asyncio.Semaphore(room) if room is not None else None

    def deadline(self, request: Request) -> float | None:
        """When a request has to be done, in `time.monotonic()` seconds."""
        if request.deadline is not None or self._timeout is None:
            return request.deadline
        return time.monotonic() + self._timeout

    async def ask(
        self,
        method: str,
        params: Mapping[str, Any],
        deadline: float | None,
        *,
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """The raw result. A request that may have reached the server is never sent again.

        Raises `DeadlineError` at the deadline, whatever the server does.
        """
        call = _Call()
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise self._late(method, sent=False)
        try:
            async with asyncio.timeout(left):
                if self._room is None:
                    return await self._rounds(call, method, params, on_progress)
                async with self._room:
                    return await self._rounds(call, method, params, on_progress)
        except TimeoutError:
            self._gave_up(call)
            raise self._late(method, sent=call.sent) from None
        except asyncio.CancelledError:
            self._gave_up(call)
            raise

    async def _rounds(
        self, call: _Call, method: str, params: Mapping[str, Any], on_progress: OnProgress | None
    ) -> dict[str, Any]:
        """Ask, and answer what the server wants to know first."""
        pause = 0.05
        for number in range(ROUNDS + 1):
            try:
                result = await self._once(call, method, params, on_progress)
            except WireError as error:
                error.sent = error.sent or number > 0  # an earlier round has reached the server
                raise
            if result.get("resultType") != "input_required":
                return result
            asked = result.get("inputRequests")
            if isinstance(asked, Mapping) and asked:
                params = {**params, "inputResponses": await self._answers().answer(asked)}
            else:  # it only wants more time
                params = {key: value for key, value in params.items() if key != "inputResponses"}
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.25)
            if result.get("requestState") is not None:
                params = {**params, "requestState": result["requestState"]}
        raise ServerFaultError(
            f"server {self._name!r} asked back more than {ROUNDS} times instead of answering {method}",
            provider=self._name,
            sent=True,
        )

    async def _once(
        self, call: _Call, method: str, params: Mapping[str, Any], on_progress: OnProgress | None
    ) -> dict[str, Any]:
        for attempt in range(2):
            connection = await self._supervisor.ready()
            call.began(connection)
            try:
                return await connection.request(method, params, on_progress=on_progress)
            except WireError as error:
                if error.sent is not False or attempt or not connection.lost.is_set():
                    raise
                # No byte left, as the session was gone already: this is the next one's call.
                call.sent = False
                await self._supervisor.gone(connection, SHOW)
        raise AssertionError("unreachable")

    def _gave_up(self, call: _Call) -> None:
        if call.connection is not None:
            self._supervisor.suspect(call.connection, call.at)

    def _late(self, method: str, *, sent: bool) -> DeadlineError:
        return DeadlineError(
            f"server {self._name!r} did not answer {method} in time",
            hint="give the call a longer timeout, or see the server's health",
            provider=self._name,
            sent=sent,
        )


class _Call:
    """How far a call has come."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.at = 0.0
        self.sent = False

    def began(self, connection: Connection) -> None:
        self.connection, self.at, self.sent = connection, time.monotonic(), True
