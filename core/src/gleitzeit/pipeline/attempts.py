"""Asks the targets of a corridor until one answers, moving on and coming back only where that is safe."""

from __future__ import annotations

from collections.abc import Iterator

from gleitzeit.errors import GleitzeitError, PluginError
from gleitzeit.pipeline.legs import Leg, Order
from gleitzeit.pipeline.recovery import Decider, Recovery
from gleitzeit.pipeline.visit import Visit
from gleitzeit.pipeline.votes import Voters, leaving, vote
from gleitzeit.values import Attempt, Reply, Request, Stream

__all__ = ["Attempts"]


class Attempts:
    """The handler inside the middlewares of a call.

    `failed` are targets that could not be started; `patient` says that a busy target is waited for
    before another is asked, `alone` that there is no other.
    """

    def __init__(
        self,
        order: Order,
        *,
        failed: tuple[Attempt, ...],
        voters: Voters,
        deciders: tuple[tuple[str, Decider], ...],
        patient: bool,
        alone: bool,
    ) -> None:
        self._order = order
        self._failed = failed
        self._voters = voters
        self._deciders = deciders
        self._patient = patient or alone
        self._alone = alone

    async def __call__(self, request: Request) -> Reply | Stream:
        """The answer of the first target that gives one; raises what the last one raised."""
        legs: Iterator[Leg] = iter(self._order(request))
        first = next(legs, None)
        if first is None:
            raise PluginError("the strategy of the route chose no target", hint="see its plugin", sent=False)
        first.gate.budget.deposit()
        try:
            return await self.ask(first, request, self._failed, waits=self._patient, last=self._alone)
        except GleitzeitError as error:
            recovery = Recovery(
                self.ask,
                request,
                self._failed,
                self._deciders,
                patient=self._patient,
                alone=self._alone,
            )
            return await recovery.after(first, error, legs)

    async def ask(
        self, leg: Leg, request: Request, errors: tuple[Attempt, ...], *, waits: bool, last: bool
    ) -> Reply | Stream:
        """One attempt at one target. A stream is given once its first event with content has come."""
        attempt = request.evolve(target=leg.target)
        if self._voters:
            votes = vote(self._voters, attempt, leg.target)
            if votes is not None:
                await votes
        if request.data_class == "private" and not leg.target.local:
            raise leaving(leg.target)
        visit = Visit(leg, attempt)
        try:
            if not visit.pass_by():
                await visit.enter(waits=waits, last=last)
            answer = await leg.handler(attempt)
            if isinstance(answer, Reply):
                visit.answered(answer)
                return answer.evolve(target=leg.target, attempts=errors)
            visit.follow(answer)
            await answer.prime()
        except BaseException as error:
            visit.failed(error)
            raise
        visit.committed(answer)
        answer.target, answer.attempts = leg.target, errors
        return answer
