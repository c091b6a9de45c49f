"""What plugins cost that are installed and never used."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks.process import environment, interleaved, report_of
from tests.benchmarks.rows import Group
from tests.benchmarks.synthetic import TELLTALE, make
from tests.benchmarks.table import Progress

COUNT = 100
_START = """
import asyncio, time
from gleitzeit import Host
import gleitzeit.blocking, gleitzeit.wire.client  # the libraries are not what is measured

async def main():
    async with Host({}, environ={}):
        return time.process_time() - begin

begin = time.process_time()
report = {"cpu": asyncio.run(main())}
"""


def measure(progress: Progress, quick: bool) -> Group:
    """CPU of scanning, making and opening a host, and its memory, with and without idle plugins."""
    group = Group("idle", f"{COUNT} idle plugins installed")
    with tempfile.TemporaryDirectory() as folder:
        plugins, telltale = make(Path(folder, "plugins"), COUNT), Path(folder, "imported")
        without = environment(**{TELLTALE: str(telltale)})
        crowd = environment(plugins, **{TELLTALE: str(telltale)})
        sizes: dict[str, list[int]] = {"without": [], "crowd": []}

        def start(name: str, env: dict[str, str]) -> float:
            report = report_of(_START, env=env)
            if report["rss_kb"] is not None:
                sizes[name].append(report["rss_kb"])
            cpu: float = report["cpu"]
            return cpu

        subjects = {"without": partial(start, "without", without), "crowd": partial(start, "crowd", crowd)}
        cpu = interleaved(subjects, 5 if quick else 25, progress.at)
        imported = telltale.read_text().split() if telltale.exists() else []
    group.add("opening a host takes longer by", 1000 * (cpu["crowd"] - cpu["without"]), "ms", limit=10)
    group.peer("opening a host without them", 1000 * cpu["without"], "ms", ours=None)
    if sizes["crowd"]:
        more = median(sizes["crowd"]) - median(sizes["without"])
        group.add(
            "an open host is larger by", more / 1024, "MB", note=f"{more / COUNT:.1f} KB for each plugin"
        )
    else:
        group.absent("an open host is larger by", "needs /proc/self/status")
    group.add("plugins imported", len(imported), "", limit=0)
    return group
