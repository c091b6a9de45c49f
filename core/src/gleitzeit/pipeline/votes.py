"""Security votes: every one counts, one denial wins, an exception is a denial."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from gleitzeit.errors import SecurityDeniedError
from gleitzeit.values import Request, Target, Verdict

__all__ = ["Voter", "Voters", "leaving", "vote"]

Voter: TypeAlias = Callable[[Request, Target | None], Verdict | None | Awaitable[Verdict | None]]
#: The plugin's name and its vote.
Voters: TypeAlias = tuple[tuple[str, Voter], ...]


def vote(voters: Voters, request: Request, target: Target | None) -> Awaitable[None] | None:
    """Hear every vote; None where all are for it, else what must be awaited.

    Votes are seldom coroutines, and then a call need not pay for one. Raises, or its awaitable
    does, `SecurityDeniedError` with all denials if there is one.
    """
    denials: list[str] = []
    for number, (name, check) in enumerate(voters):
        try:
            verdict: Any = check(request, target)
            if verdict is None or (isinstance(verdict, Verdict) and verdict.allowed is True):
                continue
            if not isinstance(verdict, Verdict) and inspect.isawaitable(verdict):
                return _wait(name, verdict, voters[number + 1 :], denials, request, target)
            denials.append(f"{name}: {_reason(verdict)}")
        except Exception as error:  # noqa: BLE001 - no vote may get lost: an exception is a deny
            denials.append(f"{name}: raised {type(error).__name__}")
    if denials:
        raise _denied(denials, target)
    return None


async def _wait(
    name: str,
    vote_: Awaitable[Any],
    others: Voters,
    denials: list[str],
    request: Request,
    target: Target | None,
) -> None:
    """The votes from the first coroutine on."""
    try:
        verdict = await vote_
        if verdict is not None and not (isinstance(verdict, Verdict) and verdict.allowed is True):
            denials.append(f"{name}: {_reason(verdict)}")
    except Exception as error:  # noqa: BLE001 - as above
        denials.append(f"{name}: raised {type(error).__name__}")
    try:
        rest = vote(others, request, target)
        if rest is not None:
            await rest
    except SecurityDeniedError as error:
        denials += error.votes
    if denials:
        raise _denied(denials, target)


def _reason(verdict: object) -> str:
    return verdict.reason if isinstance(verdict, Verdict) else f"gave {type(verdict).__name__}, not a Verdict"


def _denied(denials: list[str], target: Target | None) -> SecurityDeniedError:
    return SecurityDeniedError(
        f"denied by {'; '.join(denials)}",
        votes=tuple(denials),
        provider=target.instance if target else None,
        sent=False,
    )


def leaving(target: Target) -> SecurityDeniedError:
    """No guard is needed to keep a private request here."""
    reason = f"the request is private and {target} is not local"
    return SecurityDeniedError(
        f"denied by the host: {reason}",
        votes=(f"host: {reason}",),
        hint="choose a local target, or set local = true where no byte leaves this machine",
        provider=target.instance,
        sent=False,
    )
