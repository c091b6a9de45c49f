"""A hundred servers configured of which ten live: nobody waits for those that never come."""

from __future__ import annotations

import json
from statistics import median

from tests.benchmarks.machine import installed
from tests.benchmarks.mcp.fleet import ALIVE
from tests.benchmarks.process import run
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress

COUNT = 100
NEEDED = "gleitzeit-plugin-mcp-stdio"
#: A silent server is given up after 30 s, and told of its end for a while; neither may be waited for.
OPEN, MULTIPLE = 1.0, 2.0
_STARTS = {"lazy": "started when called", "eager": "all started with the host"}


def measure(progress: Progress, quick: bool) -> Group:
    """Seconds until the host is open, until tools answer, and until it is closed."""
    group = Group(
        "servers",
        f"{COUNT} MCP servers configured, {ALIVE} alive, {(COUNT - ALIVE) // 2} missing, "
        f"{(COUNT - ALIVE) // 2} silent (clock)",
    )
    if installed(NEEDED) is None:
        group.absent("host open", f"{NEEDED} is not installed")
        return group
    found: dict[tuple[str, int], list[dict[str, float]]] = {
        (start, slow): [] for start in _STARTS for slow in (COUNT - ALIVE, 0)
    }
    rounds = 1 if quick else 3
    for number in range(rounds):
        for (start, slow), times in found.items():
            times.append(json.loads(run(["-m", "tests.benchmarks.mcp.fleet", str(slow), start]).out))
        progress.at(number + 1, rounds)
    for start, words in _STARTS.items():
        hundred, ten = ([*found[start, slow]] for slow in (COUNT - ALIVE, 0))
        for what, name, limit in (
            ("open", "host open", OPEN),
            ("first", "the first live tool has answered", None),
            ("ten", f"all {ALIVE} have answered", None),
            ("close", "closing the host", None),
        ):
            ours, its = (median(times[what] for times in of) for of in (hundred, ten))
            group.add(f"{words}: {name}", ours, "s", limit=limit)
            group.peer(f"only the {ALIVE} configured", its, "s", ours=ours)
            if what == "first":
                shares = (one[what] / other[what] for one, other in zip(hundred, ten, strict=True))
                group.add(f"… {words}: as a multiple of that", median(shares), "×", limit=MULTIPLE)
    return group
