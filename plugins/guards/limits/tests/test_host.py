"""The guard in a host: what it denies is not asked, and a fallback is judged by itself."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from gleitzeit_plugin_guard_limits import Limits
from pydantic import BaseModel

from gleitzeit import Chat, Host, Model, Provider, Reply, Request, Tool, ToolCall
from gleitzeit.errors import OverloadedError, SecurityDeniedError

CALLS: list[str] = []


class ToyConfig(BaseModel):
    down: bool = False


class Toy(Provider):
    Config: ClassVar = ToyConfig

    def provide_models(self) -> Any:
        return [Model("m")]

    def provide_tools(self) -> Any:
        return [Tool("add", input_schema={"type": "object", "required": ["a"]})]

    async def call(self, request: Request) -> Reply:
        if self.config.down:
            raise OverloadedError("down")
        CALLS.append(self.context.name)
        return Reply("done", finish_reason="stop")


def host(limits: dict[str, Any], down: bool = False) -> Host:
    CALLS.clear()
    return Host(
        {
            "providers": {
                "far": {"plugin": "toy"},
                "near": {"plugin": "toy", "local": True, "down": down},
            },
            "plugins": {"limits": limits},
            "routes": {"main": {"targets": ["far/m", "near/m"]}},
        },
        plugins={"toy": Toy, "limits": Limits},
    )


async def test_a_denied_model_is_not_asked_and_the_error_says_why() -> None:
    async with host({"deny_models": ["far/*"]}) as running:
        with pytest.raises(SecurityDeniedError, match=r"plugins\.limits\.deny_models has 'far/\*'"):
            await running.call(Chat("x").to("far/m"))
        with pytest.raises(SecurityDeniedError):
            await running.stream(Chat("x").to("far/m")).collect()
    assert CALLS == []


async def test_a_private_request_passes_over_the_preferred_remote_target() -> None:
    async with host({}) as running:
        assert (await running.call(Chat("x").to("main"))).text == "done"
        assert (await running.call(Chat("x").to("main", data_class="private"))).text == "done"
    assert CALLS == ["far", "near"]


async def test_a_private_request_fails_rather_than_leave_this_machine() -> None:
    async with host({}, down=True) as running:
        with pytest.raises(OverloadedError):
            await running.call(Chat("x").to("main", data_class="private"))
    assert CALLS == []


async def test_tool_arguments_are_checked_against_the_schema_of_the_catalogue() -> None:
    async with host({}) as running:
        with pytest.raises(SecurityDeniedError, match=r"required \(missing 'a'\)"):
            await running.call(ToolCall({}).to("far/add"))
        assert CALLS == []
        await running.call(ToolCall({"a": 1}).to("far/add"))
    assert CALLS == ["far"]


async def test_a_guard_with_a_wrong_configuration_denies_every_call() -> None:
    async with host({"max_byte": 1}) as running:
        with pytest.raises(SecurityDeniedError, match="limits"):
            await running.call(Chat("x").to("near/m"))
    assert CALLS == []
