"""Prints what this tree costs beside its budgets and its peers, all measured in one run.

    python noxfile.py bench -- [--quick] [--only GROUP ...] [--json [FILE]]

It measures and marks; it fails only where something cannot be measured at all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a script: the root, not this folder

# The line above makes these importable.
from tests.benchmarks import calls, corridor, idle, imports, listings, machine  # noqa: E402
from tests.benchmarks.process import BenchError  # noqa: E402
from tests.benchmarks.rows import Group  # noqa: E402
from tests.benchmarks.table import Progress, render, summary  # noqa: E402

GROUPS = {
    "imports": imports.measure,
    "listings": listings.measure,
    "corridor": corridor.measure,
    "idle": idle.measure,
    "calls": calls.measure,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure the wanted groups, print a table of each as soon as it is known, and a summary."""
    parser = argparse.ArgumentParser(prog="bench", description="Costs beside budgets and peers.")
    parser.add_argument("--quick", action="store_true", help="few rounds: for a look, not for a comparison")
    parser.add_argument("--only", action="append", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="also as JSON; alone: instead")
    options = parser.parse_args(arguments)
    if not hasattr(os, "wait4"):
        parser.error("CPU time of processes is read with os.wait4, which this system lacks")
    for name in [name for name in os.environ if name.startswith(("GLEITZEIT", "OPENAI_"))]:
        del os.environ[name]  # a developer's settings are not what is measured
    here = machine.describe()
    only_json = options.json == "-"
    if not only_json:
        print(machine.heading(here), flush=True)
    progress = Progress()
    groups: list[Group] = []
    for name in options.only or GROUPS:
        progress.start(name)
        try:
            group = GROUPS[name](progress, options.quick)
        except BenchError as error:
            progress.clear()
            print(f"bench: {name} cannot be measured: {error}", file=sys.stderr)
            return 1
        progress.clear()
        groups.append(group)
        if not only_json:
            print("\n" + render(group), flush=True)
    if not only_json:
        print("\n" + summary(groups, quick=options.quick))
    if options.json:
        report = {"quick": options.quick, **here, "groups": [group.to_dict() for group in groups]}
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        if only_json:
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
