"""The servers that others wrote, the wires that each is reached over, and what is asked of them there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from tests.conformance.ways import (
    PROGRAMS,
    Program,
    Way,
    at,
    behind_mcp_proxy,
    behind_mcp_remote,
    behind_supergateway,
    node,
    npm,
    own,
    python,
)

__all__ = ["SERVERS", "Call", "Peer"]


@frozen(kw_only=True)
class Call:
    """A tool, what it is given, and a text that the answer holds; `said` knows the folder as {folder}."""

    tool: str = field(kw_only=False)
    given: dict[str, Any] = field(kw_only=False, factory=dict)
    said: str = ""
    #: Does the server ask something back meanwhile?
    asks: bool = False
    #: Is its answer that it failed?
    fails: bool = False
    #: How many messages of progress come, at least.
    progress: int = 0


@frozen(kw_only=True)
class Peer:
    """A server, the ways to it, each from a folder of its own, and what is asked of it."""

    name: str = field(kw_only=False)
    source: str
    ways: tuple[Way, ...]
    tools: int
    calls: tuple[Call, ...] = ()
    reads: tuple[tuple[str, str], ...] = ()
    prompts: tuple[tuple[str, dict[str, str]], ...] = ()
    prepare: Callable[[Path], None] = lambda _: None
    #: Has it the tools `add`, `wait`, `cancelled` and `grow` of `programs/served.py`?
    behaves: bool = False


MODERN: Final = "2026-07-28"
HANDSHAKE: Final = "2025-11-25"
SERVED: Final = str(PROGRAMS / "served.py")


def _proxied(program: Program, protocol: str = HANDSHAKE) -> tuple[Way, ...]:
    """A program that speaks over standard streams alone, there and behind mcp-proxy."""
    return (
        Way("stdio", protocol, own(program)),
        Way("HTTP, by mcp-proxy", HANDSHAKE, behind_mcp_proxy(program, "/mcp")),
        Way("SSE, by mcp-proxy", HANDSHAKE, behind_mcp_proxy(program, "/sse")),
    )


def _gated(program: Program) -> tuple[Way, ...]:
    """The same of the older era, behind supergateway."""
    return (
        Way("stdio", HANDSHAKE, own(program)),
        Way("HTTP, by supergateway", HANDSHAKE, behind_supergateway(program, "/mcp", "streamableHttp")),
        Way("SSE, by supergateway", HANDSHAKE, behind_supergateway(program, "/sse", "sse")),
    )


def _both(wire: str, opened: Any, *, modern: str = "", old: str = "") -> tuple[Way, ...]:
    """A server of both eras: what the host finds, and the older one, as it is told to; and what they lack."""
    return (
        Way(wire, MODERN, opened, lacks=frozenset(modern.split())),
        Way(wire, HANDSHAKE, opened, mode="legacy", lacks=frozenset(old.split())),
    )


def _repository(folder: Path) -> None:
    (folder / "a.txt").write_text("one\n", encoding="utf-8")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q", "-b", "main"), ("add", "a.txt"), (*who, "commit", "-q", "-m", "First")):
        subprocess.run(["git", *words], cwd=folder, check=True)


def _python(kind: str, wire: str) -> Program:
    """A server on a framework for Python, in the environment that has it."""
    environment = {"fastmcp": "peers", "sdk": ""}.get(kind, kind)
    return python(environment, "python", "-W", "ignore", SERVED, kind, wire, "{port}")


def _ours(name: str, source: str, *ways: Way) -> Peer:
    """A server of ours on a framework of others; all do the same."""
    return Peer(
        name,
        source=source,
        ways=ways,
        tools=8,
        behaves=True,
        calls=(
            Call("add", {"a": 2, "b": 40}, said='{"result": 42}'),
            Call("fail", fails=True),
            Call("count", {"to": 3}, said="counted to 3", progress=3),
            Call("ask_person", said="Hello, yes", asks=True),
            Call("ask_model", said="It said forty-two", asks=True),
        ),
        reads=(("note://one", "the first note"), ("note://by/Ada", "a note by Ada")),
        prompts=(("greet", {"name": "Ada"}),),
    )


_ENTITY: Final = {"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]}
_EXAMPLE: Final = "../@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js"
SERVERS: Final = (
    Peer(
        "mcp-server-time",
        source="PyPI",
        ways=_proxied(python("", "mcp-server-time", "--local-timezone", "UTC"), MODERN),
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
        ways=_proxied(python("", "mcp-server-git", "--repository", "{folder}"), MODERN),
        prepare=_repository,
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
        ways=_proxied(python("peers", "mcp-server-fetch"), MODERN),
        tools=1,
    ),
    Peer(
        "mcp-server-sqlite",
        source="PyPI, on the SDK's 1.x",
        ways=_proxied(python("old", "mcp-server-sqlite", "--db-path", "{folder}/a.db")),
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
        ways=(
            Way("stdio", HANDSHAKE, own(npm("peers", "mcp-server-everything"))),
            Way(
                "HTTP",
                HANDSHAKE,
                at(npm("peers", "mcp-server-everything", "streamableHttp", PORT="{port}")),
            ),
            Way("SSE", HANDSHAKE, at(npm("peers", "mcp-server-everything", "sse", PORT="{port}"), "/sse")),
            Way(
                "stdio, by mcp-remote",
                HANDSHAKE,
                behind_mcp_remote(npm("peers", "mcp-server-everything", "streamableHttp", PORT="{port}")),
            ),
            Way(
                "HTTP, by supergateway",
                HANDSHAKE,
                behind_supergateway(npm("peers", "mcp-server-everything"), "/mcp", "streamableHttp"),
            ),
            Way(
                "SSE, by supergateway",
                HANDSHAKE,
                behind_supergateway(npm("peers", "mcp-server-everything"), "/sse", "sse"),
            ),
        ),
        tools=17,
        calls=(
            Call("echo", {"message": "Grüße, 世界"}, said="Grüße, 世界"),
            Call("get-sum", {"a": 2, "b": 40}, said="42"),
            Call("get-structured-content", {"location": "Chicago"}, said="temperature"),
            Call("get-tiny-image"),
            Call(
                "trigger-long-running-operation",
                {"duration": 0.1, "steps": 2},
                said="completed",
                progress=2,
            ),
            Call("trigger-elicitation-request", said="Name: yes", asks=True),
            Call("get-roots-list", said="file://{folder}", asks=True),
            Call("trigger-sampling-request", {"prompt": "forty-two"}, said="forty-two", asks=True),
        ),
        reads=(("demo://resource/dynamic/text/1", "1"), ("demo://resource/static/document/features.md", "#")),
        prompts=(("simple-prompt", {}), ("args-prompt", {"city": "Ulm"})),
    ),
    Peer(
        "server-filesystem",
        source="npm",
        ways=_gated(npm("peers", "mcp-server-filesystem", "{folder}")),
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
        ways=_gated(npm("peers", "mcp-server-memory", MEMORY_FILE_PATH="{folder}/memory.jsonl")),
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
        ways=_gated(npm("peers", "mcp-server-sequential-thinking")),
        tools=1,
        calls=(
            Call(
                "sequentialthinking",
                {"thought": "So.", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1},
                said="thoughtNumber",
            ),
        ),
    ),
    # It has no `subscriptions/listen`.
    _ours(
        "a server on FastMCP 4",
        "PyPI",
        *_both("stdio", own(_python("fastmcp", "stdio")), modern="changes"),
        *_both("HTTP", at(_python("fastmcp", "http")), modern="changes"),
        *_both("SSE", at(_python("fastmcp", "sse"), "/sse"), modern="changes"),
    ),
    _ours(
        "a server on FastMCP 2",
        "PyPI",
        Way("stdio", HANDSHAKE, own(_python("fastmcp2", "stdio"))),
        Way("HTTP", HANDSHAKE, at(_python("fastmcp2", "http"))),
        Way("SSE", HANDSHAKE, at(_python("fastmcp2", "sse"), "/sse")),
    ),
    _ours(
        "a server on the SDK for Python",
        "PyPI",
        *_both("stdio", own(_python("sdk", "stdio"))),
        *_both("HTTP", at(_python("sdk", "http"))),
        *_both("SSE", at(_python("sdk", "sse"), "/sse")),
    ),
    _ours(
        "a server on the SDK for Python, 1.x",
        "PyPI",
        Way("stdio", HANDSHAKE, own(_python("old", "stdio"))),
        Way("HTTP", HANDSHAKE, at(_python("old", "http"))),
        Way("SSE", HANDSHAKE, at(_python("old", "sse"), "/sse")),
    ),
    # Its HTTP keeps no sessions for the older era. mcp-remote does not pass on that a call was cancelled;
    # supergateway has a process for each request of the newer era, of which none sees what another did, and
    # in the older one sends all news, once a call was cancelled, to where its answer would have been read.
    _ours(
        "a server on the SDK for TypeScript",
        "npm",
        *_both("stdio", own(node("sdk", "served.mjs", "stdio"))),
        *_both("HTTP", at(node("sdk", "served.mjs", "http", "{port}")), old="questions changes"),
        *_both(
            "stdio, by mcp-remote",
            behind_mcp_remote(node("sdk", "served.mjs", "http", "{port}")),
            modern="cancelling",
            old="questions cancelling changes",
        ),
        *_both(
            "HTTP, by supergateway",
            behind_supergateway(node("sdk", "served.mjs", "stdio"), "/mcp", "streamableHttp"),
            modern="cancelling changes",
            old="changes",
        ),
    ),
    _ours(
        "a server on the SDK for TypeScript, 1.x",
        "npm",
        Way(
            "HTTP, JSON without sessions",
            HANDSHAKE,
            at(node("sdk", "served.mjs", "json", "{port}")),
            lacks=frozenset({"progress", "questions", "cancelling", "changes"}),
        ),
        Way(
            "gRPC, by mcp-grpc-transport",
            HANDSHAKE,
            at(node("grpc", "served.mjs", "grpc", "{port}"), "", "grpc"),
        ),
    ),
    Peer(
        "the example of the SDK for TypeScript, 1.x",
        source="npm",
        ways=(Way("HTTP", HANDSHAKE, at(npm("sdk", _EXAMPLE, MCP_PORT="{port}"))),),
        tools=5,
        calls=(
            Call("greet", {"name": "Ada"}, said="Hello, Ada!"),
            Call("collect-user-info", {"infoType": "preferences"}, said="preferences", asks=True),
            Call("start-notification-stream", {"interval": 1, "count": 3}, said="every 1ms"),
        ),
    ),
)
