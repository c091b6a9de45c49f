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
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.replay.account import account  # noqa: E402 - as a script, the root is not on the path
from tests.replay.deciders import DECIDERS  # noqa: E402
from tests.replay.decisions import Judged, judge  # noqa: E402
from tests.replay.playback import Playback  # noqa: E402
from tests.replay.recordings import Recordings  # noqa: E402
from tests.replay.runner import Tally, chosen, run  # noqa: E402
from tests.replay.table import (  # noqa: E402
    console,
    errors_console,
    errors_page,
    failures,
    page,
    write_page,
)
from tests.replay.vendor import Vendor  # noqa: E402
from tests.replay.vendors import found  # noqa: E402

__all__ = ["main"]

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
    counted = account(rows, recordings)
    print(counted, *(f"no row: {name}" for name in counted.unexplained), sep="\n")
    judged = asyncio.run(_judged(recordings))
    print(errors_console(judged))
    print(f"{time.monotonic() - begun:.0f} s in all", failures(tallies), sep="\n")
    if options.json:
        reasons = {f"{name}: {reason}": count for (name, reason), count in counted.explained.items()}
        rest = {"absent": absent, "not replayed": reasons, "no reason": counted.unexplained}
        rest |= {"errors": [one.to_dict() for one in judged]}
        report = {"rows": [tally.to_dict() for tally in tallies], **rest}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if options.write_docs:
        written = [page(wanted, tallies), counted.table(), errors_page(DECIDERS, judged)]
        write_page(PAGE, "\n\n".join(written))
    wrong = any(tally.failures for tally in tallies) or any(one.failures for one in judged)
    return 1 if absent or counted.unexplained or wrong else 0


async def _replayed(rows: Sequence[type[Vendor]], recordings: Recordings) -> list[Tally]:
    return [await run(row, chosen(row, recordings)) for row in rows]


async def _judged(recordings: Recordings) -> list[Judged]:
    """Every SDK on recorded and made errors."""
    found = []
    for kind in DECIDERS:
        play = Playback()
        async with play.client:
            found.append(await judge(kind(play), recordings.errors(kind.providers)))
    return found


if __name__ == "__main__":
    sys.exit(main())
