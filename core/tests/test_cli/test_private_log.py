"""`--debug` shows the log, and nothing of what was said in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.feature("S002-19")
def test_the_log_of_debug_has_no_content(desk: Any, process: Callable[..., Any]) -> None:
    said = "CANARY-7f3a"
    done = process("chat", "-m", "desk/echo", "--debug", "--private", f"{said} question")
    assert said not in done.stderr
    done = process("chat", "-m", "desk/echo", "--debug", f"{said} question")
    assert (done.returncode, done.stdout.strip()) == (0, f"{said} question")
    assert said not in done.stderr
