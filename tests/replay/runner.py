"""Plays recordings to a vendor's two clients and counts what is equal, explained, or wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from attrs import define, evolve, field, fields

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Reply
from tests.replay.playback import Playback, Variant, variants
from tests.replay.recordings import Interaction, Recordings
from tests.replay.vendor import Seen, Vendor, seen, seen_error

__all__ = ["Tally", "chosen", "compare", "mismatches", "opened", "run"]

_FIELDS: Final = tuple(attribute.name for attribute in fields(Seen))


@define
class Tally:
    """How it went: `passed` counts what equals the SDK's but for the differences counted in `explained`."""

    vendor: str
    oracle: str
    interactions: int = 0
    streams: int = 0
    passed: int = 0
    #: Answers sent again in other pieces.
    variants: int = 0
    explained: Counter[str] = field(factory=Counter)
    #: Interactions that are not compared, with the reason.
    listed: dict[str, str] = field(factory=dict)
    #: `FILE#N: what is wrong`.
    failures: list[str] = field(factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        numbers = {name: getattr(self, name) for name in ("interactions", "streams", "passed", "variants")}
        more = {"explained": dict(self.explained), "listed": self.listed, "failures": self.failures}
        return {"vendor": self.vendor, "oracle": self.oracle, **numbers, **more}


@asynccontextmanager
async def opened(kind: type[Vendor]) -> AsyncIterator[Vendor]:
    """A vendor's two clients over a transport of their own."""
    vendor = kind(Playback())
    try:
        yield vendor
    finally:
        await vendor.aclose()


async def run(kind: type[Vendor], recordings: Iterable[Interaction], *, nth: int = 1) -> Tally:
    """Compare every interaction, then send it again in every `nth` of the other ways, each in its turn."""
    tally = Tally(kind.name, kind.oracle)
    async with opened(kind) as vendor:
        for interaction in recordings:
            reason = kind.listed.get(interaction.name) or kind.listed.get(interaction.file)
            tally.interactions += 1
            tally.streams += interaction.stream
            if reason is not None:
                tally.listed[interaction.name] = reason
                continue
            before = len(tally.failures)
            whole = await _compare(vendor, interaction, tally)
            ways = variants(interaction)[tally.interactions % nth :: nth]
            await _again(vendor, interaction, ways, whole, tally)
            tally.passed += len(tally.failures) == before
    return tally


def chosen(kind: type[Vendor], recordings: Recordings) -> Iterable[Interaction]:
    """What of the recordings is this vendor's."""
    return filter(kind.takes, recordings.find(kind.providers, kind.ops))


async def compare(vendor: Vendor, interaction: Interaction) -> tuple[Seen, list[str], list[str]]:
    """What we saw, the names of the differences that explain it, and what nothing explains."""
    vendor.play.load(interaction)
    problems: list[str] = []
    reply: Reply | None = None
    try:
        reply = await vendor.ours(interaction)
        ours = seen(reply, interaction)
    except GleitzeitError as error:
        ours = seen_error(error)
    vendor.play.load(interaction)
    theirs = await vendor.theirs(interaction)
    explained = []
    for name, what in mismatches(ours, theirs).items():
        known = next(
            (
                one
                for one in vendor.differences
                if name in one.fields and one.holds(interaction, ours, theirs)
            ),
            None,
        )
        if known is None:
            problems.append(f"{name}: {what}")
        else:
            explained.append(known.name)
    if reply is not None:
        vendor.play.load(interaction)
        more = list(await vendor.further(interaction, reply))
        excuse = vendor.excused.get(interaction.name)
        if excuse is None:
            problems += more
        elif more:
            explained.append(excuse)
        else:
            problems.append("it is excused, and has no fault any more")
    return ours, explained, problems


async def _compare(vendor: Vendor, interaction: Interaction, tally: Tally) -> Seen | None:
    try:
        ours, explained, problems = await compare(vendor, interaction)
    except Exception as error:  # whatever either client does, it is told of this interaction
        tally.failures.append(f"{interaction.name}: {type(error).__name__}: {error}"[:400])
        return None
    tally.explained.update(set(explained))
    tally.failures += [f"{interaction.name}: {problem}"[:400] for problem in problems]
    return ours


async def _again(
    vendor: Vendor, interaction: Interaction, ways: Iterable[Variant], whole: Seen | None, tally: Tally
) -> None:
    for variant in ways:
        tally.variants += 1
        vendor.play.load(interaction, variant)
        try:
            found = seen(await vendor.ours(interaction), interaction)
        except GleitzeitError as error:
            found = seen_error(error)
        except Exception as error:  # see `_compare`
            tally.failures.append(f"{interaction.name}: {variant}: {type(error).__name__}: {error}"[:400])
            continue
        problem = _unlike(found, whole, variant)
        if problem is not None and whole is not None:
            tally.failures.append(f"{interaction.name}: {variant}: {problem}"[:400])


def _unlike(found: Seen, whole: Seen | None, variant: Variant) -> str | None:
    if variant.cut is None:
        return None if found == whole else f"{found} is not {whole}"
    if found.error is not None or whole is None or whole.error is not None:
        return None
    # A good end of a cut stream: only where nothing but usage was cut off.
    cut = evolve(found, usage=whole.usage)
    return None if cut == whole else f"a cut stream passed for a whole one: {found}"


def mismatches(ours: Seen, theirs: Seen) -> Mapping[str, str]:
    """The fields that differ, with what each client says; fields that the SDK does not tell never do."""
    found: dict[str, str] = {}
    for name in _FIELDS:
        mine, their = getattr(ours, name), getattr(theirs, name)
        if name == "error":
            same = mine == their
        elif their is None or (ours.error is not None and name != "text"):
            continue
        elif name == "calls":
            same = _same_calls(mine, their)
        elif name == "usage":
            told = {key: value for key, value in their.items() if value is not None}
            same = told.items() <= (mine or {}).items()
        else:
            same = mine == their
        if not same:
            found[name] = f"ours {mine!r}, the SDK's {their!r}"
    return found


def _same_calls(mine: Any, their: Any) -> bool:
    if mine is None or len(mine) != len(their):
        return False
    for (id, name, (raw, parsed)), (their_id, their_name, arguments) in zip(mine, their, strict=True):
        if name != their_name or (their_id and id != their_id):
            return False
        if (raw if isinstance(arguments, str) else parsed) != arguments:
            return False
    return True
