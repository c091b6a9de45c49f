"""Servers that others wrote, each as an upstream of a host: `python -m tests.conformance.servers`.

The last line of the output is a JSON list of what was found; a row with a `fault` did not hold.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from gleitzeit import Host
from gleitzeit.values import GetPrompt, ReadResource, ToolCall
from tests.conformance import parts
from tests.conformance.client import elicited
from tests.conformance.npm import installed

__all__ = ["SERVERS", "Call", "Peer", "examine", "main"]


@frozen(kw_only=True)
class Call:
    """A tool, what it is given, and a text that the answer holds; `said` knows the folder as {folder}."""

    tool: str = field(kw_only=False)
    given: dict[str, Any] = field(kw_only=False, factory=dict)
    said: str = ""


@frozen(kw_only=True)
class Peer:
    """A server, how it is started in a folder of its own, and what is asked of it."""

    name: str = field(kw_only=False)
    source: str
    era: str
    start: Callable[[Path], dict[str, Any]]
    tools: int
    calls: tuple[Call, ...] = ()
    reads: tuple[tuple[str, str], ...] = ()
    prompts: tuple[tuple[str, dict[str, str]], ...] = ()


def _program(folder: Callable[[], Path], name: str, *arguments: str) -> Callable[[Path], dict[str, Any]]:
    def start(here: Path) -> dict[str, Any]:
        given = [argument.format(folder=here) for argument in arguments]
        return {"command": str(folder() / name), "args": given}

    return start


def _npm(name: str, *arguments: str, **variables: str) -> Callable[[Path], dict[str, Any]]:
    def start(here: Path) -> dict[str, Any]:
        given = {key: value.format(folder=here) for key, value in variables.items()}
        return {
            "command": str(installed("peers") / f"mcp-server-{name}"),
            "args": [argument.format(folder=here) for argument in arguments],
            "env": {"PATH": parts.node_path(), **given},
        }

    return start


def _repository(start: Callable[[Path], dict[str, Any]]) -> Callable[[Path], dict[str, Any]]:
    def begin(here: Path) -> dict[str, Any]:
        (here / "a.txt").write_text("one\n", encoding="utf-8")
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        for words in (("init", "-q", "-b", "main"), ("add", "a.txt"), (*who, "commit", "-q", "-m", "First")):
            subprocess.run(["git", *words], cwd=here, check=True)
        return start(here)

    return begin


def _asking(start: Callable[[Path], dict[str, Any]]) -> Callable[[Path], dict[str, Any]]:
    """Let the server ask: a model, a person, and where to work."""

    def begin(here: Path) -> dict[str, Any]:
        asking = {"may_ask": True, "sampling_model": "scripted/echo", "roots": [str(here)]}
        return {**start(here), **asking}

    return begin


def _beside() -> Path:
    return Path(sys.executable).parent


_ENTITY: Final = {"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]}
SERVERS: Final = (
    Peer(
        "mcp-server-time",
        source="PyPI",
        era="modern",
        start=_program(_beside, "mcp-server-time", "--local-timezone", "UTC"),
        tools=2,
        calls=(
            Call("get_current_time", {"timezone": "Europe/Berlin"}, said="Europe/Berlin"),
            Call(
                "convert_time",
                {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
                said="T21:00",
            ),
        ),
    ),
    Peer(
        "mcp-server-git",
        source="PyPI",
        era="modern",
        start=_repository(_program(_beside, "mcp-server-git", "--repository", "{folder}")),
        tools=12,
        calls=(
            Call("git_status", {"repo_path": "{folder}"}, said="main"),
            Call("git_log", {"repo_path": "{folder}"}, said="First"),
            Call("git_create_branch", {"repo_path": "{folder}", "branch_name": "next"}, said="next"),
            Call("git_branch", {"repo_path": "{folder}", "branch_type": "local"}, said="next"),
            Call("git_show", {"repo_path": "{folder}", "revision": "HEAD"}, said="one"),
        ),
    ),
    Peer(
        "mcp-server-fetch",
        source="PyPI",
        era="modern",
        start=_program(lambda: parts.programs("peers"), "mcp-server-fetch"),
        tools=1,
    ),
    Peer(
        "mcp-server-sqlite",
        source="PyPI, on the SDK's 1.x",
        era="legacy",
        start=_program(lambda: parts.programs("old"), "mcp-server-sqlite", "--db-path", "{folder}/a.db"),
        tools=6,
        calls=(
            Call("create_table", {"query": "create table a (x integer)"}),
            Call("write_query", {"query": "insert into a values (42)"}),
            Call("read_query", {"query": "select x from a"}, said="42"),
            Call("list_tables", said="a"),
            Call("append_insight", {"insight": "It is forty-two."}),
        ),
        reads=(("memo://insights", "forty-two"),),
        prompts=(("mcp-demo", {"topic": "trains"}),),
    ),
    Peer(
        "server-everything",
        source="npm",
        era="legacy",
        start=_asking(_npm("everything")),
        tools=17,
        calls=(
            Call("echo", {"message": "Grüße, 世界"}, said="Grüße, 世界"),
            Call("get-sum", {"a": 2, "b": 40}, said="42"),
            Call("get-structured-content", {"location": "Chicago"}, said="temperature"),
            Call("get-tiny-image"),
            Call("trigger-long-running-operation", {"duration": 0.1, "steps": 2}, said="completed"),
            Call("trigger-elicitation-request", said="Name: yes"),
            Call("get-roots-list", said="file://{folder}"),
            Call("trigger-sampling-request", {"prompt": "forty-two"}, said="forty-two"),
        ),
        reads=(("demo://resource/dynamic/text/1", "1"), ("demo://resource/static/document/features.md", "#")),
        prompts=(("simple-prompt", {}), ("args-prompt", {"city": "Ulm"})),
    ),
    Peer(
        "server-filesystem",
        source="npm",
        era="legacy",
        start=_npm("filesystem", "{folder}"),
        tools=14,
        calls=(
            Call("write_file", {"path": "{folder}/b.txt", "content": "two\n"}, said="b.txt"),
            Call("read_text_file", {"path": "{folder}/b.txt"}, said="two"),
            Call("list_directory", {"path": "{folder}"}, said="b.txt"),
            Call("get_file_info", {"path": "{folder}/b.txt"}, said="size: 4"),
            Call("search_files", {"path": "{folder}", "pattern": "b*"}, said="b.txt"),
        ),
    ),
    Peer(
        "server-memory",
        source="npm",
        era="legacy",
        start=_npm("memory", MEMORY_FILE_PATH="{folder}/memory.jsonl"),
        tools=9,
        calls=(
            Call("create_entities", {"entities": [_ENTITY]}, said="Ada"),
            Call("search_nodes", {"query": "program"}, said="Ada"),
            Call("delete_entities", {"entityNames": ["Ada"]}),
            Call("read_graph", said="entities"),
        ),
    ),
    Peer(
        "server-sequential-thinking",
        source="npm",
        era="legacy",
        start=_npm("sequential-thinking"),
        tools=1,
        calls=(
            Call(
                "sequentialthinking",
                {"thought": "So.", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1},
                said="thoughtNumber",
            ),
        ),
    ),
)


async def examine(peer: Peer) -> dict[str, str]:
    """Start the server under a host and ask it everything; the row about it."""
    row = {"server": peer.name, "from": peer.source, "wire": "stdio"}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        try:
            entry = {**peer.start(folder), "sandbox": "none", "timeout": 120.0, "probe_timeout": 20.0}
            settings = {"hook_timeout": 120.0, "timeout": 120.0}
            async with Host(
                {"host": settings, "servers": {"peer": entry}}, environ={}, on_elicit=elicited
            ) as host:
                row |= await _asked(host, peer, folder)
        except parts.Missing:
            raise
        except Exception as error:
            row["fault"] = f"{type(error).__name__}: {error}"
    return row


async def _asked(host: Host, peer: Peer, folder: Path) -> dict[str, str]:
    offered: dict[str, list[Any]] = {}
    for thing in ("tools", "resources", "prompts"):
        for offer in await host.offers(thing):
            if offer.instance == "peer":
                if offer.error is not None:
                    raise offer.error
                offered[thing] = list(offer.items)
    [health] = [each.health for each in await host.health() if each.name == "peer"]
    assert health.data["era"] == peer.era, f"the era is {health.data['era']}, not {peer.era}"
    assert len(offered["tools"]) >= peer.tools, f"{len(offered['tools'])} tools in place of {peer.tools}"
    for call in peer.calls:
        given = {
            key: value.format(folder=folder) if isinstance(value, str) else value
            for key, value in call.given.items()
        }
        reply = await host.call(ToolCall(given).to(f"peer/{call.tool}"))
        assert not reply.is_error, f"{call.tool} failed: {reply.text}"
        text = reply.text + json.dumps(_plain(reply.data), ensure_ascii=False)
        said = call.said.replace("{folder}", str(folder))
        assert said in text, f"{call.tool} said {reply.text!r}, without {said!r}"
    for uri, said in peer.reads:
        read = await host.call(ReadResource(uri).to("peer"))
        assert said in read.text, f"{uri} holds {read.text!r}, not {said!r}"
    for name, arguments in peer.prompts:
        prompt = await host.call(GetPrompt(arguments).to(f"peer/{name}"))
        assert prompt.messages, f"{name} rendered nothing"
    counts = [counted(items, thing[:-1]) for thing, items in offered.items() if items]
    done = [f"{counted(peer.calls, 'tool')} called"] if peer.calls else ["listed"]
    done += [f"{counted(peer.reads, 'resource')} read"] if peer.reads else []
    done += [f"{counted(peer.prompts, 'prompt')} rendered"] if peer.prompts else []
    era = f"{peer.era}, {health.data['protocol']}"
    return {"era": era, "offers": ", ".join(counts), "exercised": ", ".join(done)}


def counted(things: Sized, one: str) -> str:
    return f"{len(things)} {one}{'' if len(things) == 1 else 's'}"


def _plain(value: Any) -> Any:
    return value if isinstance(value, (dict, list, str, int, float, type(None))) else str(value)


async def main() -> None:
    rows = []
    for peer in SERVERS:
        try:
            rows.append(await examine(peer))
        except parts.Missing as missing:
            sys.stderr.write(f"{peer.name}: SKIPPED: {missing}\n")
    print(json.dumps(rows, ensure_ascii=False))


if __name__ == "__main__":
    asyncio.run(main())
