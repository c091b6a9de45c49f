"""What is known of a server's era outlives the process, holds no secret, and heals where it is wrong."""

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig, eras
from gleitzeit_plugin_mcp.eras import ERAS, Eras, place, where_kept
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit.values import ToolCall

Heard = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a user who has a cache directory."""
    monkeypatch.setenv("GLEITZEIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mcp-eras.json"


async def test_the_next_process_does_not_probe_a_silent_old_server_again(
    start: Callable[..., Any], heard: Heard, file: Path
) -> None:
    for _ in range(2):
        ERAS.forget()  # as a new process
        async with start({"era": "legacy", "unknown": "silent"}) as provider:
            await provider.reply(ToolCall({"text": "hi"}).to("echo"))
    assert len(heard("server/discover")) == 1
    assert len(heard("initialize")) == 2
    assert file.stat().st_mode & 0o077 == 0


async def test_a_server_with_a_fixed_era_is_not_remembered(start: Callable[..., Any], file: Path) -> None:
    async with start({"era": "legacy"}, mode="legacy") as provider:
        await provider.reply(ToolCall({"text": "hi"}).to("echo"))
    assert not file.exists()


def test_a_place_tells_nothing_and_differs_with_what_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "s3cret-canary-4711"
    secret: dict[str, Any] = {
        "env": {"API_KEY": canary},
        "args": ("--token", canary),
        "headers": {"X-Key": canary},
    }
    one = place(McpConfig(command="server", **secret))
    assert one == place(McpConfig(command="server", env={"API_KEY": "other-4712"}, args=("--token", "t0-9k")))
    assert place(McpConfig(command="server", args=(f"--token={canary}",))) == place(
        McpConfig(command="server", args=("--token=other",))
    )
    assert place(McpConfig(url=f"https://u:{canary}@example.org/mcp?key={canary}")) == place(
        McpConfig(url="https://example.org/mcp")
    )
    others = [
        McpConfig(command="server", args=("--verbose",)),
        McpConfig(command="server2", args=("--token", canary)),
        McpConfig(command="server", args=("--token", canary), cwd="/tmp"),
        McpConfig(command="server", args=("--token", canary), transport="grpc"),
        McpConfig(url="https://example.org/mcp2"),
    ]
    assert len({one, *map(place, others)}) == 1 + len(others)
    here = place(McpConfig(command="python", args=("server.py",)))
    monkeypatch.chdir(tmp_path)
    assert place(McpConfig(command="python", args=("server.py",))) != here


def test_another_version_of_this_package_asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    config = McpConfig(command="server")
    before = place(config)
    monkeypatch.setattr(eras, "__version__", "999.0")
    assert place(config) != before


def test_an_old_server_of_a_new_version_is_asked_again(file: Path) -> None:
    now = [1_000_000.0]
    for server, known in (("old 1", "legacy"), ("old 2", None)):
        learned = Eras(clock=lambda: now[0])
        learned.known("here")
        if learned.learn("here", "legacy", server):
            learned.keep()
        assert learned.known("here") == Eras(clock=lambda: now[0]).known("here") == known
    again = Eras(clock=lambda: now[0])
    assert again.learn("here", "modern", "new 3")
    again.keep()
    assert Eras(clock=lambda: now[0]).known("here") == "modern"
    assert not again.learn("here", "modern", "new 3")
    now[0] += eras.LASTING
    assert Eras(clock=lambda: now[0]).known("here") is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"here": 1}', '{"here": {"era": "baroque", "server": "", "at": 1}}', "[" * 9999],
)
def test_garbage_is_as_good_as_nothing_and_is_replaced(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    found = Eras()
    assert found.known("here") is None
    assert found.learn("here", "legacy", "old 1")
    found.keep()
    assert Eras().known("here") == "legacy"


@settings(max_examples=100)
@given(
    content=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["here", "era", "at", "server"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_in_the_file_harms_nobody(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    assert Eras(lambda: path).known("here") in (None, "modern", "legacy")


def test_those_who_write_at_once_leave_a_whole_file(file: Path) -> None:
    def write(number: int) -> None:
        mine = Eras()
        for turn in range(5):
            assert mine.learn(f"{number}-{turn}", "modern", "server 1")
            mine.keep()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = json.loads(file.read_text())
    # Whoever wrote last has all of its own; a memory of another that was lost costs one greeting.
    assert any(all(f"{number}-{turn}" in found for turn in range(5)) for number in range(8))
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def _same(path: Path | None) -> Path | None:
    return path


def test_a_directory_that_cannot_be_had_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "eras.json", None):
        found = Eras(partial(_same, path))
        assert found.learn("here", "legacy", "old 1")
        found.keep()
        assert found.known("here") == "legacy"


def test_no_more_servers_are_remembered_than_there_is_room_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eras, "ROOM", 3)
    now = [1.0]
    found = Eras(clock=lambda: now[0])
    for number in range(5):
        now[0] += 1
        found.learn(str(number), "modern", "")
        found.keep()
    assert set(json.loads(file.read_text())) == {"2", "3", "4"}
    assert [found.known(str(number)) for number in range(5)] == [None, None, "modern", "modern", "modern"]


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLEITZEIT_CACHE", "")
    assert where_kept() is None
    monkeypatch.delenv("GLEITZEIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert where_kept() == tmp_path / "gleitzeit" / "mcp-eras.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert where_kept() == tmp_path / ".cache" / "gleitzeit" / "mcp-eras.json"
