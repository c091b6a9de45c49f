"""Entries of `[servers.NAME]` and of other programs."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig, McpProvider
from gleitzeit_plugin_mcp.endpoint import BASE, endpoint
from pydantic import ValidationError

from gleitzeit.errors import ProcessDiedError
from gleitzeit.manifest import Manifest
from gleitzeit.testing import FakeContext
from gleitzeit.values import ToolCall

Start = Callable[..., Any]


def make(**entry: Any) -> McpConfig:
    return McpConfig(**entry)


@pytest.mark.parametrize(
    "entry,wire",
    [
        ({"command": "npx", "args": ["-y", "x"], "env": {"A": "1"}}, "stdio"),
        ({"type": "stdio", "command": "x"}, "stdio"),
        ({"url": "https://example.org/mcp"}, "http"),
        ({"type": "http", "url": "https://example.org/mcp", "headers": {"X": "1"}}, "http"),
        ({"transportType": "streamable-http", "url": "https://example.org/mcp"}, "http"),
        ({"type": "streamableHttp", "url": "https://example.org/mcp"}, "http"),
        ({"type": "sse", "url": "https://example.org/sse"}, "http"),
        ({"transport": {"type": "stdio", "command": "x", "args": ["a"]}}, "stdio"),
        ({"transport": "grpc", "url": "localhost:1"}, "grpc"),
        ({"url": "grpcs://example.org:443"}, "grpc"),
        ({"url": "unix:/run/server.sock"}, "grpc"),
    ],
)
def test_entries_of_other_programs_are_understood(entry: dict[str, Any], wire: str) -> None:
    assert make(**entry).wire == wire


def test_numbers_become_text_and_a_list_is_a_command_with_arguments() -> None:
    config = make(command=["npx", "-y"], args=["pkg", 8080], env={"PORT": 8080})
    assert config.command == "npx"
    assert config.args == ("-y", "pkg", "8080")
    assert config.env == {"PORT": "8080"}


@pytest.mark.parametrize(
    "entry,says",
    [
        ({}, "either `command`"),
        ({"command": "x", "url": "y"}, "either `command`"),
        ({"command": "x", "envFile": ".env"}, "envFile"),
        ({"command": "x", "sandboxEnabled": True}, "sandbox"),
        ({"command": "x", "sandbox": {"network": {}}}, "sandbox"),
        ({"command": "x", "args": ["${input:key}"]}, "input"),
        ({"command": "x", "timeout": 60000}, "less than or equal to 900"),
        ({"command": "x", "env": {"A": True}}, "string"),
        ({"command": "x", "mode": "future"}, "auto"),
        ({"command": "x", "operations": {"sing": "tool"}}, "operations"),
    ],
)
def test_what_would_change_the_meaning_is_refused(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        make(**entry)


def test_what_means_nothing_is_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    entry = {"command": "x", "autoApprove": ["a"], "comand": "s3cret", "fancy": 1}
    with caplog.at_level(logging.WARNING):
        provider = McpProvider(make(**entry), FakeContext("odd"))
    assert "comand, fancy" in caplog.text
    assert "s3cret" not in caplog.text + repr(provider.config)


def test_a_process_inherits_a_safe_base_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    found = endpoint("x", make(command="x", env={"A": "1", "PATH": "/opt"}))
    assert found.env["HOME"] == "/home/somebody"
    assert found.env["PATH"] == "/opt"
    assert set(found.env) <= {*BASE, "A"}


def test_a_home_directory_in_command_and_cwd_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    found = endpoint("x", make(command="~/bin/x", cwd="~/data", args=["~/kept"]))
    assert found.command == ("/home/somebody/bin/x", "~/kept")
    assert found.cwd == "/home/somebody/data"


def test_what_must_not_be_quoted_is_found() -> None:
    config = make(
        command="x",
        args=["--api-key", "from-flag", "--token=from-equals", "--verbose", "plain"],
        env={"ODD": "hunter2-hunter2", "MODE": "production", "DIR": "/var/lib", "PORT": "8080", "A": "b"},
    )
    assert set(endpoint("x", config).options["secrets"]) == {"from-flag", "from-equals", "hunter2-hunter2"}


@pytest.mark.feature("S000-12")
async def test_a_secret_reaches_its_server_and_nothing_that_is_shown(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with start(env={"SERVICE_API_KEY": "canary-1", "INNOCENT": "canary-2 with 1"}) as provider:
            found = (await provider.reply(ToolCall({}).to("environment"))).data["env"]
            assert found["SERVICE_API_KEY"] == "canary-1"
            assert found["INNOCENT"] == "canary-2 with 1"
            assert set(found) - {"LC_CTYPE"} <= {*BASE, "SERVICE_API_KEY", "INNOCENT"}
            shown = [repr(provider), repr(provider.config), str(await provider.health(deep=True))]
            shown += [str(await provider.provide_tools()), str(provider._partitions.shared._found)]
            with pytest.raises(ProcessDiedError) as caught:
                await provider.reply(ToolCall({}).to("die"))
            error = caught.value
            assert "on fire *** ***" in str(error)
            shown += [str(error), repr(error), str(error.to_dict())]
    assert "canary" not in "\n".join([*shown, caplog.text])


def test_a_process_is_local_only_if_the_operator_says_so() -> None:
    for local in (False, True):
        provider = McpProvider(make(command="x", local=local), FakeContext("x"))
        assert provider.local is local
        assert provider.sandbox == "none"
    assert McpProvider(make(url="http://127.0.0.1:1"), FakeContext("x")).sandbox is None


def test_importing_the_plugin_imports_no_sdk() -> None:
    code = (
        "import sys, gleitzeit_plugin_mcp, gleitzeit_plugin_mcp_stdio\n"
        "heavy = {'mcp', 'mcp_types', 'anyio', 'httpx2'}\n"
        "print(heavy & {name.split('.')[0] for name in sys.modules})"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, text=True).stdout
        == "set()\n"
    )


def test_the_manifest_says_what_the_code_says() -> None:
    data = json.loads(resources.files("gleitzeit_plugin_mcp").joinpath("gleitzeit.json").read_text())
    manifest = Manifest.parse(data)
    assert manifest.config_schema is not None
    assert manifest.config_schema["properties"].keys() == McpConfig.model_json_schema()["properties"].keys()
    offers = {"provide_models", "provide_tools", "provide_resources", "provide_prompts"}
    assert set(manifest.hooks) == {*offers, "call", "health", "lifespan"}


@pytest.mark.parametrize(
    "entry,headers,options",
    [
        ({"auth": {"type": "none"}}, {}, {}),
        ({"auth": {"type": "api_key", "key": "k-12345"}}, {"X-API-Key": "k-12345"}, {}),
        ({"auth": {"type": "api_key", "key": "k-1", "header": "X-Mine"}}, {"X-Mine": "k-1"}, {}),
        ({"auth": {"type": "bearer", "token": "t-12345"}}, {"Authorization": "Bearer t-12345"}, {}),
        (
            {"auth": {"type": "bearer", "token": "t"}, "headers": {"Authorization": "own"}},
            {"Authorization": "own"},
            {},
        ),
        ({"auth": {"type": "oauth", "client_id": "c"}}, {}, {"oauth": {"client_id": "c"}}),
        ({"oauth": {"scopes": ["a"]}}, {}, {"oauth": {"scopes": ["a"]}}),
        ({"verify_ssl": False, "options": {"proxy": "p"}}, {}, {"verify_ssl": False, "proxy": "p"}),
        ({"type": "sse"}, {}, {"mode": "sse"}),
    ],
)
def test_who_we_are_and_how_to_connect_reach_the_transport(
    entry: dict[str, Any], headers: dict[str, str], options: dict[str, Any]
) -> None:
    config = make(url="https://example.org/mcp", **entry)
    found = endpoint("x", config)
    assert found.headers == headers
    assert {key: value for key, value in found.options.items() if key != "secrets"} == options
    shown = repr(config) + repr(found) + str(config)
    for secret in ("k-12345", "t-12345", "client_id"):
        assert secret not in shown
    if "12345" in str(headers):
        assert any("12345" in each for each in found.options["secrets"])


def test_roots_are_directories_or_addresses(tmp_path: Any) -> None:
    config = make(command="x", roots=[str(tmp_path), {"uri": "file:///srv", "name": "data"}])
    assert config.rooted() == [{"uri": tmp_path.as_uri()}, {"uri": "file:///srv", "name": "data"}]
    with pytest.raises(ValidationError, match="root"):
        make(command="x", roots=[{"name": "nowhere"}])
