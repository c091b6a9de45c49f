"""How a command line ends when somebody or something ends it."""

import json
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., dict[str, Any]]


def start(command: Command, *words: str, **options: Any) -> "subprocess.Popen[str]":
    """A process whose answer hangs, once it has begun."""
    process = subprocess.Popen(
        **command("chat", "-m", "desk/echo", "hang", *words, **options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "started\\n" not in (line := process.stdout.readline()) and line != "started\n":
        assert line, "the process ended"
    return process


@pytest.mark.parametrize(
    "number, code",
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["interrupt", "terminate", "hangup"],
)
def test_signal_closes_upstream_and_host_and_says_so_by_the_exit_code(
    desk: Any, command: Command, number: int, code: int
) -> None:
    words = ("--quiet", "--set", "host.drain_timeout=0.1")
    process = start(command, *words, env={"DESK_TELLS": "1"})
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.split("\n") == ["upstream closed", "desk closed", ""]


def test_signal_ends_a_command_with_json_output_as_well(desk: Any, command: Command) -> None:
    process = start(command, "--json")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_reader_that_goes_away_ends_the_command_quietly(desk: Any, command: Command) -> None:
    process = subprocess.Popen(
        **command("chat", "-m", "desk/echo", "flood"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(100)
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_reader_that_was_never_there_ends_a_listing_quietly(desk: Any, command: Command) -> None:
    for number in range(200):
        desk.plugin(f"x{number}", summary="One of many.")
    process = subprocess.Popen(
        **command("plugins"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_fault_of_our_own_is_told_in_a_sentence(
    site: Any, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slip(*words: object) -> None:
        raise ValueError("a slip")

    monkeypatch.setattr("gleitzeit.listing.plugins", slip)
    result = run("plugins")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[0] == "error: ValueError: a slip"
    assert "--debug" in result.err
    assert "Traceback" in run("plugins", "--debug").err
    assert json.loads(run("plugins", "--json").err)["error"]["code"] == "error"


@pytest.mark.parametrize("closed", ["1", "2"], ids=["output", "error"])
def test_stream_that_is_closed_from_the_start_is_no_fault(desk: Any, command: Command, closed: str) -> None:
    options = command("chat", "-m", "desk/echo", "hello")
    options["args"] = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *options["args"]]
    done = subprocess.run(
        **options, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n" if closed == "2" else "", "")
