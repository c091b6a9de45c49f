"""What the server wants back goes back byte for byte, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_anthropic import Anthropic, mark

from gleitzeit.errors import InvalidRequestError
from gleitzeit.host import Host
from gleitzeit.testing.anthropic_server import Answer, AnthropicServer
from gleitzeit.testing.openai_server import OpenAIServer
from gleitzeit.values import (
    Chat,
    ImagePart,
    Message,
    ProviderState,
    Reply,
    Stream,
    TextPart,
    ThinkingPart,
    Tool,
    ToolResultPart,
)
from gleitzeit.wire import codec

KEY = "sk-ant-canary-0123456789abcdef"
BLOCKS: tuple[dict[str, Any], ...] = (
    {"type": "thinking", "thinking": "", "signature": "EqQB+/=="},
    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "\u2028ä"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "compaction", "content": "before"},
    {"type": "text", "text": "cited", "citations": [{"type": "char_location", "start_char_index": 0}]},
)
CALL = {"name": "git__log", "input": {"b": 1, "a": 1.50}, "caller": {"type": "direct"}}


async def ask(provider: Anthropic, chat: Chat, *, stream: bool) -> Reply:
    answer = await provider.call(chat.to("scripted-echo", stream=stream))
    return await answer.collect() if isinstance(answer, Stream) else answer


@pytest.mark.parametrize("stream", [False, True])
async def test_everything_comes_back_through_storage(
    server: AnthropicServer, provider: Anthropic, stream: bool
) -> None:
    server.answers.append(Answer("hi", thinking="hm, well", blocks=BLOCKS, calls=(CALL,)))
    reply = await ask(provider, Chat("x"), stream=stream)
    stored = codec.loads(Message, codec.dumps(reply.message))
    assert stored == reply.message
    results = Message.tool(*(ToolResultPart(call.id, parts="ok") for call in reply.tool_calls))
    await ask(provider, Chat([Message.user("x"), stored, results]), stream=stream)
    sent = server.requests[1].json["messages"][1]["content"]
    thinking = {"type": "thinking", "thinking": "hm, well", "signature": "sig+/1=="}
    call = {"type": "tool_use", "id": "toolu_1_0", **CALL}
    assert sent == [thinking, *BLOCKS, {"type": "text", "text": "hi"}, call]
    assert b'{"b": 1, "a": 1.5}' in server.requests[1].body


async def test_a_paused_turn_goes_back_unchanged_with_its_container(
    server: AnthropicServer, provider: Anthropic
) -> None:
    told = {"container": {"id": "cont_1", "expires_at": "2999-01-01T00:00:00Z"}}
    server.answers.append(Answer(blocks=BLOCKS[2:3], stop_reason="pause_turn", told=told))
    reply = await ask(provider, Chat("x"), stream=True)
    assert (reply.finish_reason, reply.raw_finish_reason) == ("paused", "pause_turn")
    await ask(provider, Chat([Message.user("x"), reply.message]), stream=False)
    body = server.requests[1].json
    assert body["messages"][-1] == {"role": "assistant", "content": [BLOCKS[2]]}
    assert body["container"] == "cont_1"


def test_containers_end_and_can_be_chosen(written: Callable[..., Any]) -> None:
    def said(expires: Any) -> Message:
        data = json.dumps({"container": {"id": "c", "expires_at": expires}})
        return Message.assistant(
            ["hi", ThinkingPart("", provider_state=ProviderState("anthropic", data=data))]
        )

    def container(expires: Any, options: Any = None) -> Any:
        turns = [Message.user("x"), said(expires), Message.user("y")]
        return written(Chat(turns, options={"anthropic": options or {}})).get("container")

    assert container("2999-01-01T00:00:00Z") == container("?") == "c"
    assert container("2001-01-01T00:00:00Z") is None
    assert container("?", {"container": "mine"}) == "mine"
    assert container("?", {"container": {"skills": []}}) == {"id": "c", "skills": []}


def test_state_of_others_is_dropped_alone(written: Callable[..., Any]) -> None:
    theirs = ProviderState("openai:x:m", data='{"reasoning": "secret"}')
    turns = [
        Message.user("x"),
        Message.assistant(
            [ThinkingPart("secret", provider_state=theirs), TextPart("said", provider_state=theirs)]
        ),
        Message.user(ImagePart(url="https://e.org/a", provider_state=theirs)),
    ]
    body = written(Chat(turns))
    assert body["messages"][1]["content"] == [{"type": "text", "text": "said"}]
    assert "secret" not in json.dumps(body)


def test_state_of_one_server_is_not_sent_to_another(written: Callable[..., Any]) -> None:
    data = json.dumps({"type": "thinking", "thinking": "t", "signature": "s"})
    turns = [Message.user("x"), None, Message.user("y")]

    def roles(owner: str, **config: Any) -> list[str]:
        turns[1] = Message.assistant(ThinkingPart("t", provider_state=ProviderState(owner, data=data)))
        return [turn["role"] for turn in written(Chat(turns), **config)["messages"]]  # type: ignore[arg-type]

    assert roles("anthropic") == ["user", "assistant", "user"]
    assert roles("anthropic:other.example") == ["user"]
    assert roles("anthropic", base_url="http://127.0.0.1:1") == ["user"]
    assert roles("anthropic:127.0.0.1:1", base_url="http://127.0.0.1:1") == ["user", "assistant", "user"]
    assert roles("anthropic:127.0.0.1:2", base_url="http://127.0.0.1:1") == ["user"]


def test_marks_and_state_live_together(written: Callable[..., Any]) -> None:
    cited = TextPart("x", provider_state=ProviderState("anthropic", data='{"citations":[{"a":1}]}'))
    marked = mark(cited, cache_control={"type": "ephemeral"})
    body = written(Chat([Message.user("q"), Message.assistant(marked), Message.user("y")]))
    block = body["messages"][1]["content"][0]
    assert (block["citations"], block["cache_control"]) == ([{"a": 1}], {"type": "ephemeral"})
    foreign = mark(TextPart("x", provider_state=ProviderState("openai:m", data="?")), cache_control=1)
    assert foreign.provider_state is not None
    assert foreign.provider_state.owner == "anthropic:mark"


@pytest.mark.parametrize("data", ["?", "[]", '{"type": "tool_use"}'])
def test_state_that_was_tampered_with_is_refused(written: Callable[..., Any], data: str) -> None:
    part = TextPart("x", provider_state=ProviderState("anthropic", data=data))
    with pytest.raises(InvalidRequestError, match="provider_state"):
        written(Chat(Message.user(part)))


@pytest.mark.feature("S004-08")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_with_parallel_tools_moves_to_another_vendor_and_back(stream: bool) -> None:
    async def said(host: Host, chat: Chat, target: str) -> Reply:
        if not stream:
            return await host.call(chat.to(target))
        async with host.stream(chat.to(target)) as events:
            return await events.collect()

    weather = Tool("weather", description="d", input_schema={"type": "object"})
    calls = tuple({"name": "weather", "input": {"city": city}} for city in ("Zürich", "Oslo"))
    async with AnthropicServer(api_key=KEY) as claude, OpenAIServer(api_key=KEY) as gpt:
        claude.answers.append(Answer(thinking="hm", calls=calls))
        claude.answers.append(Answer("It is {result}.", thinking="so"))
        providers = {
            "claude": {"plugin": "anthropic", "base_url": claude.url, "api_key": KEY},
            "gpt": {"plugin": "openai", "base_url": gpt.url, "api_key": KEY},
        }
        async with Host({"providers": providers}) as host:
            turns = [
                Message.system("be brief"),
                Message.user(["where?", ImagePart(url="https://e.org/a.png")]),
            ]
            chat = Chat(turns, tools=[weather])
            first = await said(host, chat, "claude/scripted-echo")
            assert [call.arguments for call in first.tool_calls] == [{"city": "Zürich"}, {"city": "Oslo"}]
            results = Message.tool(
                *(ToolResultPart(call.id, parts=f"fine{n}") for n, call in enumerate(first.tool_calls))
            )
            turns += [first.message, results]
            second = await said(host, Chat(turns, tools=[weather]), "claude/scripted-echo")
            assert (second.text, second.thinking, second.finish_reason) == (
                "It is fine0; fine1.",
                "so",
                "stop",
            )
            turns += [second.message, Message.user("thanks")]
            third = await said(host, Chat(turns), "gpt/scripted-echo")
            assert "sig" not in gpt.requests[0].body.decode()
            turns += [third.message, Message.user("bye")]
            last = await said(host, Chat(turns), "claude/scripted-echo")
            assert last.text.endswith("You said: bye")
            kinds = [b["type"] for turn in claude.requests[-1].json["messages"] for b in turn["content"]]
            assert kinds.count("thinking") == 2
