"""`gleitzeit resources`, `read`, `prompts` and `prompt`."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _desk(desk: Any) -> None:
    pass


def test_resources_are_listed_by_what_read_takes(run: Run) -> None:
    [first, template] = run("resources", "--json").json()["resources"]
    assert (first["name"], first["resource"]["size"]) == ("desk/note://a", 5)
    assert (template["name"], template["resource"]["template"]) == ("desk/note://{id}", True)
    assert run("resources", "--names").out == "desk/note://a\n"
    assert [line.split()[:3] for line in run("resources", "first").lines[1:]] == [
        ["desk/note://a", "text/plain", "5"]
    ]


def test_resource_is_read_as_text_or_into_a_file(desk: Any, run: Run) -> None:
    assert run("read", "desk/note://a").out.startswith("hello")
    result = run("read", "desk/note://b", "--output", "found.bin")
    assert (desk.work / "found.bin").read_bytes() == b"\0raw"
    assert (result.out, result.err) == ("", "4 bytes written to found.bin\n")


@pytest.mark.parametrize("name", ["desk", "desk/"])
def test_name_without_an_address_is_told_before_anything_starts(run: Run, name: str) -> None:
    result = run("read", name)
    assert result.code == 2
    assert f"error: {name!r} is no INSTANCE/URI\nhint: see `gleitzeit resources`" in result.err


def test_file_that_cannot_be_written_is_told(run: Run) -> None:
    assert "error: --output nowhere/x: No such file" in run("read", "desk/note://a", "-o", "nowhere/x").err


def test_prompts_are_listed_with_their_arguments(run: Run) -> None:
    [prompt] = run("prompts", "--json").json()["prompts"]
    assert (prompt["name"], len(prompt["prompt"]["arguments"])) == ("desk/ask", 2)
    assert run("prompts", "desk/*").lines[1].split()[:3] == ["desk/ask", "topic=", "[tone=]"]
    assert "no prompt like 'x' is offered" in run("prompts", "x").err


def test_prompt_is_filled_in(desk: Any, run: Run) -> None:
    (desk.work / "topic").write_text("the sea")
    assert run("prompt", "desk/ask", "topic=@topic").out == "user: Tell me of the sea, plainly.\n"
    assert run("prompt", "desk/ask", "topic=tea", "--timeout", "9", "tone=briefly").out.endswith("briefly.\n")


@pytest.mark.parametrize(
    "words, message",
    [(["topic"], "'topic' is no KEY=VALUE"), (["topic=1", "topic=2"], "topic was given twice")],
)
def test_what_is_wrong_with_arguments_is_told(run: Run, words: list[str], message: str) -> None:
    assert message in run("prompt", "desk/ask", *words).err
