"""What importing costs, over the bare interpreter and beside a vendor's SDK."""

from __future__ import annotations

import json
from functools import partial

from tests.benchmarks.machine import installed
from tests.benchmarks.process import BenchError, interleaved, report_of, run
from tests.benchmarks.rows import Group
from tests.benchmarks.table import Progress

FORBIDDEN = (
    "asyncio",
    "pydantic",
    "msgspec",
    "mcp",
    "httpx",
    "httpx2",
    "aiohttp",
    "requests",
    "urllib3",
    "openai",
)

_HOST = """
import asyncio
from gleitzeit import Host

CONFIG = {"providers": {"openai": {"base_url": "http://127.0.0.1:9/v1", "api_key": "none", "eager": True}}}

async def main():
    async with Host(CONFIG, environ={}) as host:
        openai = host._registry.find("provider", "openai")  # asking for its health would make a call
        assert openai.object is not None, openai.reason
        READY

asyncio.run(main())
"""
_SCRIPTS = {
    "bare": "",
    "gleitzeit": "import gleitzeit",
    "host": _HOST.replace("READY", ""),
    "host, client": _HOST.replace("READY", "host._client()"),
    "openai": "import openai",
    "openai, client": "import openai; openai.AsyncOpenAI(api_key='none', base_url='http://127.0.0.1:9/v1')",
    "httpx2": "import httpx2",
}
_NEW_MODULES = """
import sys
before = set(sys.modules)
import gleitzeit
new = sorted(set(sys.modules) - before)
import json
print(json.dumps(new))
"""
_READY = "Host opened, openai provider started: CPU"
_NEEDS = {"host": "gleitzeit-plugin-openai", "openai": "openai", "httpx2": "httpx2"}


def measure(progress: Progress, quick: bool) -> Group:
    """CPU and memory of `import gleitzeit`, and of a host that is ready for its first call."""
    group = Group("imports", "Imports (CPU over the bare interpreter)")
    scripts = {name: code for name, code in _SCRIPTS.items() if _there(name)}
    for code in scripts.values():
        run(["-c", code])  # byte code and page cache
    subjects = {name: partial(_cpu, code) for name, code in scripts.items()}
    cpu = interleaved(subjects, 3 if quick else 25, progress.at)
    bare = cpu["bare"]
    over = {name: 1000 * (seconds - bare) for name, seconds in cpu.items()}

    group.add(
        "import gleitzeit: CPU",
        over["gleitzeit"],
        "ms",
        limit=20,
        note=f"the bare interpreter: {1000 * bare:.0f} ms",
    )
    _memory(group)
    _forbidden(group)
    ours, with_client = over.get("host"), over.get("host, client")
    if ours is None:
        group.absent(_READY, _missing("host"), "ms", limit=350)
    else:
        group.add(_READY, ours, "ms", limit=350)
    for name in ("openai", "httpx2"):
        if name in over:
            group.peer(f"import {name}", over[name], "ms", ours=ours)
        else:
            group.absent(f"import {name}", _missing(name), peer=True)
    if ours is not None and "openai" in over:
        group.add("… as a share of `import openai`", ours / over["openai"], "×", limit=1)
    if with_client is not None:
        group.add("the same with the HTTP client made (TLS): CPU", with_client, "ms")
    if "openai" in over:
        group.peer("openai with its client made", over["openai, client"], "ms", ours=with_client)
    return group


def _there(name: str) -> bool:
    distribution = _NEEDS.get(name.partition(",")[0])
    return distribution is None or installed(distribution) is not None


def _missing(name: str) -> str:
    return f"{_NEEDS[name]} is not installed"


def _cpu(code: str) -> float:
    return run(["-c", code]).cpu


def _memory(group: Group) -> None:
    peaks = {
        name: report_of(_SCRIPTS[name])["peak_kb"] for name in ("bare", "gleitzeit", "openai") if _there(name)
    }
    if None in peaks.values():
        group.absent("import gleitzeit: peak RSS", "needs /proc/self/status", "MB", limit=14)
        return
    ours = peaks["gleitzeit"] / 1024
    bare = f"the bare interpreter: {peaks['bare'] / 1024:.1f} MB"
    group.add("import gleitzeit: peak RSS", ours, "MB", limit=14, note=bare)
    if "openai" in peaks:
        group.peer("import openai", peaks["openai"] / 1024, "MB", ours=ours)


def _forbidden(group: Group) -> None:
    """Count what must not be imported; what the interpreter itself brings does not count."""
    new = json.loads(run(["-c", _NEW_MODULES]).out)
    if "gleitzeit" not in new:
        raise BenchError("gleitzeit was imported before it was imported")
    found = sorted({name.partition(".")[0] for name in new} & set(FORBIDDEN))
    note = f"imported: {', '.join(found)}" if found else f"none of {', '.join(FORBIDDEN)}"
    group.add("import gleitzeit: forbidden modules imported", len(found), "", limit=0, note=note)
