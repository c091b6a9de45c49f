"""The demo as somebody at a terminal sees it: what it prints, how it fails, what it leaves behind."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]
TITLES = [
    "What is installed",
    "A chat, whole and as a stream",
    "The same over HTTP",
    "Tools of two MCP servers",
    "A model that uses a tool",
    "Calls that the guard refuses",
    "A provider that fails, and the fallback that answers",
    "Health",
]
SERVER = [sys.executable, "-m", "gleitzeit.testing.openai_server"]
HOSTILE_GIT = """
[core]
    hooksPath = {home}/hooks
[commit]
    gpgSign = true
[init]
    templateDir = {home}/template
    defaultBranch = other
[user]
    useConfigOnly = true
"""


@pytest.fixture(autouse=True)
def orphans() -> Iterator[None]:
    """What the demo starts and does not end becomes a child of this process, where the harness finds it."""
    libc = ctypes.CDLL(None, use_errno=True)
    subreaper = getattr(libc, "prctl", None)
    if subreaper is not None:
        assert subreaper(36, 1, 0, 0, 0) == 0
    yield
    if subreaper is not None:
        subreaper(36, 0, 0, 0, 0)


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return run_in(HERE, *arguments, **environ)


def run_in(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "demo.py"), *arguments]
    env = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=90, check=False)


def titles(output: str) -> list[str]:
    return re.findall(r"(?m)^\d  (.+)$", output)


@dataclass
class Shown:
    """One run of the demo where everything around it is against it."""

    done: subprocess.CompletedProcess[str]
    home: Path
    temporary: Path
    asked: list[bytes]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """With keys, settings and a proxy in the environment, and a git that signs and has hooks."""
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("temporary")
    for folder in ("hooks", "template/hooks"):
        (home / folder).mkdir(parents=True)
        for hook in ("pre-commit", "commit-msg", "post-commit"):
            script = home / folder / hook
            script.write_text(f"#!/bin/sh\ntouch {home}/hook-ran\nexit 1\n")
            script.chmod(0o755)
    (home / ".gitconfig").write_text(HOSTILE_GIT.format(home=home))
    with listener() as (url, asked):
        done = run(
            HOME=str(home),
            LANG="de_DE.UTF-8",
            LANGUAGE="de",
            TMPDIR=str(temporary),
            COLUMNS="300",
            GIT_DIR="/nowhere",
            GIT_INDEX_FILE="/nowhere",
            GIT_CONFIG_COUNT="x",
            OPENAI_API_KEY="sk-never",
            OPENAI_BASE_URL=url,
            GLEITZEIT__PROVIDERS__WIRE__API_KEY="sk-never",
            GLEITZEIT__PROVIDERS__WIRE__BASE_URL=url,
            GLEITZEIT_CONFIG="/nowhere.toml",
            GLEITZEIT_PROFILE="nothing",
            HTTP_PROXY=url,
            ALL_PROXY=url,
            NO_PROXY="",
            no_proxy="",
        )
        yield Shown(done, home, temporary, asked)


@contextmanager
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """An address that must not be asked, and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(65536))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/v1", asked
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.feature("S004-46")
def test_every_part_works(shown: Shown) -> None:
    assert shown.done.returncode == 0, shown.done.stdout + shown.done.stderr
    assert titles(shown.done.stdout) == TITLES
    assert shown.done.stderr == ""


def test_every_part_says_what_is_real(shown: Shown) -> None:
    sections = re.split(r"(?m)^\d  .+$", shown.done.stdout)[1:]
    assert [section.strip().split(":")[0] for section in sections] == ["real"] * len(TITLES)


def test_a_pipe_gets_no_colour_and_lines_of_at_most_100_columns(shown: Shown) -> None:
    assert [line for line in shown.done.stdout.splitlines() if len(line) > 100 or "\x1b" in line] == []


def test_keys_and_settings_in_the_environment_are_not_used(shown: Shown) -> None:
    assert shown.asked == []
    assert "sk-never" not in shown.done.stdout


def test_no_hook_of_a_configured_git_runs(shown: Shown) -> None:
    assert not (shown.home / "hook-ran").exists()


def test_its_repository_is_removed(shown: Shown) -> None:
    assert list(shown.temporary.iterdir()) == []


