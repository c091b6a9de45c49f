"""`gleitzeit health`."""

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def test_table_tells_state_health_and_latency(desk: Any, run: Run) -> None:
    desk.config("[providers.desk]\neager = true\n")
    [line] = [line for line in run("health").lines if line.startswith("desk")]
    assert line.split() == ["desk", "provider", "desk", "active", "ok", "12", "ms", "sitting"]


def test_what_was_not_needed_so_far_is_unknown_and_no_error(desk: Any, run: Run) -> None:
    result = run("health")
    [line] = [line for line in result.lines if line.startswith("desk")]
    assert "unknown" in line
    assert result.code == 0


def test_deep_starts_what_is_not_running(desk: Any, run: Run) -> None:
    [found] = [
        each for each in run("health", "--deep", "--json").json()["instances"] if each["name"] == "desk"
    ]
    assert (found["state"], found["health"]["status"], found["health"]["latency"]) == ("active", "ok", 0.0125)


def test_anything_in_error_is_exit_code_one(desk: Any, run: Run) -> None:
    desk.config("[providers.gone]\n")
    result = run("health")
    [line] = [line for line in result.lines if line.startswith("gone")]
    assert "error" in line
    assert result.code == 1


def test_disabled_instance_is_no_error(desk: Any, run: Run) -> None:
    desk.config("[providers.gone]\nenabled = false\n")
    result = run("health", "--json")
    [found] = [each for each in result.json()["instances"] if each["name"] == "gone"]
    assert (result.code, found["state"]) == (0, "disabled")
