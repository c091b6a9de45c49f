"""The example servers, as the SDK's own client finds them: real files, a local web server, a real table."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from gleitzeit.testing.loopback import Call, LoopbackServer

SERVERS = Path(__file__).resolve().parents[1] / "servers"
PAGE = b"""<html><head><title>The zoo</title><style>p { color: red }</style></head><body>
<h1>Animals</h1><p>Two <a href="/cats">cats</a> live here.</p><script>alert("no")</script>
<table><tr><th>name</th><th>age</th></tr><tr><td>Tom</td><td>3</td></tr></table></body></html>"""
TABLE = "city,day,visitors\nWien,mon,10\nGraz,mon,20\nWien,tue,32\nGraz,tue,\n"


@asynccontextmanager
async def server(script: str, *args: str) -> AsyncIterator[Client]:
    """A client of an example server in a process of its own."""
    start = StdioServerParameters(command=sys.executable, args=[str(SERVERS / script), *args])
    with open(os.devnull, "w") as silence:
        async with Client(stdio_client(start, errlog=silence), mode="2026-07-28") as client:
            yield client


async def asked(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool gives, as data."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    data = result.structured_content
    return data["result"] if isinstance(data, dict) and set(data) == {"result"} else data


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """What a tool says that reports a failure."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(getattr(result.content[0], "text", ""))


@pytest.mark.feature("S004-45")
async def test_files_are_listed_searched_read_and_written_in_one_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "a.txt").write_text("one\nTwo words\nthree\n")
    (tmp_path / "secret.txt").write_text("two secrets")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    async with server("files.py", str(folder)) as client:
        assert await asked(client, "list_files") == [{"name": "notes/a.txt", "bytes": 20}]
        assert await asked(client, "search_files", text="two") == [
            {"name": "notes/a.txt", "line": 2, "text": "Two words"}
        ]
        assert await asked(client, "read_file", name="notes/a.txt", first_line=2, lines=1) == "Two words\n"
        assert await asked(client, "write_file", name="new/b.txt", text="hé") == "new/b.txt: 3 bytes"
        assert await asked(client, "write_file", name="new/b.txt", text="!", append=True)
        assert (folder / "new" / "b.txt").read_text(encoding="utf-8") == "hé!"
        for name in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt"):
            assert "leads out" in await refused(client, "read_file", name=name)
        assert "leads out" in await refused(client, "write_file", name="../new.txt", text="x")
        assert "leads out" in await refused(client, "list_files", pattern="../*")
        assert "no file" in await refused(client, "read_file", name="none.txt")
        assert "cannot be written" in await refused(client, "write_file", name="notes/a.txt/b", text="x")
    assert not (tmp_path / "new.txt").exists()


@pytest.mark.feature("S004-45")
async def test_pages_are_read_from_the_hosts_that_were_named() -> None:
    async def site(call: Call) -> None:
        if call.path == "/zoo":
            await call.send(200, {"content-type": "text/html; charset=utf-8"}, PAGE)
        elif call.path == "/away":
            await call.send(302, {"location": "http://localhost:1/elsewhere"}, b"")
        elif call.path == "/here":
            await call.send(302, {"location": "/zoo"}, b"")
        elif call.path == "/data":
            await call.send(200, {"content-type": "application/octet-stream"}, b"\x00")
        else:
            await call.send(404, {}, b"nothing")

    async with LoopbackServer(site) as web, server("pages.py", web.address.partition("//")[2]) as client:
        page = await asked(client, "read_page", url=f"{web.address}/here")
        assert (page["url"], page["title"]) == (f"{web.address}/zoo", "The zoo")
        assert page["text"] == "Animals\nTwo cats live here.\nname age\nTom 3"
        assert page["links"] == [{"url": f"{web.address}/cats", "text": "cats"}]
        assert await asked(client, "read_tables", url=f"{web.address}/zoo") == [
            [["name", "age"], ["Tom", "3"]]
        ]
        assert "404" in await refused(client, "read_page", url=f"{web.address}/none")
        assert "no page" in await refused(client, "read_page", url=f"{web.address}/data")
        before = len(web.requests)
        for url in ("http://127.0.0.1:1/", "file:///etc/passwd", "http://[::1", "x"):
            await refused(client, "read_page", url=url)
        assert len(web.requests) == before
        assert "none of the hosts" in await refused(client, "read_page", url=f"{web.address}/away")


@pytest.mark.feature("S004-45")
async def test_a_table_is_described_grouped_and_searched(tmp_path: Path) -> None:
    (tmp_path / "zoo.csv").write_text(TABLE)
    async with server("tables.py", str(tmp_path / "zoo.csv")) as client:
        assert await asked(client, "list_tables") == [
            {"table": "zoo", "rows": 4, "columns": ["city", "day", "visitors"]}
        ]
        said = await asked(client, "describe_column", table="zoo", column="visitors")
        assert {key: said[key] for key in ("count", "missing", "min", "max", "median")} == {
            "count": 3,
            "missing": 1,
            "min": 10,
            "max": 32,
            "median": 20,
        }
        cities = await asked(client, "describe_column", table="zoo", column="city")
        assert cities["most_frequent"] == {"Wien": 2, "Graz": 2}
        grouped = await asked(client, "group", table="zoo", by="city", column="visitors")
        assert grouped == {"Graz": 20, "Wien": 42}
        rows = await asked(
            client, "select", table="zoo", column="city", equals="Wien", order_by="visitors", limit=1
        )
        assert rows == [{"city": "Wien", "day": "tue", "visitors": 32}]
        assert "has no column" in await refused(client, "describe_column", table="zoo", column="x")
        assert "only `count`" in await refused(client, "group", table="zoo", by="day", column="city")
