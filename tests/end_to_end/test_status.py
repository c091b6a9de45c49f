"""What somebody at a shell sees of an application that runs: `gleitzeit health --of SOCKET`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

import pytest

from tests.end_to_end.conftest import Place

CONFIG = """
[host]
status_socket = "run.sock"

[providers.scripted]

[providers.nobody]
plugin = "openai"
base_url = "http://127.0.0.1:9/v1"
retry.max_retries = 0
circuit_breaker = { failure_threshold = 2, recovery_timeout = 600 }

[providers.narrow]
plugin = "scripted"
rate_limit.requests_per_minute = 1
timeouts.queue = 0.01
retry.max_retries = 0
"""
#: Calls each model whose name comes on standard input, and says how that ended.
APPLICATION = """
import asyncio, sys
from gleitzeit import Chat, Host
from gleitzeit.errors import GleitzeitError

async def main():
    async with Host() as host:
        print("open", flush=True)
        while name := (await asyncio.to_thread(sys.stdin.readline)).strip():
            try:
                await host.call(Chat("Hello!").to(name))
                print("ok", flush=True)
            except GleitzeitError as error:
                print(error.code, flush=True)

asyncio.run(main())
"""


class Application:
    """A process with a host of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        place.write("gleitzeit.toml", CONFIG)
        self.process = subprocess.Popen(
            [sys.executable, "-c", APPLICATION],
            cwd=place.folder,
            env={**os.environ, "HOME": str(place.folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in: IO[str] = self.process.stdin
        self._out: IO[str] = self.process.stdout
        assert self._out.readline() == "open\n"

    def call(self, name: str) -> str:
        """How a call of this model ended."""
        self._in.write(f"{name}\n")
        self._in.flush()
        return self._out.readline().strip()

    def end(self) -> int:
        """Let it close its host and end."""
        self._in.close()
        code = self.process.wait()
        self._out.close()
        return code

    def health(self, *arguments: str) -> tuple[int, str, str]:
        """`gleitzeit health --of` its socket: the exit code and what was printed."""
        ended = self.place.run("health", "--of", "run.sock", *arguments, config=CONFIG)
        return ended.code, ended.out, ended.err


@pytest.fixture
def application(place: Place) -> Iterator[Application]:
    running = Application(place)
    yield running
    if running.process.poll() is None:
        running.end()


def targets(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{each['instance']}/{each['name']}": each for each in document["snapshot"].get("targets", ())}


def test_an_application_tells_how_it_fares(application: Application) -> None:
    assert [application.call("scripted/hello") for _ in range(3)] == ["ok"] * 3
    code, out, _ = application.health("--json")
    found = json.loads(out)
    assert code == 0
    assert found["pid"] == application.process.pid
    assert targets(found)["scripted/hello"]["attempts"] == {"ok": 3}
    states = {each["name"]: each["state"] for each in found["instances"]}
    assert (states["scripted"], states["nobody"]) == ("active", "discovered"), "asking starts nothing"


def test_a_target_that_is_down_shows_its_open_breaker(application: Application) -> None:
    outcomes = [application.call("nobody/m") for _ in range(3)]
    assert outcomes == ["cannot_connect", "cannot_connect", "breaker_open"]
    code, out, _ = application.health("--json")
    found = json.loads(out)
    assert code != 0, "a script that asks must notice"
    down = targets(found)["nobody/m"]
    assert (down["attempts"], down["breaker"], down["refused"]) == ({"cannot_connect": 2}, "open", 1)
    [row] = [line for line in application.health()[1].splitlines() if line.startswith("nobody")]
    assert {"degraded", "error", "open"} <= set(row.split())


def test_what_a_limit_keeps_back_is_counted_apart(application: Application) -> None:
    assert application.call("narrow/hello") == "ok"
    outcome = application.call("narrow/hello")
    found = json.loads(application.health("--json")[1])
    narrow = targets(found)["narrow/hello"]
    assert (outcome, narrow["attempts"], narrow["refused"]) == ("rate_limited", {"ok": 1}, 1)


def test_a_watch_of_two_rounds_gives_two_documents(application: Application) -> None:
    code, out, _ = application.health("--watch", "--count", "2", "--interval", "0.01", "--json")
    first, second = (json.loads(line) for line in out.splitlines())
    assert code == 0
    assert first["pid"] == second["pid"] == application.process.pid
    assert first["snapshot"]["uptime"] < second["snapshot"]["uptime"]


def test_a_watch_follows_the_application_until_it_is_left(application: Application) -> None:
    command = [sys.executable, "-m", "gleitzeit.cli", "health", "--of", "run.sock", "--watch"]
    with subprocess.Popen(
        [*command, "--interval", "0.05", "--json"],
        cwd=application.place.folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        assert targets(json.loads(watch.stdout.readline())) == {}
        assert application.call("scripted/hello") == "ok"
        for line in watch.stdout:
            if targets(json.loads(line)):
                break
        assert application.end() == 0
        for line in watch.stdout:  # it goes on, as the application may come back
            if "error" in json.loads(line):
                break
        watch.send_signal(signal.SIGINT)
        watch.stdout.read()
        assert watch.wait() == 0, "that is how a watch ends"


def test_where_nobody_serves_the_error_says_what_to_look_for(application: Application) -> None:
    assert application.end() == 0
    assert not (application.place.folder / "run.sock").exists()
    code, out, err = application.health()
    assert (code != 0, out) == (True, "")
    assert "host.status_socket" in err
