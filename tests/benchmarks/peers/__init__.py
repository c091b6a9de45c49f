"""The clients that are compared: each makes the same call and reads the same stream in its own way.

A further peer is a module here with one class, its entry in `PEERS`, and where its packages do not
go together with ours, a file of pinned versions in `tests/benchmarks/environments`. Nothing here
imports a client's packages: the workers of foreign peers run where gleitzeit is not installed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks.machine import installed

__all__ = ["MODEL", "PEERS", "PROMPT", "About", "Peer", "chat", "python_in", "python_of"]

ROOT = Path(__file__).resolve().parents[3]
#: Where the session `bench` makes the environments of the foreign peers.
ENVIRONMENTS = ROOT / ".nox" / "bench-peers"
MODEL, PROMPT = "bench", "Say a hundred words."


class Peer(Protocol):
    """A client. Its libraries are imported in `open`, in a process that no other peer shares."""

    async def open(self, url: str) -> None:
        """Be ready for calls to the server at `url`, which ends in `/v1`."""

    async def call(self) -> str:
        """The text of a whole answer."""

    async def stream(self) -> str:
        """The text of a streamed answer, read chunk by chunk."""

    async def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True)
class About:
    """What is known of a peer without importing it.

    `distribution` is whose version is shown, and without which the peer is absent. `environment`
    names a file of pinned versions; None: the environment of the benchmark itself. `imports` is
    the code that an application needs before its first call. `settings` are environment variables.
    """

    title: str
    distribution: str
    place: str
    environment: str | None = None
    imports: str | None = None
    settings: tuple[tuple[str, str], ...] = ()

    def make(self) -> Peer:
        """A peer that is not yet open; to be called in its own environment."""
        module, _, name = self.place.partition(":")
        peer: Peer = getattr(import_module(f"tests.benchmarks.peers.{module}"), name)()
        return peer

    def missing(self) -> str | None:
        """Why it cannot be measured here, None where it can."""
        if self.environment is not None and python_of(self) is None:
            return f"no environment {self.environment}; the session bench makes it, where packages can be had"
        if self.environment is None and installed(self.distribution) is None:
            return f"{self.distribution} is not installed"
        return None


_HOST = """
import asyncio
from gleitzeit import Host

CONFIG = {"providers": {"openai": {"base_url": "http://127.0.0.1:9/v1", "api_key": "none", "eager": True}}}

async def main():
    async with Host(CONFIG, environ={}):
        pass

asyncio.run(main())
"""
_LITELLM: Any = {
    "distribution": "litellm",
    "environment": "litellm",
    # No list of prices from the network, no .env file.
    "settings": (("LITELLM_LOCAL_MODEL_COST_MAP", "True"), ("LITELLM_MODE", "PRODUCTION")),
}

PEERS: dict[str, About] = {
    "gleitzeit": About("gleitzeit", "gleitzeit-plugin-openai", "ours:Gleitzeit", imports=_HOST),
    "gleitzeit-fast": About("gleitzeit on http-fast", "gleitzeit-plugin-http-fast", "ours:Fast"),
    "floor": About("floor: asyncio, httptools", "httptools", "floor:Floor", "floor"),
    "httpx2": About("bare httpx2", "httpx2", "bare:Bare", imports="import httpx2"),
    "openai": About("openai SDK", "openai", "openai_sdk:OpenAISDK", imports="import openai"),
    "any-llm": About(
        "any-llm", "any-llm-sdk", "any_llm:AnyLLM", "any-llm", imports="from any_llm import AnyLLM"
    ),
    "litellm": About("litellm", place="litellm:Litellm", imports="import litellm", **_LITELLM),
    "litellm-router": About("litellm Router", place="litellm:Router", **_LITELLM),
}


def python_of(peer: About) -> str | None:
    """The interpreter that has the packages of a peer, None where there is none."""
    return sys.executable if peer.environment is None else python_in(peer.environment)


def python_in(environment: str) -> str | None:
    """The interpreter of an environment that the session `bench` makes, None where it is not there."""
    for where in ("bin/python", "Scripts/python.exe"):
        path = ENVIRONMENTS / environment / where
        if path.exists():
            return str(path)
    return None


def chat(**more: Any) -> dict[str, Any]:
    """The body of the request that every peer sends."""
    return {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], **more}
