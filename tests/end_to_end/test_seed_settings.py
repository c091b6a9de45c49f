"""What a configuration decides: accounts, preference, absence, limits, and what goes over a file."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gleitzeit import Chat, Host
from gleitzeit.errors import CannotConnectError, ConfigError, DeadlineError, PluginError, UnknownModelError
from gleitzeit.testing.openai_server import Answer, OpenAIServer, Rule, Script
from tests.docs.pages import ROOT, blocks
from tests.end_to_end.conftest import Place
from tests.end_to_end.dialects.words import KEY, SENTENCE
from tests.end_to_end.voices import VOICES

SCRIPT = Script({"m": (Rule(Answer("{model} says {user}")),), "n": (Rule(Answer("{model} says {user}")),)})


def account(server: OpenAIServer, **more: Any) -> dict[str, Any]:
    """An account of the vendor that `server` plays."""
    return {"plugin": "openai", "base_url": server.url, "api_key": "sk-x", **more}


@pytest.mark.feature("S004-13")
async def test_accounts_of_one_vendor_and_of_others_are_used_by_id_with_their_default_models() -> None:
    others = ("claude", "gemini", "ollama", "azure", "router")
    async with OpenAIServer(SCRIPT) as vendor, AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(VOICES[name].server()) for name in others}
        providers = {name: VOICES[name].configure(server.url) for name, server in servers.items()}
        providers["work"] = account(vendor, api_key="sk-work")
        providers["home"] = account(vendor, api_key="sk-home")
        defaults = {name: f"{name}/m-1" for name in others} | {"work": "work/m", "home": "home/n"}
        async with Host({"providers": providers, "aliases": defaults}, environ={}) as host:
            assert (await host.call(Chat("hi").to("work"))).text == "m says hi"
            assert (await host.call(Chat("hi").to("home"))).text == "n says hi"
            assert (await host.call(Chat("hi").to("work/n"))).text == "n says hi"
            for name in others:
                servers[name].answers.append(VOICES[name].answer(VOICES[name].dialect.sentence(), False))
                reply = await host.call(Chat("hi").to(name))
                assert (reply.text, str(reply.target)) == (SENTENCE, f"{name}/m-1")
        keys = [call.headers["authorization"] for call in vendor.requests]
    assert keys == ["Bearer sk-work", "Bearer sk-home", "Bearer sk-work"]


def pair(first: OpenAIServer, second: OpenAIServer, **priorities: int) -> dict[str, Any]:
    """Accounts `a` and `b` and a model of our own, with routes that ask the lowest number first."""
    numbers = {"a/m": priorities["a"], "b/m": priorities["b"], "own/hello": 9}
    route = {"strategy": "priority", "options": {"priorities": numbers}}
    return {
        "host": {"retry": {"max_retries": 0}},
        "providers": {"a": account(first), "b": account(second), "own": {"plugin": "scripted"}},
        "routes": {
            "openai": {"targets": ["a/m", "b/m"], **route},
            "any": {"targets": ["own/hello", "a/m", "b/m"], **route},
        },
    }


async def chosen(host: Host, name: str) -> str:
    """Who answers a call to a route."""
    return str((await host.call(Chat("hi").to(name))).target)


@pytest.mark.feature("S004-14")
async def test_the_best_that_is_there_answers_of_one_vendor_or_of_any() -> None:
    async with AsyncExitStack() as one, AsyncExitStack() as two:
        first = await one.enter_async_context(OpenAIServer(SCRIPT))
        second = await two.enter_async_context(OpenAIServer(SCRIPT))
        async with Host(pair(first, second, a=1, b=2), environ={}) as host:
            assert [await chosen(host, name) for name in ("openai", "any")] == ["a/m", "a/m"]
            await one.aclose()
            assert [await chosen(host, name) for name in ("openai", "any")] == ["b/m", "b/m"]
            await two.aclose()
            assert await chosen(host, "any") == "own/hello"
            with pytest.raises(CannotConnectError):
                await chosen(host, "openai")
            with pytest.raises(UnknownModelError):
                await chosen(host, "gemini")


@pytest.mark.feature("S004-15")
async def test_priority_switch_and_time_limit_are_the_configurations() -> None:
    async with OpenAIServer(SCRIPT) as first, OpenAIServer(SCRIPT) as second:
        for priorities, best in (({"a": 1, "b": 2}, "a/m"), ({"a": 2, "b": 1}, "b/m")):
            async with Host(pair(first, second, **priorities), environ={}) as host:
                assert await chosen(host, "openai") == best
        settings = pair(first, second, a=2, b=1)
        async with Host(settings, overrides={"providers.b.enabled": False}, environ={}) as host:
            assert await chosen(host, "openai") == "a/m"
            assert "b" not in {offer.instance for offer in await host.offers("models")}
            with pytest.raises(PluginError, match="disabled"):
                await host.call(Chat("hi").to("b/m"))
        async with Host(settings, overrides={"providers.a.timeouts.attempt": 0.05}, environ={}) as host:
            for server in (first, second):
                server.answers.append(Answer("never", fault="stall"))
            unlimited = asyncio.create_task(host.call(Chat("hi").to("b/m")))
            await second.request(len(second.requests))
            with pytest.raises(DeadlineError):
                await host.call(Chat("hi").to("a/m"))
            assert not unlimited.done()
            unlimited.cancel()
            await asyncio.wait({unlimited})


FILE = """
[providers.lab]
plugin = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "sk-of-the-file"
timeouts.attempt = 600
retry.max_retries = 0
"""


@pytest.mark.feature("S001-26")
@pytest.mark.parametrize("how", ["variables", ".env"])
async def test_variables_go_over_the_file_for_address_key_and_limit(how: str, place: Place) -> None:
    place.write("gleitzeit.toml", FILE)
    words = ["-m", "gleitzeit.cli", "chat", "-m", "lab/m", "--no-stream", "hi"]

    async def run(**variables: str) -> tuple[int, str, str]:
        if how == "variables":
            ended = await asyncio.to_thread(place.run, *words[2:], config=FILE, **variables)
            return ended.code, ended.out, ended.err
        place.write(".env", "".join(f"{name}={value}\n" for name, value in variables.items()))
        load = ["sh", "-c", 'set -a; . ./.env; exec "$0" "$@"', sys.executable, *words]
        env = {**os.environ, "HOME": str(place.folder)}
        process = await asyncio.create_subprocess_exec(
            *load, cwd=place.folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async with OpenAIServer(SCRIPT, api_key="sk-of-the-variable") as server:
        over = {
            "GLEITZEIT__PROVIDERS__LAB__BASE_URL": server.url,
            "GLEITZEIT__PROVIDERS__LAB__API_KEY": "sk-of-the-variable",
        }
        code, out, _ = await run(**over)
        assert (code, out) == (0, "m says hi\n")
        assert server.requests[-1].headers["authorization"] == "Bearer sk-of-the-variable"
        server.answers.append(Answer("never", fault="stall"))
        code, _, err = await run(**over, GLEITZEIT__PROVIDERS__LAB__TIMEOUTS__ATTEMPT="0.5")
        assert code == DeadlineError.exit_code, err
        assert "sk-of" not in err


EXAMPLES = (
    ("anthropic", "claude", "claude"),
    ("gemini", "gemini", "gemini"),
    ("gemini", "vertex", "vertex"),
    ("ollama", "ollama", "ollama"),
    ("ollama", "rack", "ollama"),
    ("ollama", "cloud", "ollama"),
    ("openai", "openai", "chat"),
    ("openai", "local", "chat"),
    ("openai", "azure", "azure"),
    ("huggingface", "hub", "router"),
)


def example(package: str, instance: str, plugin: str) -> dict[str, Any]:
    """The instance as the README of its package writes it."""
    for block in blocks(ROOT / f"plugins/providers/{package}/README.md"):
        if block.language == "toml":
            found: dict[str, Any] = tomllib.loads(block.text).get("providers", {}).get(instance, {})
            if found and found.get("plugin", instance) == plugin:
                return found
    raise AssertionError(f"no [providers.{instance}] of {plugin}")


@pytest.mark.feature("S002-15")
@pytest.mark.parametrize("package, instance, voice", EXAMPLES)
async def test_every_example_loads_as_json_and_reaches_a_model(
    package: str, instance: str, voice: str, place: Place
) -> None:
    entry = example(package, instance, VOICES[voice].plugin)
    row = {"name": "m-1", "operations": ["chat"], "capabilities": ["vision"], "context_tokens": 9000}
    async with VOICES[voice].server() as server:
        for key in ("resource", "access_token", "pull"):  # an address, a key, and what needs neither
            entry.pop(key, None)
        entry |= {"base_url": server.url, "api_key": KEY, "models": [row]}
        file = place.write("models.json", json.dumps({"providers": {instance: entry}}))
        server.answers.append(VOICES[voice].answer(VOICES[voice].dialect.sentence(), False))
        async with Host(file, environ={}) as host:
            reply = await host.call(Chat("hi").to(f"{instance}/m-1"))
    assert reply.text == SENTENCE
    assert reply.target is not None
    assert reply.target.model is not None
    assert set(reply.target.model.capabilities) == {"vision"}
    assert reply.target.model.context_tokens == 9000


@pytest.mark.feature("S002-15")
@pytest.mark.parametrize(
    "entry, field",
    [
        ({"models": [{"name": "m", "capabilities": 3}]}, "capabilities"),
        ({"models": [{"capabilities": ["vision"]}]}, "name"),
        ({"timeouts": {"attempt": "soon"}}, "timeouts.attempt"),
        ({"enabled": "perhaps"}, "enabled"),
    ],
)
def test_a_bad_entry_of_a_json_file_names_its_field(entry: dict[str, Any], field: str, place: Place) -> None:
    file = place.write("models.json", json.dumps({"providers": {"lab": {"plugin": "openai", **entry}}}))
    with pytest.raises(ConfigError, match=field) as caught:
        Host(file, environ={})
    assert "models.json" in str(caught.value)
