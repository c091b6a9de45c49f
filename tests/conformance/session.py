"""Holds Gleitzeit against others: `python noxfile.py conformance`.

The protocol's conformance suite, as server, behind our own server and as client, in both eras; real servers
from PyPI and npm as upstreams; real clients of `gleitzeit mcp serve`. `--only PART` takes one part, `--gate`
what continuous integration runs, `--write-docs` writes the page about it. It ends with 1 where something
does not hold, and with 0 and the reason where a part could not be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance import page, parts, suite

__all__ = ["PARTS", "main"]

PARTS: Final = (*suite.LEGS, "servers", "clients")
#: What continuous integration runs.
GATE: Final = ("through",)
PAGE: Final = parts.ROOT / "docs" / "reference" / "mcp.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that were asked for, all by default; 1 where one does not hold."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS, help="one part; may be repeated")
    parser.add_argument("--gate", action="store_true", help=f"only {' and '.join(GATE)}, as for each change")
    parser.add_argument("--write-docs", action="store_true", help=f"put the result into {PAGE.name}")
    options = parser.parse_args(arguments)
    os.environ["GLEITZEIT_CACHE"] = ""  # what others found out before is not what is tested
    failed = False
    tables: dict[str, str] = {}
    wanted = GATE if options.gate else options.only or PARTS
    legs: list[suite.Leg] = []
    for name in wanted:
        try:
            if name in suite.LEGS:
                for revision in suite.REVISIONS:
                    leg = suite.run(name, revision)
                    legs.append(leg)
                    print(page.told(leg), flush=True)
                    failed = failed or bool(leg.failed)
            else:
                rows = _rows(name)
                tables[name] = page.ROWS[name](rows)
                print(f"\n{tables[name]}", flush=True)
                failed = failed or any(row.get("fault") for row in rows)
        except parts.Missing as missing:
            print(f"\n{name}: SKIPPED: {missing}", flush=True)
    if legs:
        tables["suite"] = page.suite_table(legs)
        print(f"\n{tables['suite']}", flush=True)
    if options.write_docs:
        for name, table in tables.items():
            page.write(PAGE, name, table)
    return int(failed)


def _rows(name: str) -> list[dict[str, str]]:
    """The part in a process of its own: a host of another part must not be felt in it."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.conformance.{name}"]
    done = subprocess.run(
        command, cwd=parts.ROOT, stdout=subprocess.PIPE, text=True, timeout=1800, check=True
    )
    rows: list[dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return rows


if __name__ == "__main__":
    sys.exit(main())
