"""Runs the protocol's conformance suite, and reads what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from tests.conformance import parts
from tests.conformance.npm import installed

__all__ = ["LEGS", "LOCAL", "REVISIONS", "Leg", "faults", "read", "run"]

REVISIONS: Final = ("2025-11-25", "2026-07-28")
#: Leg -> what is tested there.
LEGS: Final = {
    "direct": "the everything-server of these tests, as it is",
    "through": "`gleitzeit mcp serve` in front of it, over stdio",
    "through-http": "`gleitzeit mcp serve` in front of it, over HTTP",
    "through-grpc": "two of `gleitzeit mcp serve` in front of it, gRPC between them",
    "client": "a host as the client, over streamable HTTP",
}
EVERYTHING: Final = [sys.executable, "-W", "ignore", "-m", "tests.conformance.everything"]
#: The entry of the everything-server.
LOCAL: Final = {"command": EVERYTHING[0], "args": EVERYTHING[1:], "cwd": str(parts.ROOT)}
CLIENT: Final = [sys.executable, "-W", "ignore", "-m", "tests.conformance.client"]
#: How often what failed is run again, alone: some scenarios allow a server less than a second.
AGAIN: Final = 2
#: More failures than this are no bad luck.
LUCK: Final = 5
_SCENARIO: Final = re.compile(r"^[✓✗] (\S+): (\d+) passed, (\d+) failed", re.MULTILINE)
_UNSCORED: Final = re.compile(r"^  [✓✗] (\S+) \((\S+)\)$", re.MULTILINE)


@frozen(kw_only=True)
class Leg:
    """What one run of the suite came to; scenarios by name with (passed, failed) checks."""

    name: str = field(kw_only=False)
    revision: str
    scored: dict[str, tuple[int, int]]
    unscored: dict[str, tuple[int, int]]
    #: Why scenarios are not scored.
    reasons: dict[str, str]
    seconds: float = 0.0
    #: What the suite says of those that failed.
    faults: dict[str, list[str]] = field(factory=dict)
    #: Scenarios that passed only when they were run again, alone.
    again: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        """Required scenarios that did not pass, or in which nothing was checked."""
        return tuple(name for name, counts in self.scored.items() if not _good(counts))

    @property
    def passed(self) -> int:
        """How many required scenarios passed."""
        return len(self.scored) - len(self.failed)

    @property
    def checks(self) -> int:
        """How many checks of required scenarios passed."""
        return sum(counts[0] for counts in self.scored.values())


def _good(counts: tuple[int, int]) -> bool:
    return counts[0] > 0 and counts[1] == 0


def read(name: str, revision: str, text: str) -> Leg:
    """The outcome that stands at the end of the suite's output."""
    summary = text.rpartition("SUMMARY ===")[2]
    counts = {found[0]: (int(found[1]), int(found[2])) for found in _SCENARIO.findall(summary)}
    reasons = dict(_UNSCORED.findall(summary))
    return Leg(
        name,
        revision=revision,
        scored={key: value for key, value in counts.items() if key not in reasons},
        unscored={key: value for key, value in counts.items() if key in reasons},
        reasons=reasons,
    )


def run(name: str, revision: str) -> Leg:
    """Run one leg. Raises `Missing` where the suite is not there, `RuntimeError` where it says nothing."""
    installed("suite")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, _tested(name, Path(folder)) as target:
        text, faults = _suite([*target, "--requirements", revision])
        leg = read(name, revision, text)
        if not leg.scored:
            raise RuntimeError(f"the suite said nothing of {name} at {revision}:\n{text[-2000:]}")
        scored, again = dict(leg.scored), []
        for scenario in leg.failed if len(leg.failed) <= LUCK else ():
            for _ in range(AGAIN):
                counts = _alone(target, scenario, revision)
                if _good(counts):
                    scored[scenario] = counts
                    again.append(scenario)
                    break
    return Leg(
        name,
        revision=revision,
        scored=scored,
        unscored=leg.unscored,
        reasons=leg.reasons,
        seconds=time.monotonic() - begun,
        faults={name: told for name, told in faults.items() if name in scored and not _good(scored[name])},
        again=tuple(again),
    )


@contextmanager
def _tested(name: str, folder: Path) -> Iterator[list[str]]:
    """Start what is tested; gives the arguments that tell the suite of it."""
    if name == "client":
        yield ["client", "--command", shlex.join(CLIENT), "--timeout", "90000"]
        return
    with ExitStack() as stack:
        if name == "through":
            url = stack.enter_context(_front(folder, LOCAL))
        elif name == "through-grpc":
            (folder / "inner").mkdir()
            inner = stack.enter_context(_front(folder / "inner", LOCAL, "--transport", "grpc"))
            url = stack.enter_context(_front(folder, {"url": inner}))
        else:
            url = stack.enter_context(parts.serving([*EVERYTHING, "0"]))
            if name == "through-http":
                url = stack.enter_context(_front(folder, {"url": url}))
        yield ["server", "--url", url]


def _front(folder: Path, entry: Mapping[str, Any], *more: str) -> AbstractContextManager[str]:
    """Our own server with one upstream, which goes by its own names; some scenarios call the first tool."""
    config = str(parts.configured(folder, {"everything": entry}))
    words = ("--config", config, "--transport", "http", "--port", "0", "--bare", "everything", "--no-models")
    return parts.serving(parts.gleitzeit("mcp", "serve", *words, *more))


def _suite(arguments: list[str]) -> tuple[str, dict[str, list[str]]]:
    """What the suite said, and the checks that failed by scenario."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(installed("suite") / "conformance"), *arguments, "-o", folder],
            cwd=parts.ROOT,
            env={**os.environ, "PATH": parts.node_path()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        return done.stdout, faults(Path(folder))


def faults(folder: Path) -> dict[str, list[str]]:
    """The failed checks of each scenario in the suite's folder of results."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.rglob("checks.json")):
        where = file.parent.relative_to(folder).as_posix()
        scenario = re.sub(r"^server-(?=.)|-\d{4}-\d\d-\d\dT[\d-]+Z$", "", where)
        for check in json.loads(file.read_text(encoding="utf-8")):
            if check["status"] == "FAILURE":
                told = f"{check['id']}: {check.get('errorMessage') or check.get('description')}"
                found.setdefault(scenario, []).append(told)
    return found


def _alone(target: list[str], scenario: str, revision: str) -> tuple[int, int]:
    text, _ = _suite([*target, "--scenario", scenario, "--spec-version", revision])
    found = re.findall(r"Passed: (\d+)/\d+, (\d+) failed", text)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 1)
