"""What a server may ask back: sampling where the operator allows it, nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from gleitzeit.errors import PermissionDeniedError
from gleitzeit.values import Chat, Message, Reply, ToolCall

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]

eras = pytest.mark.parametrize("era", ["legacy", "modern"])


@eras
async def test_sampling_goes_to_the_hosts_models_where_it_may(start: Start, era: str) -> None:
    reply = Reply("four", model="m-1", finish_reason="stop")
    async with start({"era": era}, replies=(reply,), sampling_model="small/model") as provider:
        assert (await provider.reply(ToolCall({"prompt": "2+2?"}).to("ask"))).text == "four"
    [asked] = provider.context.asked
    assert asked.target == "small/model"
    assert asked.operation == Chat([Message.system("be brief"), Message.user("2+2?")], max_tokens=7)


async def test_an_old_server_that_may_not_ask_is_told_so(start: Start, heard: Heard) -> None:
    async with start({"era": "legacy"}) as provider:
        reply = await provider.reply(ToolCall({"prompt": "2+2?"}).to("ask"))
    assert "not supported" in reply.text
    assert heard("initialize")[0]["params"]["capabilities"] == {}


async def test_a_modern_server_that_may_not_ask_is_refused(start: Start, heard: Heard) -> None:
    async with start({"era": "modern"}) as provider:
        with pytest.raises(PermissionDeniedError, match="may_ask = true"):
            await provider.reply(ToolCall({"prompt": "2+2?"}).to("ask"))
        assert (await provider.reply(ToolCall({"text": "hi"}).to("echo"))).text == "hi"
    key = "io.modelcontextprotocol/clientCapabilities"
    assert heard("tools/call")[0]["params"]["_meta"][key] == {}


@eras
async def test_permission_is_declared_only_where_it_was_given(start: Start, heard: Heard, era: str) -> None:
    async with start({"era": era}, replies=(Reply("x"),)) as provider:
        await provider.reply(ToolCall({}).to("echo"))
    if era == "legacy":
        assert heard("initialize")[0]["params"]["capabilities"] == {"sampling": {}}
    else:
        key = "io.modelcontextprotocol/clientCapabilities"
        assert heard("tools/call")[0]["params"]["_meta"][key] == {"sampling": {}}


async def test_a_refusal_of_the_host_tells_the_server_no_more_than_its_kind(start: Start) -> None:
    async with start({"era": "legacy"}, replies=(Reply("only one"),)) as provider:
        await provider.reply(ToolCall({"prompt": "a"}).to("ask"))
        said = (await provider.reply(ToolCall({"prompt": "b"}).to("ask"))).text
    assert said == "sampling failed: permission"
