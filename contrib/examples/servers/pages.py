"""An MCP server that reads web pages of the hosts that it was told, and of no other.

    python pages.py example.org docs.example.org:8080

A host without a port means the usual one. Redirects are followed as long as they lead to one of the hosts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx2
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

#: Bytes of a page that are read at most.
LARGEST: Final = 2_000_000
REDIRECTS: Final = 5
#: Seconds.
PATIENCE: Final = 20.0
#: What is inside of these is not said to anybody.
_SILENT: Final = frozenset({"script", "style", "template", "noscript", "head"})
#: These begin a new line.
_BLOCKS: Final = frozenset(
    {"p", "br", "div", "li", "ul", "ol", "tr", "table", "pre", "blockquote"}
    | {"section", "article", "header", "footer", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_PORTS: Final = {"http": 80, "https": 443}


class Page(HTMLParser):
    """What a page says: its title, its text, its links and its tables."""

    def __init__(self, url: str, html: str) -> None:
        super().__init__()
        self.url = url
        self.title = ""
        self.links: list[dict[str, str]] = []
        self.tables: list[list[list[str]]] = []
        self._lines: list[str] = [""]
        self._silent = 0
        self._inside: set[str] = set()
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        """The words, a line for each block."""
        lines = (" ".join(line.split()) for line in self._lines)
        return "\n".join(line for line in lines if line)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag begins."""
        given = dict(attrs)
        self._inside.add(tag)
        if tag in _SILENT:
            self._silent += 1
        if tag in _BLOCKS:
            self._lines.append("")
        if tag == "a" and given.get("href"):
            self.links.append({"url": urljoin(self.url, given["href"] or ""), "text": ""})
        if tag == "table":
            self.tables.append([])
        if tag == "tr" and self.tables:
            self.tables[-1].append([])
        if tag in ("td", "th") and self.tables and self.tables[-1]:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """A tag ends."""
        self._inside.discard(tag)
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        if tag in _BLOCKS:
            self._lines.append("")
        if tag in ("td", "th"):
            self._lines[-1] += " "

    def handle_data(self, data: str) -> None:
        """Words."""
        if "title" in self._inside:
            self.title += data
        if self._silent:
            return
        self._lines[-1] += data
        if "a" in self._inside and self.links:
            self.links[-1]["text"] += data
        if self._inside & {"td", "th"} and self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data.strip()


class Reader:
    """The tools, for some hosts (`name` or `name:port`)."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)

    async def read_page(self, url: str) -> dict[str, Any]:
        """The title, the text and the links of a page."""
        page = await self._page(url)
        return {"url": page.url, "title": page.title.strip(), "text": page.text, "links": page.links}

    async def read_tables(self, url: str) -> list[list[list[str]]]:
        """The tables of a page: rows of cells."""
        return [[row for row in table if row] for table in (await self._page(url)).tables]

    async def _page(self, url: str) -> Page:
        async with httpx2.AsyncClient(timeout=PATIENCE) as client:
            for _ in range(REDIRECTS + 1):
                self._check(url)
                try:
                    async with client.stream("GET", url) as answer:
                        if answer.is_redirect:
                            url = urljoin(url, answer.headers["location"])
                            continue
                        if answer.is_error:
                            raise ToolError(f"{url} answered {answer.status_code}")
                        return Page(url, await _text(answer))
                except httpx2.HTTPError as error:
                    raise ToolError(f"{url} cannot be read: {type(error).__name__}") from None
        raise ToolError(f"more than {REDIRECTS} redirects")

    def _check(self, url: str) -> None:
        """Refuse what is not on one of the hosts, also where a redirect leads there."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise ToolError(f"{url!r} is no address") from None
        host = (parts.hostname or "").lower()
        usual = port == _PORTS.get(parts.scheme)
        if not port or not ({f"{host}:{port}"} | ({host} if usual else set())) & self._hosts:
            raise ToolError(
                f"{url!r} is on none of the hosts that may be read: {', '.join(sorted(self._hosts))}"
            )


async def _text(answer: httpx2.Response) -> str:
    kind = answer.headers.get("content-type", "text/html")
    if not kind.startswith("text/") and "html" not in kind:
        raise ToolError(f"{answer.url} is no page: {kind}")
    data = b""
    async for piece in answer.aiter_bytes():
        data += piece
        if len(data) > LARGEST:
            raise ToolError(f"{answer.url} is larger than {LARGEST} bytes")
    return data.decode(answer.charset_encoding or "utf-8", errors="replace")


def serve(reader: Reader) -> MCPServer:
    """A server with the tools of the reader."""
    server = MCPServer("pages", instructions="Reads pages of a few hosts.")
    for tool in (reader.read_page, reader.read_tables):
        server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=True))(tool)
    return server


def main() -> None:
    """Serve over standard input and output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", nargs="+", help="a host that may be read, as NAME or NAME:PORT")
    serve(Reader(parser.parse_args().host)).run()


if __name__ == "__main__":
    main()
