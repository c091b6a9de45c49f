"""Shows in numbers that the corridor holds when much goes wrong: `python noxfile.py reliability`.

Every part has limits; a run ends with 1 when one of them does not hold. `--quick` takes small numbers,
`--only PART` one part, `--json FILE` writes what was measured, `--write-docs` the pages about it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

os.environ["GLEITZEIT_CACHE"] = ""  # what runs before have found out is not what is shown

from tests.benchmarks import machine
from tests.benchmarks.process import ROOT
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress, render, summary
from tests.reliability import balance, cells, endurance, reader, servers, storm, sweep
from tests.reliability.mcp_faults import part

__all__ = ["PARTS", "main"]

PAGE: Final = ROOT / "docs" / "explanation" / "reliability.md"
BEGIN: Final = "<!-- what `python noxfile.py reliability -- --write-docs` wrote -->"
DRAIN: Final = "tests/reliability/test_drain.py"
END: Final = "<!-- until here -->"
#: Where the faults of MCP servers are told, and between which marks.
FAULTS: Final = ROOT / "docs" / "reference" / "mcp.md"
FIRST: Final = "<!-- faults: what `python noxfile.py reliability -- --only mcp --write-docs` wrote -->"
LAST: Final = "<!-- faults: until here -->"


async def drain(progress: Progress, quick: bool) -> Group:
    """Processes with much in flight are told to stop; as pytest says it."""
    group = Group("drain", "SIGTERM with 200 calls and 50 streams in flight")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", DRAIN]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True)
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr[-200:]]
    group.add(f"exit code of pytest {DRAIN}", done.returncode, "", limit=0, note=last[0])
    return group


PARTS: Final[dict[str, Callable[[Progress, bool], Coroutine[Any, Any, Group]]]] = {
    "matrix": cells.measure,
    "endurance": endurance.measure,
    "storm": storm.measure,
    "balance": balance.measure,
    "sweep": sweep.measure,
    "reader": reader.measure,
    "servers": servers.measure,
    "mcp": part.measure,
    "drain": drain,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that were asked for, all by default; 1 where a limit does not hold."""
    parser = argparse.ArgumentParser(prog="reliability", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers, for a look")
    parser.add_argument("--only", action="append", choices=PARTS, help="one part; may be repeated")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the numbers here")
    told = f"put the result into {PAGE.name}, unless only some parts are run, and {FAULTS.name}"
    parser.add_argument("--write-docs", action="store_true", help=told)
    options = parser.parse_args(arguments)
    begun, here, progress = time.monotonic(), machine.describe(), Progress()
    print(machine.heading(here), flush=True)
    groups: list[Group] = []
    for name in options.only or PARTS:
        progress.start(name)
        group = asyncio.run(PARTS[name](progress, options.quick))
        progress.clear()
        groups.append(group)
        print("\n" + shown(group), flush=True)
        if isinstance(group, part.Faults):
            print("\n" + group.text(), flush=True)
    print(f"\n{summary(groups, quick=options.quick)}\n{time.monotonic() - begun:.0f} s in all")
    report = {"quick": options.quick, **here, "groups": [group.to_dict() for group in groups]}
    if options.json:
        _dump(options.json, report)
    if options.write_docs:
        if not options.only:
            _dump(PAGE.with_suffix(".json"), report)
            parts = [machine.heading(here), *map(shown, groups), summary(groups, quick=options.quick)]
            text = "\n\n".join(parts)
            write_page(PAGE, f"```text\n{text}\n```")
        for group in groups:
            if isinstance(group, part.Faults):
                busy = f", busy with other things (load {here['load']:.0f})" if here["busy"] else ""
                write_page(FAULTS, f"{here['machine']}{busy}.\n\n{group.markdown()}", FIRST, LAST)
    return int(any(row.mark == "over" for group in groups for row in group.rows))


def shown(group: Group) -> str:
    """The group as text, with the table that it may have beside its rows."""
    return "\n\n".join([render(group), *([group.table()] if isinstance(group, cells.Matrix) else [])])


def write_page(page: Path, text: str, first: str = BEGIN, last: str = END) -> None:
    """Replace what stands between the marks of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(first)
    _, mark, after = rest.partition(last)
    if not mark:
        raise SystemExit(f"{page}: the lines {first!r} and {last!r} are missing")
    page.write_text(f"{before}{first}\n\n{text}\n\n{last}{after}", encoding="utf-8")


def _dump(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
