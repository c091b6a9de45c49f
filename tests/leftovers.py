"""A test leaves nothing behind: no asyncio task, thread, child process or file descriptor it did not find.

What fixtures of a wider scope hold is theirs, as long as pytest sets them up before the test (not through
`request.getfixturevalue` inside it). A test that failed for another reason is not asked.
"""

import asyncio
import gc
import inspect
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import pytest

#: Seconds for what is already on its way out: tasks, threads, processes, descriptors.
GRACE = float(os.environ.get("LEFTOVERS_GRACE", "2"))

_BEFORE = pytest.StashKey[dict[str, set[object]]]()
_FAILED = pytest.StashKey[bool]()


def _threads() -> set[object]:
    return set(threading.enumerate())


def _children() -> set[object]:
    """Process ids of direct children, also of those that ended and were not waited for."""
    found: set[object] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(int(word) for word in path.read_text().split())
        except OSError:  # the thread ended meanwhile
            continue
    return {pid for pid in found if b"multiprocessing.resource_tracker" not in _command(pid)}


def _command(pid: object) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _descriptors() -> set[object]:
    found: set[object] = set()
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:  # the descriptor of this listing
            continue
    return found


_KINDS: dict[str, Callable[[], set[object]]] = {
    "thread": _threads,
    "child process": _children,
    "file descriptor": _descriptors,
}


def _describe(kind: str, what: object) -> str:
    if kind == "child process":
        command = _command(what).replace(b"\0", b" ").decode(errors="replace")
        return f"child process {what}: {command or '(ended, but nobody waited for it)'}"
    return f"{kind} {what}"


def _left(before: dict[str, set[object]]) -> list[str]:
    return [_describe(kind, what) for kind, now in _KINDS.items() for what in now() - before[kind]]


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> None:
    """Note what is here before the test; `pytest_runtest_teardown` below compares."""
    request.node.stash[_BEFORE] = {kind: now() for kind, now in _KINDS.items()}
    test = getattr(request.node, "obj", None)
    test = getattr(getattr(test, "hypothesis", None), "inner_test", test)
    if inspect.iscoroutinefunction(test):
        request.getfixturevalue("_no_tasks_left")


@pytest.fixture
async def _no_tasks_left() -> AsyncGenerator[None, None]:
    """Set up before the other function fixtures, so it looks after they have cleaned up."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=GRACE)
    if left:
        pytest.fail("the test left behind:\n" + "\n".join(f"  task {task!r}" for task in left), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    yield
    before = item.stash.get(_BEFORE, None)
    if before is None or item.stash.get(_FAILED, False):
        return
    end = time.monotonic() + GRACE
    while left := _left(before):
        if time.monotonic() > end:
            pytest.fail("the test left behind:\n  " + "\n  ".join(left), pytrace=False)
        time.sleep(0.01)
        if time.monotonic() > end - GRACE / 2:
            gc.collect()  # gRPC's thread ends with the last of its objects: a closed loop may have held it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report
