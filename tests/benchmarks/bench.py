"""Prints what this tree costs beside its budgets and its peers, all measured in one run.

    python noxfile.py bench -- [--quick] [--only GROUP ...] [--json [FILE]] [--plot FILE.png] [--write-docs]

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
from tests.benchmarks import calls, corridor, idle, imports, listings, machine, page, plot, start  # noqa: E402
from tests.benchmarks.mcp import relay, servers, wires  # noqa: E402
from tests.benchmarks.process import BenchError  # noqa: E402
from tests.benchmarks.rows import Group  # noqa: E402
from tests.benchmarks.table import Progress, render, summary  # noqa: E402

GROUPS = {
    "imports": imports.measure,
    "listings": listings.measure,
    "corridor": corridor.measure,
    "idle": idle.measure,
    "calls": calls.measure,
    "start": start.measure,
    "mcp": wires.measure,
    "gateways": relay.measure,
    "servers": servers.measure,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure the wanted groups, print a table of each as soon as it is known, and a summary."""
    parser = argparse.ArgumentParser(prog="bench", description="Costs beside budgets and peers.")
    parser.add_argument("--quick", action="store_true", help="few rounds: for a look, not for a comparison")
    parser.add_argument("--only", action="append", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="also as JSON; alone: instead")
    parser.add_argument("--plot", metavar="FILE", help="the clients as a picture; needs matplotlib")
    parser.add_argument("--write-docs", action="store_true", help=f"all of it into {page.FOLDER}")
    options = parser.parse_args(arguments)
    if options.write_docs and (options.only or options.quick):
        parser.error("--write-docs wants a whole run: without --only, without --quick")
    if (options.plot or options.write_docs) and (why := plot.missing()):
        parser.error(why)  # before ten minutes of measuring
    if not hasattr(os, "wait4"):
        parser.error("CPU time of processes is read with os.wait4, which this system lacks")
    for name in [
        name for name in os.environ if name.startswith(("GLEITZEIT", "OPENAI_", "LITELLM", "ANY_LLM"))
    ]:
        del os.environ[name]  # a developer's settings are not what is measured
    os.environ["GLEITZEIT_CACHE"] = ""  # nor is what runs before have found out
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
    ending = summary(groups, quick=options.quick)
    if not only_json:
        print("\n" + ending)
    figures = plot.figures_of(groups)
    text = json.dumps(
        {
            "quick": options.quick,
            **here,
            "clients": figures,
            "groups": [group.to_dict() for group in groups],
        },
        indent=2,
        ensure_ascii=False,
    )
    if only_json:
        print(text)
    elif options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.plot:
        plot.draw(figures, here["machine"], Path(options.plot))
    if options.write_docs:
        tables = [machine.heading(here), *map(render, groups), ending]
        page.write("\n\n".join(tables), text, figures, here["machine"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
