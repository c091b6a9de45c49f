"""One request to a server with everything around it: deadline, room, a standing session, questions back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from gleitzeit.errors import AuthenticationError, DeadlineError, GleitzeitError, ServerFaultError, WireError
from gleitzeit.values import Request, Tool
from gleitzeit_plugin_mcp.call import Call
from gleitzeit_plugin_mcp.credentials import Credentials, Partitions
from gleitzeit_plugin_mcp.pace import Pace
from gleitzeit_plugin_mcp.pool import Key, Pool
from gleitzeit_plugin_mcp.riding import aboard, landed, passed_on, with_extras
from gleitzeit_plugin_mcp.tasks import Follower
from gleitzeit_plugin_mcp.visiting import VISIT, visited

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.member import Member
    from gleitzeit_plugin_mcp.session import OnProgress

__all__ = ["Exchange"]

#: Rounds of questions that a server may ask before it answers, as in the SDKs of the protocol.
ROUNDS: Final = 10
#: Seconds for the loss of a session to show after a write to it failed.
SHOW: Final = 1.0
#: Seconds that a timer may be early.
EARLY: Final = 0.01
_VISIT: Final = str(VISIT)


class Answers(Protocol):
    """Answers what a server asks back."""

    async def answer(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by key; raises where there is none."""

    async def elicit(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a person answers."""


class Exchange:
    """Sends requests over the sessions that stand and waits for their results.

    `affinity` says which of a request's words has an instance of its own, `partitions` whose
    credentials calls carry.
    """

    def __init__(
        self,
        name: str,
        pool: Pool,
        partitions: Partitions,
        answers: Callable[[], Answers],
        *,
        tools: Callable[[], Awaitable[Iterable[Tool]]],
        affinity: str,
    ) -> None:
        #: How fast the server answers.
        self.pace = Pace()
        self._name = name
        self._pool = pool
        self._partitions = partitions
        self._answers = answers
        self._follower = Follower(name, answers, tools)
        self._affinity = affinity

    def key(self, request: Request) -> Key | None:
        """Whose instance answers; None: any of those in common.

        Raises `AuthenticationError` where only principals have credentials, and the request names none.
        """
        personal = self._partitions.personal
        if self._affinity == "none" and not personal:
            return None
        principal = request.principal if personal else None
        if principal is None and not self._partitions.common:
            raise self._partitions.nobody()
        owner = request.principal if self._affinity == "principal" else None
        if self._affinity == "session" and request.metadata.get("session") is not None:
            owner = str(request.metadata["session"])
        return None if principal is None and owner is None else Key(principal, owner)

    async def close(self) -> None:
        """Leave nothing behind; all calls are to have ended."""
        await self._follower.close()

    async def ask(
        self,
        method: str,
        params: Mapping[str, Any],
        deadline: float | None,
        *,
        key: Key | None = None,
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """The raw result, from the instance of `key`; a request that may have arrived is never repeated.

        Raises `DeadlineError` at the deadline, whatever the server does.
        """
        call = Call(deadline)
        params = with_extras(self._name, method, params)
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise self.late(method, sent=False)
        try:
            async with asyncio.timeout(left):
                return await self._asked(call, method, params, key, on_progress)
        except TimeoutError:
            self._gave_up(call)
            raise self.late(method, sent=call.sent) from None
        except asyncio.CancelledError:
            self._gave_up(call)
            raise

    async def _asked(
        self,
        call: Call,
        method: str,
        params: Mapping[str, Any],
        key: Key | None,
        on_progress: OnProgress | None,
    ) -> dict[str, Any]:
        """The result, from an instance of `key` that has the credentials of now."""
        principal = None if key is None else key.principal
        credentials = self._partitions.of(principal)
        if principal is not None:
            await credentials.endpoint()  # without them there is nothing to start
        while True:
            async with self._pool.using(key) as member:
                call.supervisor = member.supervisor
                try:
                    if principal is None or await _current(member, credentials):
                        return await self._rounds(call, method, params, on_progress)
                    self._pool.retire(member)
                except WireError as error:
                    if call.forgiven or error.sent is not False or not call.lost:
                        raise
                    # No byte left, as the session was gone already: this is another's call.
                    await call.forget(SHOW)
                except AuthenticationError as error:
                    other = await call.renewed(credentials)
                    if other or (principal is not None and not member.ready):
                        self._pool.retire(member)
                    if not other:
                        if principal is not None and (call.refused or not member.ready):
                            error.hint = _theirs(error, principal)
                        raise

    async def _rounds(
        self, call: Call, method: str, params: Mapping[str, Any], on_progress: OnProgress | None
    ) -> dict[str, Any]:
        """Ask, and answer what the server wants to know first."""
        if call.task is not None:  # it was begun with other credentials
            return landed(self._name, method, params, await call.task())
        pause = 0.05
        for number in range(ROUNDS + 1):
            try:
                result = await self._once(call, method, params, on_progress)
            except GleitzeitError as error:
                error.sent = error.sent or number > 0  # an earlier round has reached the server
                call.refused = error.status == 401 and number == 0
                if error.vendor_code != _VISIT or call.visited or not await self._visited(call, error):
                    raise
                continue
            kind = result.get("resultType")
            if kind == "task" or ("task" in result and call.deferred):
                result = await self._follower.follow(call, method, params, result, on_progress)
            waits = kind == "input_required"
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
        self, call: Call, method: str, params: Mapping[str, Any], on_progress: OnProgress | None
    ) -> dict[str, Any]:
        assert call.supervisor is not None, "it is set before the first round"
        connection = await call.supervisor.ready()
        call.began(connection)
        with aboard(self._answers()):
            if connection.defers:
                params = await self._follower.deferred(method, params)
                call.deferred = "task" in params
            result = await connection.request(method, params, on_progress=on_progress)
        self.pace.add(time.monotonic() - call.at)
        return result

    async def _visited(self, call: Call, error: GleitzeitError) -> bool:
        """Has a person been where the server wants them, so that it may be asked again? Once in a call."""
        call.visited = True
        left = None if call.deadline is None else call.deadline - time.monotonic()
        assert call.connection is not None, "that is where the error came from"
        return await visited(self._answers(), call.connection, error, left)

    def _gave_up(self, call: Call) -> None:
        now = time.monotonic()
        if call.sent and call.deadline is not None and now >= call.deadline - EARLY:
            self.pace.add(now - call.at)
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


async def _current(member: Member, credentials: Credentials) -> bool:
    """Was the member's session opened with the credentials of now?"""
    return (await member.supervisor.ready()).endpoint is await credentials.endpoint()


def _theirs(error: AuthenticationError, principal: str) -> str | None:
    """The hint of a refusal, with whose credentials were refused."""
    if repr(principal) in error.message:
        return error.hint
    return f"these are the credentials of principal {principal!r}: renew them"