@pytest.mark.parametrize(
    "environ, colour", [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_a_terminal_gets_colour_unless_it_says_no(environ: dict[str, str], colour: bool) -> None:
    env = {"TERM": "xterm", **{name: os.environ[name] for name in ("PATH", "HOME")}, **environ}
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, str(HERE / "demo.py")], stdout=slave, env=env) as process:
        os.close(slave)
        printed = b""
        while b"2  A chat" not in printed:
            printed += os.read(master, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                if not os.read(master, 65536):
                    break
            except OSError:  # Linux says so when the last writer has gone
                break
        os.close(master)
    assert (b"\x1b[" in printed) is colour


def test_a_part_that_fails_is_told_and_the_others_are_shown(tmp_path: Path) -> None:
    copy = tmp_path / "demo"
    shutil.copytree(HERE, copy)
    script = json.loads((copy / "server.json").read_text())
    script["models"]["demo"] = [{"status": 500, "body": {"error": {"message": "broken on purpose"}}}]
    (copy / "server.json").write_text(json.dumps(script))
    done = run_in(copy)
    assert done.returncode == 1
    assert titles(done.stdout) == TITLES
    assert done.stdout.rstrip().endswith("2 of 8 parts failed: The same over HTTP, A model that uses a tool")
    assert "broken on purpose" in done.stdout


def test_a_configuration_that_does_not_hold_is_told_before_the_first_part(tmp_path: Path) -> None:
    copy = tmp_path / "demo"
    shutil.copytree(HERE, copy)
    with (copy / "gleitzeit.toml").open("a") as file:
        file.write("\n[nonsense]\n")
    done = run_in(copy)
    assert done.returncode == 1
    assert "failed before the first section" in done.stdout
    assert "gleitzeit.toml" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "moment, number",
    [
        ("1  What is installed", signal.SIGINT),
        ("2  A chat", signal.SIGINT),
        ("4  Tools", signal.SIGINT),
        ("git_log", signal.SIGTERM),
    ],
)
def test_when_it_is_stopped_nothing_is_left(number: signal.Signals, moment: str, tmp_path: Path) -> None:
    command = [sys.executable, "-u", str(HERE / "demo.py")]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if moment in line:
                break
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "stopped; everything that the demo had started has ended" in output
    assert errors == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found through /proc")
def test_when_it_is_killed_nothing_is_left() -> None:
    before = children()
    command = [sys.executable, "-u", str(HERE / "demo.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "git_log" in line:
                break
        process.kill()
    end = time.monotonic() + 10
    while inherited := children() - before:  # each must end by itself
        assert time.monotonic() < end, f"still there: {inherited}"
        for pid in inherited:
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def children() -> set[int]:
    """The processes whose parent is this one."""
    lists = (path.read_text().split() for path in Path("/proc/self/task").glob("*/children"))
    return {int(pid) for pids in lists for pid in pids}


def test_a_reader_that_goes_away_ends_it() -> None:
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(HERE / 'demo.py'))} | head -3"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert len(done.stdout.splitlines()) == 3
    assert "Traceback" not in done.stderr


class TestLive:
    """`--live` on a server of OpenAI's shape that refuses every key but one."""

    @pytest.fixture
    def server(self) -> Iterator[str]:
        command = [*SERVER, "--script", str(HERE / "server.json"), "--api-key", "sk-right"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
            process.stdin.close()

    def live(self, server: str, *more: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return run("--live", "--model", "demo", "--base-url", server, *more, **environ)

    def test_it_asks_the_model_with_the_key(self, server: str) -> None:
        done = self.live(server, "--api-key-env", "MY_KEY", MY_KEY="sk-right", OPENAI_API_KEY="sk-wrong")
        assert done.returncode == 0, done.stdout + done.stderr
        assert titles(done.stdout) == TITLES
        assert "real: the model demo" in done.stdout
        assert "scripted: what" not in done.stdout
        assert "sk-" not in done.stdout

    def test_the_key_of_openai_is_the_default(self, server: str) -> None:
        assert self.live(server, OPENAI_API_KEY="sk-right").returncode == 0

    def test_a_wrong_key_is_told_and_not_shown(self, server: str) -> None:
        done = self.live(server, OPENAI_API_KEY="sk-wrong-key")
        assert done.returncode == 1
        assert "sk-wrong-key" not in done.stdout + done.stderr
        assert "4 of 8 parts failed" in done.stdout or "5 of 8 parts failed" in done.stdout

    @pytest.mark.parametrize(
        "arguments", [["--live"], ["--model", "m"], ["--base-url", "http://127.0.0.1:1/v1"], ["--api"]]
    )
    def test_half_a_wish_is_refused(self, arguments: list[str]) -> None:
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
