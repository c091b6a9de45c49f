"""MCP: calls of tools straight to a server, through a host, and through gateways."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent
TOOL: Final = "echo"
TEXT: Final = "word " * 20
ERAS: Final = ("modern", "legacy")
#: How a server of the SDK is started as a local process: what an entry of a host says.
LOCAL: Final[dict[str, Any]] = {"command": sys.executable, "args": ["-I", str(FOLDER / "server.py"), "stdio"]}
