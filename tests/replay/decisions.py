"""Error answers and what two clients decide on them: whose fault it is, whether to ask again, and when."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import chain
from typing import Any, Final
from unittest import mock

import anyio
from attrs import define, field, frozen

from gleitzeit.errors import (
    AccessError,
    CapacityError,
    DeadlineError,
    GleitzeitError,
    RequestError,
    UpstreamError,
)
from tests.replay.recordings import Interaction

__all__ = ["Decision", "Deviation", "Judged", "decided", "deviates", "hinted", "judge", "made", "sleeping"]

_FAMILIES: Final[Mapping[type[GleitzeitError], str]] = {
    RequestError: "request",
    AccessError: "access",
    CapacityError: "capacity",
    UpstreamError: "upstream",
    DeadlineError: "deadline",
}
#: Seconds below which a wait is the client's own backoff, which is chance; all made hints are longer.
_OWN: Final = 3.0
#: Stands for a date that is written when it is sent.
_DATE: Final = "a date"


@frozen(kw_only=True)
class Decision:
    """`family` None: the client does not tell; `wait` None: it waits as long as it likes."""

    family: str | None
    retry: bool
    wait: float | None = None


@frozen(kw_only=True)
class Deviation:
    """A difference by design."""

    name: str = field(kw_only=False)
    reason: str
    holds: Callable[[Interaction, Decision, Decision], bool] = field(repr=False)


@define
class Judged:
    """How the errors of one client compare."""

    vendor: str
    oracle: str
    recorded: int = 0
    made: int = 0
    equal: int = 0
    deviations: Counter[str] = field(factory=Counter)
    failures: list[str] = field(factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        numbers = {name: getattr(self, name) for name in ("recorded", "made", "equal", "failures")}
        return {"vendor": self.vendor, "oracle": self.oracle, **numbers, "by design": dict(self.deviations)}


def decided(error: GleitzeitError) -> Decision:
    """What our error says."""
    family = next((word for kind, word in _FAMILIES.items() if isinstance(error, kind)), None)
    return Decision(family=family, retry=error.retryable, wait=error.retry_after)


def deviates(ours: Decision, theirs: Decision, *, dated: bool = False) -> bool:
    """Do they differ in what both tell? A wait counts only where both ask again.

    Of a date (`dated`) both count from when they read it, so they need only have read it.
    """
    if theirs.family is not None and ours.family != theirs.family:
        return True
    if ours.retry != theirs.retry:
        return True
    if not ours.retry:
        return False
    if ours.wait is None or theirs.wait is None:
        return ours.wait != theirs.wait
    return not dated and abs(ours.wait - theirs.wait) > 1e-6


@contextmanager
def sleeping() -> Iterator[list[float]]:
    """Nobody sleeps; the seconds that somebody wanted to."""
    wanted: list[float] = []
    really = asyncio.sleep

    async def sleep(delay: float, result: Any = None) -> Any:
        wanted.append(delay)
        await really(0)
        return result

    with mock.patch.object(asyncio, "sleep", sleep), mock.patch.object(anyio, "sleep", sleep):
        yield wanted


def hinted(wanted: Iterable[float]) -> float | None:
    """The wait that somebody else named."""
    return next((seconds for seconds in wanted if seconds > _OWN), None)


def made(bodies: Mapping[str, Any]) -> Iterator[Interaction]:
    """Every status with and without hints, in the bodies of one vendor: by word or by status."""
    hints: dict[str, Mapping[str, str]] = {
        "": {},
        " after 7.5 s": {"retry-after": "7.5"},
        " after 5.5 s in ms": {"retry-after-ms": "5500", "retry-after": "9"},
        " after a date": {"retry-after": _DATE},
        " after an hour": {"retry-after": "3600"},
        " at once": {"retry-after": "0"},
        " after nonsense": {"retry-after": "soon"},
        " that says yes": {"x-should-retry": "true"},
        " that says no": {"x-should-retry": "false"},
    }
    for status in (400, 401, 402, 403, 404, 408, 409, 413, 422, 425, 429, 500, 501, 502, 503, 504, 529):
        for what, hint in hints.items():
            headers = {name: _soon() if value is _DATE else value for name, value in hint.items()}
            yield _error(f"{status}{what}", status, bodies.get(str(status), bodies[""]), headers)
    for what, body in bodies.items():
        if not what.isdigit() and what:
            number, _, rest = what.partition(" ")
            yield _error(rest, int(number), body, {})


def _soon() -> str:
    """A date less than the two minutes ahead that OpenAI's SDK waits at most."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=115), usegmt=True)


def _error(name: str, status: int, body: Any, headers: Mapping[str, str]) -> Interaction:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Interaction(provider="made", op="error", file=name, status=status, headers=headers, body=data)


async def judge(decider: Any, recorded: Iterable[Interaction], *, plus: bool = True) -> Judged:
    """Compare the two clients of a `Decider` on recorded errors and, with `plus`, on made ones."""
    judged = Judged(decider.name, decider.oracle)
    for interaction in chain(recorded, made(decider.bodies) if plus else ()):
        judged.made += interaction.provider == "made"
        judged.recorded += interaction.provider != "made"
        ours, theirs = await decider.ours(interaction), await decider.theirs(interaction)
        dated = interaction.headers.get("retry-after", "").endswith("GMT")
        if not deviates(ours, theirs, dated=dated):
            judged.equal += 1
            continue
        known = next((one for one in decider.deviations if one.holds(interaction, ours, theirs)), None)
        if known is None:
            judged.failures.append(f"{interaction.name}: ours {ours}, the SDK's {theirs}")
        else:
            judged.deviations[known.name] += 1
    return judged
