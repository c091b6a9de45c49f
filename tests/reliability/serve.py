"""An upstream behind the fault proxy in a process of its own; the prompt says what is to go wrong.

Prints `{"url": …, "port": …}` and serves until its standard input ends. A prompt `fault: NAME` meets
that case of the matrix; `flood` gets a stream of `FLOOD` events as fast as they are taken.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.benchmarks.process import ROOT, environment
from tests.reliability.cases import CASES, events
from tests.reliability.proxy import Ask, Fault, FaultProxy
from tests.reliability.upstream import upstream_port

__all__ = ["FLOOD", "server"]

#: Events in the long stream, each about 200 bytes of text.
FLOOD: Final = 50_000
_FAULT: Final = re.compile(rb'"fault: ([^"]+)"')
_BY_NAME: Final = {case.name: case for case in CASES}
_EVENT: Final = {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"content": "w" * 200}}]}


def _long() -> Fault:
    """A stream of ten megabytes; made once."""
    last = {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return events(*[_EVENT] * FLOOD, last, done=True)


async def _serve() -> None:
    flood = _long()

    def plan(ask: Ask) -> Fault:
        found = _FAULT.search(ask.body)
        if found is not None:
            return _BY_NAME[found[1].decode()].fault(b'"stream":true' in ask.body)
        return flood if b'"flood"' in ask.body else Fault()

    async with upstream_port() as port, FaultProxy(port, plan) as proxy:
        print(json.dumps({"url": proxy.url, "port": proxy.port}), flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        await ended.wait()


@contextmanager
def server() -> Iterator[str]:
    """The base URL of such a process while the block is entered."""
    command = [sys.executable, "-m", "tests.reliability.serve"]
    with subprocess.Popen(
        command, env=environment(ROOT), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url: str = json.loads(process.stdout.readline())["url"]
        try:
            yield url
        finally:
            process.stdin.close()
            process.wait(10)


if __name__ == "__main__":
    asyncio.run(_serve())
