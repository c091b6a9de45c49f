"""Replays what others recorded of vendors to us and to the vendors' SDKs: `python noxfile.py replay`.

The recordings lie in `../shared/recorded`, beside the repository. Ends with 1 where something differs that
no listed difference explains, with 2 where the recordings are absent. `--only ROW` takes one row,
`--json FILE` writes everything, `--write-docs` the table into the page about providers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.replay.recordings import Recordings  # noqa: E402 - as a script, the root is not on the path
from tests.replay.runner import Tally, chosen, run  # noqa: E402
from tests.replay.table import console, failures, page, write_page  # noqa: E402
from tests.replay.vendor import Vendor  # noqa: E402
from tests.replay.vendors import found  # noqa: E402

__all__ = ["main", "untaken"]

RECORDED: Final = ROOT.parent / "shared" / "recorded"
PAGE: Final = ROOT / "docs" / "reference" / "providers.md"


def main(arguments: Sequence[str] | None = None, *, recorded: Path = RECORDED) -> int:
    """Replay and print; the exit code."""
    rows, absent = found()
    parser = argparse.ArgumentParser(prog="replay", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="ROW", help="one row; may be repeated")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the counts and all failures here")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.only or ()) - {row.name for row in rows})
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(row.name for row in rows)}")
    if not (recorded / "INDEX.json").is_file():
        print(f"replay: there are no recordings at {recorded}; they are no part of the project")
        return 2
    wanted = [row for row in rows if not options.only or row.name in options.only]
    begun = time.monotonic()
    recordings = Recordings(recorded)
    tallies = asyncio.run(_replayed(wanted, recordings))
    print(console(tallies, absent))
    left = untaken(rows, recordings)
    print("without a row:", ", ".join(f"{name} {count}" for name, count in left.items()) or "none")
    print(f"{time.monotonic() - begun:.0f} s in all", failures(tallies), sep="\n")
    if options.json:
        rest = {"absent": absent, "without a row": left}
        report = {"rows": [tally.to_dict() for tally in tallies], **rest}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if options.write_docs:
        write_page(PAGE, page(wanted, tallies))
    return 1 if absent or any(tally.failures for tally in tallies) else 0


def untaken(rows: Iterable[type[Vendor]], recordings: Recordings) -> dict[str, int]:
    """What no row takes, as `PROVIDER OPERATION` with its count."""
    taken = {(provider, op) for row in rows for provider in row.providers for op in row.ops}
    left = {
        key: count
        for key, count in recordings.counts().items()
        if key not in taken and not key[0].startswith("other:")  # downloads from elsewhere
    }
    return {" ".join(key): count for key, count in sorted(left.items())}


async def _replayed(rows: Sequence[type[Vendor]], recordings: Recordings) -> list[Tally]:
    return [await run(row, chosen(row, recordings)) for row in rows]


if __name__ == "__main__":
    sys.exit(main())
