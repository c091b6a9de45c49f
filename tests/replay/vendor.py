"""What a vendor's module gives to the replay: what we make of an answer, what the SDK makes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Reply
from tests.replay.playback import Playback
from tests.replay.recordings import Interaction

__all__ = ["Difference", "Seen", "Vendor", "seen", "seen_error"]


@frozen(kw_only=True)
class Seen:
    """What a client made of an answer. None: this client does not tell, which is compared with nothing.

    A call is (id, name, arguments); arguments given as text are compared with the text of ours, else
    with the parsed object. `usage` has the names of `gleitzeit.Usage`, and only what the SDK knows.
    """

    text: Any = None
    thinking: str | None = None
    calls: tuple[tuple[str | None, str, Any], ...] | None = None
    finish: str | None = None
    usage: Mapping[str, int | None] | None = None
    model: str | None = None
    id: str | None = None
    vectors: tuple[tuple[float, ...], ...] | None = None
    data: Any = None
    #: The HTTP status of an error, 0 for an error within a stream; None for a good end.
    error: int | None = None


@frozen(kw_only=True)
class Difference:
    """A difference by design: `holds(interaction, ours, theirs)` says where it explains those in `fields`."""

    name: str = field(kw_only=False)
    reason: str
    fields: tuple[str, ...]
    holds: Callable[[Interaction, Seen, Seen], bool] = field(default=lambda *_: True, repr=False)


class Vendor(ABC):
    """One row of the replay. Everything goes through `play`: build both clients over its transport."""

    #: The row's name.
    name: ClassVar[str]
    #: What is compared with, as it stands in the table; "" where there is no SDK.
    oracle: ClassVar[str]
    #: Values of `provider` and `op` in the index of the recordings.
    providers: ClassVar[tuple[str, ...]]
    ops: ClassVar[tuple[str, ...]]
    differences: ClassVar[tuple[Difference, ...]] = ()
    #: `FILE` or `FILE#N` with the reason why it is not compared.
    listed: ClassVar[Mapping[str, str]] = {}
    #: `FILE#N` with the reason why `further` finds something there that is no fault; it must find it.
    excused: ClassVar[Mapping[str, str]] = {}

    def __init__(self, play: Playback) -> None:
        self.play = play

    @classmethod
    def takes(cls, interaction: Interaction) -> bool:
        """Is it one for this row, of those with the right provider and operation?"""
        return True

    @abstractmethod
    async def ours(self, interaction: Interaction) -> Reply:
        """Our reply to the loaded answer, streamed where it is a stream; raises `GleitzeitError`."""

    @abstractmethod
    async def theirs(self, interaction: Interaction) -> Seen:
        """What the SDK makes of the loaded answer; its errors become `Seen(error=…)`."""

    async def further(self, interaction: Interaction, reply: Reply) -> Iterable[str]:
        """Problems beyond the comparison, as of the reply sent back as history; none by default."""
        return ()

    async def aclose(self) -> None:
        """Close the client of `play`; override it to close more."""
        await self.play.client.aclose()


def seen(reply: Reply, interaction: Interaction) -> Seen:
    """What we made of an answer; ids that are not in it were made by us, and are None."""
    calls = tuple(
        (call.id if call.id.encode() in interaction.body else None, call.name, (call.raw, call.arguments))
        for call in reply.tool_calls
    )
    usage = reply.usage
    names = ("input", "output", "cache_read", "cache_write", "reasoning")
    return Seen(
        text=reply.text,
        thinking=reply.thinking,
        calls=calls,
        finish=reply.raw_finish_reason,
        usage=None if usage is None else {name: getattr(usage, name) for name in names},
        model=reply.model,
        id=reply.id,
        vectors=reply.vectors,
        data=reply.data,
    )


def seen_error(error: GleitzeitError) -> Seen:
    """How we failed; the text is what had come before."""
    partial = error.partial
    text = partial.text if isinstance(partial, Reply) else None
    # 200 stands for an error within an answer that began well.
    return Seen(error=0 if error.status in (None, 200) else error.status, text=text)
