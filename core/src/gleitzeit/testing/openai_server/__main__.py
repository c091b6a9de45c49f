"""Run the server until it is terminated, or the pipe on its standard input closes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import stat
import sys

from gleitzeit.testing.openai_server.script import Script
from gleitzeit.testing.openai_server.server import OpenAIServer

__all__ = ["main"]


async def _serve(port: int, script: Script, api_key: str | None) -> None:
    async with OpenAIServer(script, port=port, api_key=api_key) as server:
        sys.stdout.write(json.dumps({"url": server.url, "models": sorted(script.models)}) + "\n")
        sys.stdout.flush()
        await _parent_gone()


async def _parent_gone() -> None:
    """Wait until whoever holds the other end of a pipe on standard input has died: nothing is left behind."""
    if not stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        await asyncio.Event().wait()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        transport.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m gleitzeit.testing.openai_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--script", default="builtin", help="a JSON file, or builtin")
    parser.add_argument("--api-key", default=None, help="refuse requests that do not carry this key")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments.port, Script.read(arguments.script), arguments.api_key))


if __name__ == "__main__":
    main()
