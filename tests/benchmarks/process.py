"""Runs child processes and reads what they cost: CPU time, peak memory, answers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self, TypeVar

ROOT = Path(__file__).resolve().parents[2]

#: Appended to a script whose report is wanted; it may fill `report`. The `ru_maxrss` of a child would
#: begin at the memory of its parent, so the peak is read from the inside.
_REPORT = """
def _kb(field):
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(field))
    except OSError:
        return None
_sizes = {"peak_kb": _kb("VmHWM"), "rss_kb": _kb("VmRSS")}
import json as _json
print(_json.dumps({**globals().get("report", {}), **_sizes}))
"""


K = TypeVar("K")


class BenchError(Exception):
    """Something cannot be measured."""


@dataclass(frozen=True)
class Run:
    """What a process did: CPU seconds including the start of the interpreter, and its output."""

    cpu: float
    out: bytes


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    python: str = sys.executable,
) -> Run:
    """Run a command of this Python, or of another, to its end; raises `BenchError` where it fails."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [python, *command],
            env=environment() if env is None else env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdout is not None
        with process.stdout as stdout:
            out = stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            tail = errors.read().decode("utf-8", "replace")[-800:]
            raise BenchError(f"`{' '.join(command)[:200]}` ended with {process.returncode}:\n{tail}")
    return Run(usage.ru_utime + usage.ru_stime, out)


def environment(*first: str | Path, **extra: str) -> dict[str, str]:
    """This environment with folders put before the import path, no proxy for the loopback, and `extra`."""
    paths = [*map(str, first), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    paths = [str(Path(path).resolve()) for path in paths]  # children run elsewhere
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(paths),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        **extra,
    }


def foreign(**extra: str) -> dict[str, str]:
    """The environment of a worker in another Python: these tests, and nothing that is installed here."""
    return {**environment(**extra), "PYTHONPATH": str(ROOT)}


def in_turns(
    subjects: Mapping[K, Callable[[], float]], rounds: int, progress: Callable[[int, int], object]
) -> dict[K, list[float]]:
    """The values of each subject; each round asks every one, so that all see the same weather."""
    found: dict[K, list[float]] = {name: [] for name in subjects}
    for number in range(rounds):
        for name, subject in subjects.items():
            found[name].append(subject())
        progress(number + 1, rounds)
    return found


def interleaved(
    subjects: Mapping[K, Callable[[], float]], rounds: int, progress: Callable[[int, int], object]
) -> dict[K, float]:
    """The median of each subject, asked in turns."""
    return {name: median(values) for name, values in in_turns(subjects, rounds, progress).items()}


class Worker:
    """A process that is sent one JSON line at a time and answers each with one. Ends when its input does.

    It starts at once and is ready when its first line, `ready`, has come; so several start side by side.
    """

    def __init__(
        self, module: str, *arguments: str, python: str = sys.executable, env: Mapping[str, str] | None = None
    ) -> None:
        self._name = " ".join([module, *arguments])
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            env=environment(ROOT) if env is None else env,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def ready(self) -> dict[str, Any]:
        """What it says when it can be asked; raises `BenchError` where it failed."""
        return self.answer()

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.send(**command)
        return self.answer()

    def send(self, **command: Any) -> None:
        """Send a command; its `answer` is to be read."""
        self.ready  # noqa: B018  # its line comes before all others
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def answer(self) -> dict[str, Any]:
        """The next line; what is not JSON is a library that prints, and passed over.

        Raises `BenchError` where the process has ended, or says an `error`.
        """
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith(b"{"):
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise BenchError(f"`{self._name}`:\n{answer['error']}")
                return answer
        raise self._failure()

    def leave(self) -> None:
        """Let the process end, without waiting for it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def close(self) -> None:
        """End the process. Idempotent."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._errors.close()

    def _failure(self) -> BenchError:
        code = self._process.wait()
        self._errors.seek(0)
        tail = self._errors.read().decode("utf-8", "replace").strip()[-800:]
        return BenchError(f"`{self._name}` ended with {code}:\n{tail}")


def report(code: str) -> str:
    """A script that prints, as JSON in its last line, its `report` with its memory: `peak_kb`, `rss_kb`."""
    return code + _REPORT


def report_of(code: str, *, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a script and give its `report` with its memory: `peak_kb` and `rss_kb`, None where unknown."""
    found: dict[str, Any] = json.loads(run(["-c", report(code)], env=env).out.splitlines()[-1])
    return found
