"""An MCP server for the files of one folder: list, search, read and write, and nothing outside of it.

python files.py FOLDER [--read-only]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

#: Bytes; what is larger is not read as a whole.
LARGEST: Final = 1_000_000
#: Files that a listing or a search gives at most.
MOST: Final = 200


class Folder:
    """The tools, on one folder. Names are relative to it; a link that leads out of it is refused."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve(strict=True)

    def list_files(self, pattern: str = "**/*") -> list[dict[str, Any]]:
        """The files whose names match a glob such as `*.txt` or `reports/**/*.csv`, with their sizes."""
        found = (
            {"name": str(path.relative_to(self.root)), "bytes": path.stat().st_size}
            for path in self._files(pattern)
        )
        return [row for row, _ in zip(found, range(MOST), strict=False)]

    def search_files(self, text: str, pattern: str = "**/*") -> list[dict[str, Any]]:
        """The lines that contain a text, in whatever case, with file and line number."""
        found: list[dict[str, Any]] = []
        for path in self._files(pattern):
            if path.stat().st_size > LARGEST:
                continue
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            for number, line in enumerate(lines, 1):
                if text.casefold() in line.casefold():
                    name = str(path.relative_to(self.root))
                    found.append({"name": name, "line": number, "text": line.strip()})
                    if len(found) == MOST:
                        return found
        return found

    def read_file(self, name: str, first_line: int = 1, lines: int = 500) -> str:
        """The text of a file, or of some of its lines."""
        path = self._inside(name)
        if not path.is_file():
            raise ToolError(f"there is no file {name!r}")
        if path.stat().st_size > LARGEST:
            raise ToolError(f"{name!r} is larger than {LARGEST} bytes")
        text = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        return "".join(text[max(0, first_line - 1) :][: max(0, lines)])

    def write_file(self, name: str, text: str, append: bool = False) -> str:
        """Write a text file, with the folders above it; `append` keeps what is there."""
        path = self._inside(name)
        if path.is_dir():
            raise ToolError(f"{name!r} is a folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if append else "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise ToolError(f"{name!r} cannot be written: {error.strerror}") from None
        return f"{name}: {path.stat().st_size} bytes"

    def _files(self, pattern: str) -> Iterator[Path]:
        """The files that a glob matches, in the order of their names; a pattern cannot climb out either."""
        if pattern.startswith("/") or ".." in Path(pattern).parts:
            raise ToolError(f"{pattern!r} leads out of the folder")
        try:
            found = sorted(self.root.glob(pattern))
        except ValueError as error:
            raise ToolError(f"{pattern!r} is no pattern: {error}") from None
        for path in found:
            if path.is_file() and path.resolve().is_relative_to(self.root):
                yield path

    def _inside(self, name: str) -> Path:
        try:
            path = (self.root / name).resolve()
        except (OSError, ValueError):
            raise ToolError(f"{name!r} is no name of a file") from None
        if not path.is_relative_to(self.root):
            raise ToolError(f"{name!r} leads out of the folder")
        return path


def serve(folder: Folder, read_only: bool) -> MCPServer:
    """A server with the tools of the folder."""
    server = MCPServer("files", instructions="Files of one folder; names are relative to it.")
    reading: tuple[Callable[..., Any], ...] = (folder.list_files, folder.search_files, folder.read_file)
    for tool in reading:
        server.tool(annotations=ToolAnnotations(read_only_hint=True))(tool)
    if not read_only:
        server.tool(annotations=ToolAnnotations(destructive_hint=True))(folder.write_file)
    return server


def main() -> None:
    """Serve over standard input and output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--read-only", action="store_true")
    given = parser.parse_args()
    if not given.folder.is_dir():
        parser.error(f"{given.folder} is no folder")
    serve(Folder(given.folder), given.read_only).run()


if __name__ == "__main__":
    main()
