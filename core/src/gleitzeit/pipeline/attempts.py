"""Asks the targets of a corridor until one answers, moving on and coming back only where that is safe."""

from __future__ import annotations

from collections.abc import Iterator

from gleitzeit.errors import GleitzeitError, PluginError
from gleitzeit.pipeline.legs import Group, Leg, legs
from gleitzeit.pipeline.recovery import Decider, Recovery
from gleitzeit.pipeline.visit import Visit
from gleitzeit.pipeline.votes import Voters, leaving, vote
from gleitzeit.values import Attempt, Reply, Request, Stream
from gleitzeit.values.operations import aimed
from gleitzeit.values.reply import signed

__all__ = ["Attempts"]


class Attempts:
    """The handler inside the middlewares of a call, called as `await attempts(request)`.

    `failed` are targets that could not be started. A busy target is waited for before another is
    asked where the route's order is the operator's own, or there is no other.
    """

    def __init__(
        self,
        tree: Group,
        *,
        failed: tuple[Attempt, ...],
        voters: Voters,
        deciders: tuple[tuple[str, Decider], ...],
    ) -> None:
        self._tree = tree
        every = tuple(legs(tree))
        #: The legs, where their order is always the same.
        self._fixed = every if tree.balancer is None and tree.flat else None
        self._failed = failed
        self._voters = voters
        self._deciders = deciders
        self._alone = len(every) == 1
        self._patient = tree.balancer is None or self._alone

    async def __call__(self, request: Request) -> Reply | Stream:
        """The answer of the first target that gives one; raises the most telling error.

        A stream is given once its first event with content has come.
        """
        order = iter(self._fixed) if self._fixed is not None else self._tree.order(request)
        leg = self._next(order)
        if leg is None:
            raise PluginError("the strategy of the route chose no target", hint="see its plugin", sent=False)
        leg.gate.budget.deposit()
        failed, waits, last = self._failed, self._patient, self._alone
        recovery: Recovery | None = None
        while True:
            visit: Visit | None = None
            try:
                attempt = aimed(request, leg.target)
                if self._voters:
                    votes = vote(self._voters, attempt, leg.target)
                    if votes is not None:
                        await votes
                if request.data_class == "private" and not leg.target.local:
                    raise leaving(leg.target)
                visit = Visit(leg, attempt)
                if not leg.gate.try_enter(attempt, visit):
                    await visit.enter(waits=waits, last=last)
                answer = await leg.handler(attempt)
                if isinstance(answer, Reply):
                    visit.answered(answer)
                    return signed(answer, leg.target, failed)
                visit.follow(answer)
                await answer.prime()
                visit.committed(answer)
                answer.target, answer.attempts = leg.target, failed
                return answer
            except BaseException as error:
                if visit is not None:
                    visit.failed(error)
                if not isinstance(error, GleitzeitError):
                    if visit is not None and visit.asked:
                        error.provider = leg.target.instance  # type: ignore[attr-defined]  # a `Deadline` hands it on
                    if recovery is not None:
                        recovery.ends(error)
                    raise
                if recovery is None:
                    recovery = Recovery(
                        request,
                        iter(lambda: self._next(order), None),
                        failed,
                        self._deciders,
                        patient=self._patient,
                        alone=self._alone,
                    )
                failure = error
            leg, waits, last = await recovery.after(leg, failure)
            failed = recovery.failed

    def _next(self, order: Iterator[Leg]) -> Leg | None:
        try:
            return next(order, None)
        except GleitzeitError:
            raise
        except Exception as error:
            raise self._tree.fault(error) from error
