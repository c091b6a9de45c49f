"""One request to a server with everything around it: deadline, room, a standing session, questions back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from gleitzeit.errors import DeadlineError, GleitzeitError, ServerFaultError, WireError
from gleitzeit.values import Request
from gleitzeit_plugin_mcp.pool import Pool
from gleitzeit_plugin_mcp.riding import aboard, landed, passed_on, with_extras
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
    """Sends requests over the sessions that stand and waits for their results.

    `affinity` says which of a request's words has an instance of its own.
    """

    def __init__(
        self,
        name: str,
        pool: Pool,
        answers: Callable[[], Answers],
        *,
        timeout: float | None,
        affinity: str,
    ) -> None:
        self._name = name
        self._pool = pool
        self._answers = answers
        self._timeout = timeout
        self._affinity = affinity

    def key(self, request: Request) -> str | None:
        """Whose instance answers; None: any of those in common."""
        if self._affinity == "none":
            return None
        owner = request.principal if self._affinity == "principal" else request.metadata.get("session")
        return None if owner is None else str(owner)

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
        key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """The raw result, from the instance of `key`; a request that may have arrived is never repeated.

        Raises `DeadlineError` at the deadline, whatever the server does.
        """
        call = _Call()
        params = with_extras(self._name, method, params)
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise self.late(method, sent=False)
        try:
            async with asyncio.timeout(left):
                for last in (False, True):
                    async with self._pool.using(key) as member:
                        call.supervisor = member.supervisor
                        try:
                            return await self._rounds(call, method, params, on_progress)
                        except WireError as error:
                            if last or error.sent is not False or not call.lost:
                                raise
                            # No byte left, as the session was gone already: this is another's call.
                            await call.forget(SHOW)
                raise AssertionError("unreachable")
        except TimeoutError:
            self._gave_up(call)
            raise self.late(method, sent=call.sent) from None
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
            except GleitzeitError as error:
                error.sent = error.sent or number > 0  # an earlier round has reached the server
                raise
            waits = result.get("resultType") == "input_required"
            if not waits or passed_on(self._name, method, params):
                return landed(self._name, method, params, result)
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
        assert call.supervisor is not None, "it is set before the first round"
        connection = await call.supervisor.ready()
        call.began(connection)
        with aboard(self._answers()):
            return await connection.request(method, params, on_progress=on_progress)

    def _gave_up(self, call: _Call) -> None:
        if call.connection is not None and call.supervisor is not None:
            call.supervisor.suspect(call.connection, call.at)

    def late(self, method: str, *, sent: bool) -> DeadlineError:
        """The error for a request that got no answer in time."""
        return DeadlineError(
            f"server {self._name!r} did not answer {method} in time",
            hint="give the call a longer timeout, or see the server's health",
            provider=self._name,
            sent=sent,
        )


class _Call:
    """How far a call has come."""

    def __init__(self) -> None:
        self.supervisor: Supervisor | None = None
        self.connection: Connection | None = None
        self.at = 0.0
        self.sent = False

    @property
    def lost(self) -> bool:
        """Has the session ended that it went to?"""
        return self.connection is not None and self.connection.lost.is_set()

    async def forget(self, seconds: float) -> None:
        """It never left: wait until nobody else is sent that way, but no longer than so many seconds."""
        connection, self.connection, self.sent = self.connection, None, False
        if connection is not None and self.supervisor is not None:
            await self.supervisor.gone(connection, seconds)

    def began(self, connection: Connection) -> None:
        self.connection, self.at, self.sent = connection, time.monotonic(), True
