"""A vendor's key that lies in the environment goes to that vendor, in its header, and is told nobody."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from gleitzeit.testing.anthropic_server import AnthropicServer
from gleitzeit.testing.faulty import Answer, FaultyServer
from gleitzeit.testing.gemini_server import GeminiServer
from gleitzeit.testing.loopback import Call
from gleitzeit.testing.openai_server import OpenAIServer

OPENAI, ANTHROPIC, GOOGLE = "sk-proj-canary-0001", "sk-ant-canary-0002", "AIza-canary-0003"
HUB = "hf_canary0000000000005"
#: Vendor: target, header of the key, and what stands in it.
HEADERS = {
    "openai": ("openai/gpt-5", "authorization", f"Bearer {OPENAI}"),
    "anthropic": ("anthropic/claude-x", "x-api-key", ANTHROPIC),
    "gemini": ("gemini/gemini-x", "x-goog-api-key", GOOGLE),
    "huggingface-router": ("huggingface-router/org/m", "authorization", f"Bearer {HUB}"),
}
HOSTS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "googleapis",
    "huggingface-router": "router.huggingface",
}
VARIABLES = {
    "OPENAI_API_KEY": OPENAI,
    "ANTHROPIC_API_KEY": ANTHROPIC,
    "GOOGLE_API_KEY": GOOGLE,
    "HF_TOKEN": HUB,
}
SERVERS: dict[str, type[FaultyServer[Any]]] = {
    "openai": OpenAIServer,
    "anthropic": AnthropicServer,
    "gemini": GeminiServer,
    "huggingface-router": OpenAIServer,
}

#: An application that has nothing but variables. Its wire leads from the vendors' hosts to servers on this
#: machine, and it logs all that anybody says.
CLIENT = """
import asyncio, json, logging, sys

import httpx2

from gleitzeit import Chat, Host
from gleitzeit.errors import GleitzeitError
from gleitzeit.wire.client import make_client

PORTS, TARGETS = json.loads(sys.argv[1]), sys.argv[2:]
logging.basicConfig(level=logging.DEBUG)


class Wire(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        vendor = next((name for name in PORTS if name in request.url.host), "")
        if not vendor:
            raise httpx2.ConnectError("nobody is there", request=request)
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=PORTS[vendor])
        return await super().handle_async_request(request)


class Detour:
    def __init__(self, config, context):
        pass

    def transport(self, http):
        return Wire()


async def main():
    async with Host(plugins={"detour": Detour}) as host:
        for target in TARGETS:
            for stream in (False, True):
                try:
                    print(await host.stream(Chat("hi").to(target)).collect() if stream
                          else await host.call(Chat("hi").to(target)))
                except GleitzeitError as error:
                    print(repr(error), error, error.to_dict())
        print(await host.health(deep=True), await host.offers("models"), host.config, host.config.show())
        print(host, host.snapshot())


asyncio.run(main())
"""


async def run(
    variables: dict[str, str], targets: list[str], servers: dict[str, FaultyServer[Any]]
) -> subprocess.CompletedProcess[str]:
    """The application in a process of its own, with these variables."""
    ports = {HOSTS[name]: urlsplit(server.url).port for name, server in servers.items()}
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CLIENT, json.dumps(ports), *targets],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "DEBUG" in done.stderr
    return done


def quoting(call: Call) -> Answer:
    """A vendor that quotes the key which it does not like."""
    given = " ".join(call.headers.get(header, "") for _, header, _ in HEADERS.values())
    return Answer(
        status=401, body={"error": {"message": f"invalid: {given}", "type": "authentication_error"}}
    )


@pytest.mark.feature("S004-17")
@pytest.mark.parametrize("refused", [False, True], ids=["answered", "refused"])
async def test_keys_of_the_environment_are_in_their_headers_and_in_no_log(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(make()) for name, make in SERVERS.items()}
        for server in servers.values() if refused else ():
            monkeypatch.setattr(server, "refuse", quoting)
        done = await run(VARIABLES, [target for target, _, _ in HEADERS.values()], servers)
    for name, server in servers.items():
        _, header, value = HEADERS[name]
        assert len(server.requests) >= 2
        for call in server.requests:
            assert call.headers.get(header) == value
            others = [key for key in VARIABLES.values() if key not in value]
            assert not any(key in f"{call.headers} {call.query} {call.body!r}" for key in others)
            assert value not in call.query
    for key in VARIABLES.values():
        assert key not in done.stdout
        assert key not in done.stderr
    assert ("AuthenticationError" in done.stdout) is refused


async def test_of_two_variables_the_first_that_is_set_counts() -> None:
    variables = {"GOOGLE_API_KEY": "AIza-another-0004", "GEMINI_API_KEY": GOOGLE}
    async with GeminiServer() as server:
        await run(variables, ["gemini/gemini-x"], {"gemini": server})
    assert {call.headers.get("x-goog-api-key") for call in server.requests} == {GOOGLE}
