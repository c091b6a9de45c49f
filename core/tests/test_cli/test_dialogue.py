"""`gleitzeit chat` on a terminal: approval of tools, and the dialogue."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Terminals = Callable[..., Any]
ADD = 'call desk/add {"a": 1, "b": 2}'
ECHO = ("chat", "-m", "desk/echo", "--no-color")


@pytest.fixture(autouse=True)
def _desk(desk: Any) -> None:
    pass


@pytest.mark.parametrize(
    "answer, said", [("y", "the tool said: 3"), ("n", "denied"), ("", "denied")], ids=["yes", "no", "enter"]
)
def test_person_is_asked_before_a_tool_runs(terminal: Terminals, answer: str, said: str) -> None:
    shown = terminal(*ECHO, ADD, "--tool", "desk/*")
    shown.expect('run desk/add {"a": 1, "b": 2} ? [y]es, [n]o, [a]lways this tool: ')
    shown.send(answer + "\n")
    shown.expect(said)
    assert shown.wait() == 0


def test_end_of_input_is_no(terminal: Terminals) -> None:
    shown = terminal(*ECHO, ADD, "--tool", "desk/*")
    shown.expect("[a]lways this tool: ")
    shown.send("\x04")
    shown.expect("denied")
    assert shown.wait() == 0


def test_arguments_cannot_hide_anything_from_the_person(terminal: Terminals) -> None:
    shown = terminal(*ECHO, 'call desk/show {"text": "a\u202eb\\u001b[2Kc\\nd"}', "--tool", "desk/*")
    question = shown.expect("[a]lways this tool: ")
    assert '{"text": "a\\u202eb\\u001b[2Kc\\nd"}' in question
    shown.send("n\n")
    assert shown.wait() == 0


def test_ctrl_c_at_the_question_ends_the_command(terminal: Terminals) -> None:
    shown = terminal(*ECHO, ADD, "--tool", "desk/*")
    shown.expect("[a]lways this tool: ")
    shown.send("\x03")
    assert shown.wait() == 130


def test_ctrl_c_during_an_answer_closes_upstream(terminal: Terminals) -> None:
    shown = terminal(*ECHO, "hang")
    shown.expect("started")
    shown.send("\x03")
    shown.expect("upstream closed")
    assert shown.wait() == 130


def test_dialogue_remembers_what_was_said(terminal: Terminals) -> None:
    shown = terminal(*ECHO, "--system", "S")
    shown.expect("> ")
    shown.send("first\n")
    shown.expect("first\r\nfirst")
    shown.expect("> ")
    shown.send("describe\n")
    shown.expect("('system', ['text']), ('user', ['text']), ('assistant', ['text']), ('user', ['text'])")
    shown.expect("> ")
    shown.send("\x04")
    assert shown.wait() == 0


def test_dialogue_asks_before_tools_and_remembers_always(terminal: Terminals) -> None:
    shown = terminal(*ECHO, "--tool", "desk/*")
    shown.expect("> ")
    shown.send(ADD + "\n")
    shown.expect("[a]lways this tool: ")
    shown.send("a\n")
    shown.expect("the tool said: 3")
    shown.expect("> ")
    shown.send(ADD + "\n")
    assert "always this tool" not in shown.expect("the tool said: 3")
    shown.expect("> ")
    shown.send("/exit\n")
    assert shown.wait() == 0


def test_ctrl_c_stops_an_answer_but_not_the_dialogue(terminal: Terminals) -> None:
    shown = terminal(*ECHO, env={"DESK_TELLS": "1"})
    shown.expect("> ")
    shown.send("hang\n")
    shown.expect("started")
    shown.idle()
    shown.send("\x03")
    shown.expect("upstream closed")
    shown.expect("(stopped)")
    shown.expect("> ")
    shown.send("still here\n")
    shown.expect("\r\nstill here")
    shown.expect("> ")
    shown.send("\x04")
    shown.expect("desk closed")
    assert shown.wait() == 0


def test_ctrl_c_at_the_prompt_gives_up_the_line(terminal: Terminals) -> None:
    shown = terminal(*ECHO)
    shown.expect("> ")
    shown.send("half a li")
    shown.expect("half a li")
    shown.idle()
    shown.send("\x03")
    shown.expect("> ")
    shown.send("hello\n")
    shown.expect("\r\nhello")
    shown.send("/exit\n")
    assert shown.wait() == 0


def test_signal_at_the_prompt_closes_the_host(terminal: Terminals) -> None:
    shown = terminal(*ECHO, env={"DESK_TELLS": "1"})
    shown.expect("> ")
    shown.send("hello\n")
    shown.expect("\r\nhello")
    shown.expect("> ")
    shown.idle()
    shown.process.terminate()
    shown.expect("desk closed")
    assert shown.wait() == 143


def test_signal_during_an_answer_closes_the_host(terminal: Terminals) -> None:
    shown = terminal(*ECHO, "--set", "host.drain_timeout=0.1", env={"DESK_TELLS": "1"})
    shown.expect("> ")
    shown.send("hang\n")
    shown.expect("started")
    shown.idle()
    shown.process.terminate()
    shown.expect("upstream closed")
    shown.expect("desk closed")
    assert shown.wait() == 143


def test_signal_lets_an_answer_finish(terminal: Terminals, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    shown = terminal(*ECHO, env={"DESK_TELLS": "1"})
    shown.expect("> ")
    shown.send(f"until {gate}\n")
    shown.expect("started")
    shown.idle()
    shown.process.terminate()
    shown.expect("ending: 10 s")
    gate.touch()
    shown.expect("the rest")
    shown.expect("desk closed")
    assert shown.wait() == 143


def test_second_signal_ends_an_answer_at_once(terminal: Terminals, tmp_path: Path) -> None:
    shown = terminal(*ECHO, "--set", "host.drain_timeout=1000", env={"DESK_TELLS": "1"})
    shown.expect("> ")
    shown.send(f"until {tmp_path / 'gate'}\n")
    shown.expect("started")
    shown.idle()
    shown.process.terminate()
    shown.expect("ending: 1000 s")
    shown.process.terminate()
    shown.expect("desk closed")
    assert shown.wait() == 143


def test_error_does_not_end_the_dialogue(terminal: Terminals) -> None:
    shown = terminal(*ECHO)
    shown.expect("> ")
    shown.send("overloaded\n")
    shown.expect("error: no room\r\n")
    shown.expect("hint: come back later")
    shown.expect("> ")
    shown.send("describe\n")
    assert "('user', ['text'])]" in shown.expect("None public")
    shown.send("/exit\n")
    assert shown.wait() == 0


def test_commands_of_the_dialogue(desk: Any, terminal: Terminals) -> None:
    (desk.work / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n0")
    shown = terminal(*ECHO)
    for line, said in (
        ("/help", "/clear"),
        ("/model", "talking to desk/echo"),
        ("/image a.png", "the next question sends it"),
        ("describe", "('user', ['image', 'text'])"),
        ("/clear", "starting anew"),
        ("/system be short", "starting anew"),
        ("describe", "[('system', ['text']), ('user', ['text'])]"),
        ("/usage", "tokens: not reported"),
        ("/image nowhere", "error: --image nowhere: No such file"),
        ("/modle x", "did you mean '/model'"),
        ("/model desk/nobody", "talking to desk/nobody"),
        ("hello", "error: no model 'desk/nobody'"),
    ):
        shown.expect("> ")
        shown.send(line + "\n")
        shown.expect(said)
    shown.expect("> ")
    shown.send("/exit\n")
    assert shown.wait() == 0


def test_line_goes_on_after_a_backslash(terminal: Terminals) -> None:
    shown = terminal(*ECHO)
    shown.expect("> ")
    shown.send("one \\\n")
    shown.expect(". ")
    shown.send("two\n")
    shown.expect("two\r\none \r\ntwo\r\n")
    shown.send("/exit\n")
    assert shown.wait() == 0


def test_dialogue_writes_only_answers_to_standard_output(terminal: Terminals) -> None:
    shown = terminal(*ECHO, stdout=subprocess.PIPE)
    shown.expect("> ")
    shown.send("hello\n")
    shown.expect("> ")
    shown.send("\x04")
    assert shown.wait() == 0
    assert shown.process.stdout.read() == b"hello\n"
