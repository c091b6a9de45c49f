"""Says where and with what was measured: numbers without that mean nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

SHOWN = (
    "gleitzeit",
    "gleitzeit-plugin-openai",
    "gleitzeit-plugin-http-fast",
    "gleitzeit-plugin-balance",
    "gleitzeit-plugin-mcp",
    "attrs",
    "pluggy",
    "msgspec",
    "pydantic",
    "httpx2",
    "openai",
    "mcp",
)


def describe() -> dict[str, Any]:
    """The machine in words, how busy it is, and the versions of what takes part."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    cores = os.cpu_count() or 1
    return {
        "machine": f"{cores}-core {platform.system()} machine, Python {platform.python_version()}",
        "load": load,
        "busy": load is not None and load > cores / 2,
        "versions": {name: found for name in SHOWN if (found := installed(name)) is not None},
    }


def installed(distribution: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def memory(field: str) -> int | None:
    """A size of this process in KB, as `VmRSS` or `VmHWM` (the peak); None where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(field))
    except (OSError, StopIteration):
        return None


def heading(here: dict[str, Any]) -> str:
    """The same as text."""
    lines = [here["machine"]]
    versions = [f"{name} {number}" for name, number in here["versions"].items()]
    line = "  " + versions.pop(0) if versions else ""
    for word in versions:
        if len(line) + len(word) + 2 > 100:
            lines.append(line + ",")
            line = "  " + word
        else:
            line += ", " + word
    lines.append(line)
    if here["busy"]:
        lines.append(f"  the machine is busy (load {here['load']:.1f}): ratios are firmer than times")
    return "\n".join(lines)
