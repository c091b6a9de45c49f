"""Every recorded interaction has a row or a reason why it has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from attrs import define, field

from tests.replay.recordings import Recordings
from tests.replay.runner import chosen
from tests.replay.vendor import Vendor

__all__ = ["REASONS", "Account", "account"]

#: Provider, operation and a word of the path, as patterns, with the reason; the first that fits holds.
REASONS: Final = (
    ("other:*", "download", "*", "media fetched from elsewhere by whoever recorded; no vendor's answer"),
    ("openai", "responses", "*/input_tokens", "counts of tokens; no operation of the plugin"),
    ("openai", "other", "*", "stores of files and conversations; no operations of the plugin"),
    ("anthropic", "other", "*", "uploads and downloads of files; no operations of the plugin"),
    ("gemini", "other", "*", "caches and stores of files; no operations of the plugin"),
    ("huggingface", "models", "*", "the hub's card of a model, which the router does not need"),
    ("bedrock", "*", "*", "Bedrock's own wire, for which there is no plugin yet"),
    ("gateway:8787", "converse", "*", "Bedrock's own wire, for which there is no plugin yet"),
    ("cohere", "*", "*", "Cohere's own wire, for which there is no plugin yet"),
)


@define
class Account:
    """All interactions of the index: `total` is `replayed` and `explained` and `unexplained` together."""

    total: int = 0
    replayed: int = 0
    #: By (provider, reason).
    explained: Counter[tuple[str, str]] = field(factory=Counter)
    #: `FILE#N` with its provider and operation.
    unexplained: list[str] = field(factory=list)

    def __str__(self) -> str:
        said = (
            f"{self.total} in the index = {self.replayed} replayed + {self.explained.total()} with a reason"
        )
        return f"{said} + {len(self.unexplained)} with none" if self.unexplained else said

    def table(self) -> str:
        """The reasons in Markdown."""
        told: dict[str, Counter[str]] = {}
        for (provider, reason), count in sorted(self.explained.items()):
            told.setdefault(reason, Counter())[provider.partition(":")[0]] += count
        lines = ["| not replayed | reason |", "|---|---|"]
        for reason, providers in told.items():
            where = ", ".join(f"{provider} {count}" for provider, count in providers.items())
            lines.append(f"| {where} | {reason} |")
        return "\n".join([*lines, "", f"{self}."])


def account(rows: Iterable[type[Vendor]], recordings: Recordings) -> Account:
    """Count what the rows take, and look for a reason for all else."""
    taken = Counter(one.name for row in rows for one in chosen(row, recordings))
    found = Account()
    for one in recordings:
        found.total += 1
        if taken[one.name]:
            found.replayed += taken[one.name]
            continue
        place = (one.provider, one.op, one.path)
        reason = next((row[3] for row in REASONS if all(map(fnmatchcase, place, row[:3]))), None)
        if reason is None:
            found.unexplained.append(f"{one.name} ({one.provider} {one.op})")
        else:
            found.explained[one.provider, reason] += 1
    return found
