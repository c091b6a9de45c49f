"""A model that Ollama does not have is downloaded at the terminal, with a bar, if a person agrees."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.tests.test_cli.conftest import Terminal
from gleitzeit.cli.pull import missing
from gleitzeit.cli.render import BAR
from gleitzeit.config import load
from gleitzeit.discovery import scan
from gleitzeit.errors import UnknownModelError
from gleitzeit.testing.ollama_server import Card, OllamaServer
from tests.end_to_end.conftest import Place

CHAT = ("chat", "-m", "ollama/tiny", "--no-color", "hello")
QUESTION = "ollama does not have tiny. Download it? [Y/n] "
ANSWER = "You said: hello"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OllamaServer]:
    """A fake that does not have `tiny`, but can download it."""
    async with OllamaServer() as server:
        server.library["tiny:latest"] = 4000
        yield server


@pytest.fixture
def place(tmp_path: Path, server: OllamaServer) -> Place:
    place = Place(tmp_path)
    text = f'[providers.ollama]\nbase_url = "{server.url}"\n[aliases]\nsmall = "ollama/tiny"\n'
    place.write("gleitzeit.toml", text)
    return place


@pytest.fixture
def terminal(place: Place) -> Iterator[Callable[..., Terminal]]:
    pytest.importorskip("pty", reason="needs terminals of the POSIX kind")
    started: list[Terminal] = []

    def start(*words: str, **environ: str) -> Terminal:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        env = {**kept, "HOME": str(place.folder), "TERM": "xterm", "COLUMNS": "80", **environ}
        args = [sys.executable, "-m", "gleitzeit.cli", *words]
        started.append(Terminal(args, env=env, cwd=str(place.folder)))
        return started[-1]

    yield start
    for each in started:
        each.close()


async def run(place: Place, *words: str) -> Any:
    """A command without a terminal."""
    config = (place.folder / "gleitzeit.toml").read_text()
    return await asyncio.to_thread(place.run, *words, config=config)


async def expect(shown: Terminal, text: str) -> str:
    """What comes up to the end of `text`; the server answers meanwhile."""
    return await asyncio.to_thread(shown.expect, text, 60.0)


def paths(server: OllamaServer) -> list[str]:
    return [call.path for call in server.requests]


@pytest.mark.feature("S002-07")
async def test_a_person_agrees_and_sees_the_download_and_the_answer(
    server: OllamaServer, terminal: Callable[..., Terminal]
) -> None:
    shown = terminal("chat", "-m", "small", "hello", NO_COLOR="1")
    question = await expect(shown, QUESTION)
    assert paths(server) == ["/api/chat"]
    shown.send("\n")
    bar = await expect(shown, "pulling tiny: success")
    assert "█" * BAR in bar
    await expect(shown, ANSWER)
    assert await asyncio.to_thread(shown.wait) == 0
    assert paths(server) == ["/api/chat", "/api/pull", "/api/chat"]
    assert "\x1b[3" not in question + bar


@pytest.mark.parametrize("answer", ["what\n", "\x04"], ids=["something else", "end of input"])
async def test_without_a_yes_nothing_is_downloaded(
    server: OllamaServer, terminal: Callable[..., Terminal], answer: str
) -> None:
    shown = terminal(*CHAT)
    await expect(shown, QUESTION)
    shown.send(answer)
    await expect(shown, "error: ")
    assert await asyncio.to_thread(shown.wait) == UnknownModelError.exit_code
    assert paths(server) == ["/api/chat"]


async def test_a_dialogue_asks_and_goes_on(server: OllamaServer, terminal: Callable[..., Terminal]) -> None:
    shown = terminal("chat", "-m", "ollama/tiny", "--no-color")
    await expect(shown, "> ")
    shown.send("hello\n")
    await expect(shown, QUESTION)
    shown.send("y\n")
    await expect(shown, ANSWER)
    await expect(shown, "> ")
    shown.send("/exit\n")
    assert await asyncio.to_thread(shown.wait) == 0
    assert paths(server) == ["/api/chat", "/api/pull", "/api/chat"]


async def test_without_a_terminal_nobody_is_asked_and_the_error_tells_of_yes(
    server: OllamaServer, place: Place
) -> None:
    ended = await run(place, *CHAT, "--json")
    assert ended.code == UnknownModelError.exit_code
    assert ended.error["hint"].startswith("--yes downloads it")
    assert paths(server) == ["/api/chat"]


@pytest.mark.parametrize("more", [(), ("--tool", "nobody/*")], ids=["chat", "conversation"])
async def test_yes_downloads_without_asking(
    server: OllamaServer, place: Place, more: tuple[str, ...]
) -> None:
    ended = await run(place, *CHAT, "--yes", *more)
    assert (ended.code, ended.out.strip().endswith(ANSWER)) == (0, True)
    assert "4000/4000 pulling tiny: success" in ended.err
    assert paths(server) == ["/api/chat", "/api/pull", "/api/chat"]


async def test_a_program_gets_the_answer_alone(server: OllamaServer, place: Place) -> None:
    server.pulled = Card(capabilities=("embedding",))
    asked = '{"kind": "embedding", "inputs": ["x"]}'
    ended = await run(place, "call", "ollama/tiny", asked, "-y", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert len(json.loads(ended.out)["vectors"]) == 1
    assert paths(server) == ["/api/embed", "/api/pull", "/api/embed"]


async def test_a_name_that_the_library_does_not_have_is_an_unknown_model(
    server: OllamaServer, place: Place
) -> None:
    server.library.clear()
    ended = await run(place, *CHAT, "--yes", "--json")
    assert (ended.code, ended.error["code"]) == (UnknownModelError.exit_code, "unknown_model")
    assert "library" in ended.error["hint"]
    assert paths(server) == ["/api/chat", "/api/pull"]


@pytest.mark.parametrize(
    "target, provider, status, found",
    [
        ("ollama/a/b:c", "ollama", 404, ("ollama", "a/b:c")),
        ("short", "ollama", 404, ("ollama", "tiny")),
        ("loop", "ollama", 404, None),
        ("ollama/tiny", "other", 404, None),
        ("ollama/tiny", "ollama", 400, None),
        ("ollama/tiny", "ollama", None, None),
        ("openai/tiny", "openai", 404, None),
        ("tiny", "ollama", 404, None),
        ("routed", "ollama", 404, None),
    ],
)
def test_only_what_the_provider_itself_does_not_have_can_be_downloaded(
    target: str, provider: str, status: int | None, found: tuple[str, str] | None
) -> None:
    data = {
        "aliases": {"short": "shorter", "shorter": "ollama/tiny", "loop": "loop"},
        "routes": {"routed": {"targets": ["ollama/tiny"]}},
    }
    config = load(data=data, environ={}, index=scan())
    error = UnknownModelError("no such model", provider=provider, status=status)
    assert missing(config, target, error) == found
