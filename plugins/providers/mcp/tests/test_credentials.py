"""Credentials per principal: looked at again, and never mixed with the entry's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig, credentials
from gleitzeit_plugin_mcp.endpoint import endpoint

from gleitzeit.errors import AuthenticationError
from gleitzeit.values import Request, ToolCall

Start = Callable[..., Any]
REFERENCE = "secret://file/keys/{principal}"


def theirs(config: McpConfig, **env: str) -> McpConfig:
    """What a host gives for a principal: the entry with the secrets put in."""
    assert config.per_principal is not None
    return config.model_copy(update={"per_principal": config.per_principal.model_copy(update={"env": env})})


def asked(principal: str) -> Request:
    return ToolCall({}).to("environment", principal=principal)


async def test_secrets_that_change_without_a_refusal_are_seen_in_time(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"env": {"TOKEN": "canary-own"}, "per_principal": {"env": {"TOKEN": REFERENCE}}}
    async with start(**given) as provider:
        people = provider.context.people
        people["alice"] = theirs(provider.config, TOKEN="canary-1")

        async def told() -> dict[str, Any]:
            found: dict[str, Any] = (await provider.reply(asked("alice"))).data["env"]
            return found

        assert (await told())["TOKEN"] == "canary-1"
        people["alice"] = theirs(provider.config, TOKEN="canary-2")
        assert (await told())["TOKEN"] == "canary-1"  # it is too early to look again
        monkeypatch.setattr(credentials, "LOOK", 0.0)
        assert (await told())["TOKEN"] == "canary-2"
        pid = [each.supervisor.connection.wire.diagnostics()["pid"] for each in provider._pool.members]
        assert (await told())["TOKEN"] == "canary-2"
        assert pid == [
            each.supervisor.connection.wire.diagnostics()["pid"] for each in provider._pool.members
        ]
        del people["alice"]
        with pytest.raises(AuthenticationError, match="'alice'"):
            await provider.reply(asked("alice"))


@pytest.mark.parametrize(
    "own, personal, sent",
    [
        # What is the principal's goes in place of what is the entry's, whatever the case of its name.
        ({"auth": "own"}, {"auth": "hers"}, {"Authorization": "Bearer hers"}),
        ({"headers": {"authorization": "own"}}, {"auth": "hers"}, {"Authorization": "Bearer hers"}),
        ({"auth": "own"}, {"headers": {"authorization": "hers"}}, {"authorization": "hers"}),
        (
            {"headers": {"X-Key": "own", "x-Team": "t"}},
            {"headers": {"x-key": "hers"}},
            {"x-Team": "t", "x-key": "hers"},
        ),
        ({"auth": "own"}, {"headers": {"x-key": "hers"}}, {"Authorization": "Bearer own", "x-key": "hers"}),
    ],
)
def test_nothing_of_the_entrys_own_is_left_beside_what_is_the_principals(
    own: dict[str, Any], personal: dict[str, Any], sent: dict[str, str]
) -> None:
    def table(given: dict[str, Any]) -> dict[str, Any]:
        if "auth" not in given:
            return given
        return {**given, "auth": {"type": "bearer", "token": given["auth"]}}

    fields: dict[str, Any] = {**table(own), "per_principal": table(personal)}
    config = McpConfig(url="http://127.0.0.1:1", **fields)
    found = endpoint("x", config, "alice")
    assert dict(found.headers) == sent
    assert "hers" in found.options["secrets"]
    assert "hers" not in repr(found)
    assert "hers" not in str(endpoint("x", config).headers)
