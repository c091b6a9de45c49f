"""What cannot be started says why, where, and what to do; nothing is left of it."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gleitzeit.errors import CannotConnectError
from gleitzeit.kinds import Launch
from gleitzeit.process import start

pytestmark = pytest.mark.skipif(os.name != "posix", reason="what may not stand where differs")
ENV = {"PATH": os.defpath}


@pytest.mark.parametrize(
    "command, more, told",
    [
        (("x", "a\0b"), {}, "argument 1 holds a NUL"),
        (("x\0y",), {}, "the command holds a NUL"),
        (("x", "a", "\ud800"), {}, "argument 2 holds a character"),
        (("x",), {"cwd": "/tmp\0x"}, "working directory holds a NUL"),
        (("x",), {"env": {"A=B": "c"}}, "'A=B' is none"),
        (("x",), {"env": {"": "c"}}, "'' is none"),
        (("x",), {"env": {"A\0": "c"}}, "variable 'A\\x00' holds a NUL"),
        (("x",), {"env": {"A": "canary\0"}}, "variable 'A' holds a NUL"),
        (("x",), {"env": {"A": "canary\ud800"}}, "variable 'A' holds a character"),
    ],
)
async def test_what_no_system_takes_is_named_without_its_value(
    command: tuple[str, ...], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(CannotConnectError) as caught:
        await start(Launch(command, **{"env": ENV, **more}))
    assert told in caught.value.message
    assert "correct" in (caught.value.hint or "")
    assert "canary" not in str(caught.value.to_dict())


async def test_too_long_arguments_are_told_as_such() -> None:
    with pytest.raises(CannotConnectError, match="too long") as caught:
        await start(Launch((sys.executable, "-c", "pass", "x" * 3_000_000), env=ENV))
    assert "shorten" in (caught.value.hint or "")


@contextmanager
def room_for(files: int) -> Iterator[None]:
    """Let so many files more be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    holes = set(range(highest)) - set(map(int, os.listdir("/proc/self/fd")))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in holes]  # the limit is on numbers, not on how many
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in taken:
            os.close(each)


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("files", range(8))
async def test_without_room_for_files_that_is_told_and_none_is_left_open(files: int) -> None:
    before = set(os.listdir("/proc/self/fd"))
    launch = Launch((sys.executable, "-c", "pass"), env=ENV)
    with room_for(files), pytest.raises(CannotConnectError, match="Too many open files") as caught:
        await start(launch)
    assert "ulimit" in (caught.value.hint or "")
    assert set(os.listdir("/proc/self/fd")) == before
    process = await start(launch)
    assert await process.wait() == 0
    await process.kill()
