"""Questions of servers to the person at the terminal."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Terminals = Callable[..., Any]
ASK = ("tool", "desk/form", "--no-color")


@pytest.fixture(autouse=True)
def _desk(desk: Any) -> None:
    pass


def test_form_is_filled_in_field_by_field(terminal: Terminals) -> None:
    shown = terminal(*ASK)
    assert "desk asks: Who are you?" in shown.expect("answer? [y]es, [n]o: ")
    shown.send("y\n")
    for label, said in [
        ("Your name: ", "Ada"),
        ("size: ", "many"),
        ("expected a whole number", None),
        ("size: ", "3"),
        ("colour (one of red, green; may be left empty): ", "blue"),
        ("expected one of red, green", None),
        ("colour (one of red, green; may be left empty): ", "green"),
        ("days (some of mon, tue; may be left empty): ", "tue, mon"),
        ("sure (yes or no; default: yes): ", ""),
        ("note (may be left empty): ", ""),
    ]:
        shown.expect(label)
        if said is not None:
            shown.send(f"{said}\n")
    shown.expect('"accept"')
    assert shown.wait() == 0
    content = {"name": "Ada", "size": 3, "colour": "g", "days": ["tue", "mon"], "sure": True}
    assert json.loads('{"content":' + shown.seen.partition('"content":')[2]) == {"content": content}


@pytest.mark.parametrize(
    "arguments, keys, action",
    [
        ((), "n\n", "decline"),
        ((), "\x04", "cancel"),
        (('--arguments={"url": "https://x.test/a?b=c"}',), "y\n", "accept"),
        (('--arguments={"url": "https://x.test/a?b=c"}',), "\n", "decline"),
    ],
    ids=["form declined", "input ends", "address accepted", "address declined"],
)
def test_person_may_say_no(terminal: Terminals, arguments: tuple[str, ...], keys: str, action: str) -> None:
    shown = terminal(*ASK, *arguments)
    shown.expect("  visit https://x.test/a?b=c ? [y]es, [n]o: " if arguments else "answer? [y]es, [n]o: ")
    shown.send(keys)
    shown.expect(f'"{action}"')
    assert shown.wait() == 0


def test_without_a_terminal_nobody_is_asked(run: Callable[..., Any]) -> None:
    assert run(*ASK).json() == {"action": "decline", "content": None}
