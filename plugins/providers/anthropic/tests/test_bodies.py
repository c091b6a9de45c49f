"""What is sent: the shape of every field, and what is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_anthropic import mark

from gleitzeit.errors import InvalidRequestError, RequestError, UnsupportedError
from gleitzeit.values import (
    AudioPart,
    Chat,
    FilePart,
    ImagePart,
    Message,
    Model,
    ResponseSchema,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)

Written = Callable[..., Any]
PNG = b"\x89PNG\r\n"
GIT = Tool("git/log", description="shows the log")


def test_a_plain_chat(written: Written) -> None:
    assert written(Chat("hi")) == {
        "model": "claude-x",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "stream": False,
    }


def test_system_turns_go_to_the_top(written: Written) -> None:
    turns = [Message.system("be brief"), Message.user("hi"), Message.system("in French"), Message.user("now")]
    body = written(Chat(turns))
    assert [block["text"] for block in body["system"]] == ["be brief", "in French"]
    assert [block["text"] for block in body["messages"][0]["content"]] == ["hi", "now"]
    assert written(Chat(turns[:2]))["system"] == "be brief"
    kept = written(Chat(turns), system_turns=True)
    assert [turn["role"] for turn in kept["messages"]] == ["user", "system", "user"]
    assert kept["system"] == "be brief"


def test_all_results_of_parallel_calls_begin_one_user_turn(written: Written) -> None:
    calls = [ToolCallPart(f"c{n}", name="git/log", arguments={"n": n}) for n in (1, 2)]
    turns = [
        Message.user("look"),
        Message.assistant(calls),
        Message.tool(ToolResultPart("c1", parts="one")),
        Message.user("and?"),
        Message.tool(ToolResultPart("c2", parts=["two", ImagePart(data=PNG)], is_error=True)),
    ]
    body = written(Chat(turns, tools=[GIT]))
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in body["messages"][2]["content"]] == [
        "tool_result",
        "tool_result",
        "text",
    ]
    first, second, _ = body["messages"][2]["content"]
    assert first == {"type": "tool_result", "tool_use_id": "c1", "content": "one"}
    assert (second["is_error"], [block["type"] for block in second["content"]]) == (True, ["text", "image"])
    assert body["messages"][1]["content"][0] == {
        "type": "tool_use",
        "id": "c1",
        "name": "git__log",
        "input": {"n": 1},
    }
    assert body["tools"] == [
        {"name": "git__log", "description": "shows the log", "input_schema": {"type": "object"}}
    ]


def test_ids_of_other_vendors_are_made_to_fit(written: Written) -> None:
    turns = [
        Message.user("x"),
        Message.assistant(ToolCallPart("call.1/ä", name="f", arguments={})),
        Message.tool(ToolResultPart("call.1/ä", parts="ok")),
    ]
    _, call, result = written(Chat(turns))["messages"]
    assert call["content"][0]["id"] == result["content"][0]["tool_use_id"]
    assert call["content"][0]["id"].startswith("toolu_")


def test_arguments_are_objects_with_the_bytes_that_came(written: Written) -> None:
    def sent(part: ToolCallPart) -> Any:
        return written(Chat([Message.user("x"), Message.assistant(part)]))["messages"][1]["content"][0][
            "input"
        ]

    assert sent(ToolCallPart.parse("a", "f", "")) == {}
    assert sent(ToolCallPart.parse("a", "f", '{"a": 1}')) == {"a": 1}
    assert sent(ToolCallPart.parse("a", "f", '{"a": ')) == {"INVALID_JSON": '{"a": '}
    changed = ToolCallPart("a", name="f", arguments={"a": 2}, raw='{"a": 1}')
    assert sent(changed) == {"a": 2}


def test_blank_texts_and_empty_turns_are_left_out(written: Written) -> None:
    turns = [Message.user(["a", " \n"]), Message.assistant(""), Message.user("b")]
    body = written(Chat(turns))
    assert [block["text"] for block in body["messages"][0]["content"]] == ["a", "b"]
    with pytest.raises(InvalidRequestError, match="at least one message"):
        written(Chat([Message.user(" ")]))


@pytest.mark.parametrize(
    "part, block",
    [
        (
            ImagePart(url="https://e.org/a"),
            {"type": "image", "source": {"type": "url", "url": "https://e.org/a"}},
        ),
        (
            ImagePart(data=PNG),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}},
        ),
        (
            ImagePart(url="data:image/gif;base64,R0lGOA=="),
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lGOA=="}},
        ),
        (
            FilePart(data=b"%PDF", name="a.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                "title": "a.pdf",
            },
        ),
        (
            FilePart(data="ä".encode(), media_type="text/markdown"),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "ä"}},
        ),
        (
            FilePart(url="https://e.org/a"),
            {"type": "document", "source": {"type": "url", "url": "https://e.org/a"}},
        ),
        (FilePart(file_id="f1"), {"type": "document", "source": {"type": "file", "file_id": "f1"}}),
        (
            FilePart(file_id="f1", media_type="image/png"),
            {"type": "image", "source": {"type": "file", "file_id": "f1"}},
        ),
        (
            FilePart(file_id="f1", media_type="text/csv"),
            {"type": "document", "source": {"type": "file", "file_id": "f1"}},
        ),
        (FilePart(file_id="f1", media_type="application/zip"), {"type": "container_upload", "file_id": "f1"}),
    ],
)
def test_pictures_and_documents(written: Written, part: Any, block: Any) -> None:
    assert written(Chat(Message.user(part)))["messages"][0]["content"] == [block]


@pytest.mark.parametrize(
    "chat",
    [
        Chat(Message.user(AudioPart(data=b"x", media_type="audio/wav"))),
        Chat(Message.user(ImagePart(data=b"x", media_type="image/tiff"))),
        Chat(Message.user(ImagePart(data=b"??"))),
        Chat(Message.user(ImagePart())),
        Chat(Message.user(ImagePart(url="data:image/png;base64,?"))),
        Chat(Message.user(FilePart(data=b"x", media_type="application/zip"))),
        Chat(Message.user(FilePart(data=b"\xff", media_type="text/plain"))),
        Chat(Message.user(FilePart(url="https://e.org/a", media_type="text/plain"))),
        Chat(Message.user(FilePart())),
        Chat([Message.system(ImagePart(data=PNG)), Message.user("x")]),
        Chat([Message.user("x"), Message.assistant(ImagePart(data=PNG))]),
        Chat(Message("tool", "text")),
        Chat("x", seed=1),
        Chat("x", temperature=1.5),
        Chat("x", top_p=-0.1),
        Chat("x", stop=[" "]),
        Chat("x", max_tokens=0),
        Chat("x", tool_choice="required"),
        Chat("x", tool_choice="missing", tools=[GIT]),
        Chat("x", tools=[Tool("f", input_schema={"type": "array"})]),
        Chat("x", reasoning="enormous"),
        Chat("x", options={"anthropic": {"messages": []}}),
        Chat("x", options={"anthropic": {"tools": "all"}}),
        Chat("x", options={"anthropic": {"metadata": object()}}),
        Chat("\ud800"),
        Chat([]),
    ],
)
def test_what_the_wire_cannot_carry_is_refused_before_it_is_sent(written: Written, chat: Chat) -> None:
    with pytest.raises(RequestError) as caught:
        written(chat)
    assert isinstance(caught.value, InvalidRequestError | UnsupportedError)


def test_how_tools_are_chosen(written: Written) -> None:
    def choice(**more: Any) -> Any:
        return written(Chat("x", tools=[GIT], **more)).get("tool_choice")

    assert choice() is None
    assert choice(tool_choice="required") == {"type": "any"}
    assert choice(tool_choice="none") == {"type": "none"}
    assert choice(tool_choice="git/log") == {"type": "tool", "name": "git__log"}
    assert choice(parallel_tool_calls=False) == {"type": "auto", "disable_parallel_tool_use": True}
    assert choice(tool_choice="required", parallel_tool_calls=True)["disable_parallel_tool_use"] is False
    assert written(Chat("x", tool_choice="none")).get("tool_choice") is None


def test_the_vendors_own_tools_and_options_go_as_they_are(written: Written) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    options = {
        "tools": [search],
        "service_tier": "auto",
        "betas": ["b-1"],
        "output_config": {"effort": "low"},
    }
    chat = Chat(
        "x",
        tools=[GIT],
        tool_choice="web_search",
        response_schema=ResponseSchema({"type": "object"}),
        options={"anthropic": options, "openai": {"n": 2}},
    )
    body = written(chat, options={"service_tier": "standard_only", "metadata": {"user_id": "u"}})
    assert body["tools"][1] == search
    assert body["tool_choice"] == {"type": "tool", "name": "web_search"}
    assert (body["service_tier"], body["metadata"]) == ("auto", {"user_id": "u"})
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    }
    assert not {"betas", "n"} & body.keys()


def test_caching_by_configuration_by_part_and_by_tool(written: Written) -> None:
    assert written(Chat("x"), prompt_caching="5m")["cache_control"] == {"type": "ephemeral"}
    assert written(Chat("x"), prompt_caching="1h")["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    kept = {"type": "ephemeral"}
    tool = Tool("f", metadata={"anthropic": {"cache_control": kept, "strict": True, "name": "other"}})
    long = mark(FilePart(data=b"%PDF"), cache_control=kept, citations={"enabled": True})
    long = mark(long, context="a report")
    body = written(
        Chat(
            [Message.system(mark(Message.user("s").parts[0], cache_control=kept)), Message.user(long)],
            tools=[tool],
        )
    )
    assert body["system"] == [{"type": "text", "text": "s", "cache_control": kept}]
    document = body["messages"][0]["content"][0]
    assert (document["cache_control"], document["citations"], document["context"]) == (
        kept,
        {"enabled": True},
        "a report",
    )
    assert (body["tools"][0]["name"], body["tools"][0]["strict"]) == ("f", True)


def capable(**types: bool) -> Model:
    told = {name: {"supported": value} for name, value in types.items() if name != "effort"}
    capabilities = {
        "thinking": {"supported": True, "types": told},
        "effort": {"supported": types.get("effort", False)},
    }
    return Model("claude-x", output_tokens=10_000, metadata={"capabilities": capabilities})


def test_reasoning_is_sent_as_the_model_takes_it(written: Written) -> None:
    def sent(word: str = "high", known: Model | None = None, **more: Any) -> Any:
        config = {name: more.pop(name) for name in ("thinking", "thinking_budgets") if name in more}
        body = written(Chat("x", reasoning=word, **more), known=known, **config)
        return body.get("thinking"), body.get("output_config"), body["max_tokens"]

    adaptive, high = {"type": "adaptive"}, {"effort": "high"}
    assert sent() == (adaptive, high, 8192)
    assert sent("none") == ({"type": "disabled"}, None, 8192)
    assert sent("minimal", thinking="effort") == (None, {"effort": "low"}, 8192)
    assert sent(known=capable(adaptive=True, effort=True)) == (adaptive, high, 8192)
    assert sent(known=capable(adaptive=True)) == (adaptive, None, 8192)
    assert sent(known=capable(effort=True)) == (None, high, 8192)
    # The answer has its room beside the thinking, and both stay within what the model can write.
    assert sent("medium", thinking="budget")[::2] == ({"type": "enabled", "budget_tokens": 8192}, 16384)
    assert sent(known=capable(enabled=True))[::2] == ({"type": "enabled", "budget_tokens": 9_999}, 10_000)
    assert sent(thinking="budget", max_tokens=2000)[0] == {"type": "enabled", "budget_tokens": 1999}
    with pytest.raises(InvalidRequestError, match="raise max_tokens"):
        sent(thinking="budget", max_tokens=1024)
    with pytest.raises(InvalidRequestError, match="thinking_budgets"):
        sent("max", thinking="budget", thinking_budgets={"low": 1024})


def test_parameters_that_are_configured_away(written: Written) -> None:
    chat = Chat("x", temperature=0.5, top_p=0.9, options={"anthropic": {"top_k": 3}})
    assert {"temperature", "top_p", "top_k"} <= written(chat).keys()
    body = written(chat, omit={"claude-*": ("temperature", "top_k"), "other": ("top_p",)})
    assert {"temperature", "top_p", "top_k"} & body.keys() == {"top_p"}


def test_the_newer_version_of_the_api_gets_no_sampling_parameters(written: Written) -> None:
    chat = Chat("x", temperature=0.5, options={"anthropic": {"top_k": 3}})
    assert not {"temperature", "top_k"} & written(chat, version="2026-10-21").keys()
    assert {"temperature", "top_k"} <= written(chat, version="2026-10-21", adapt=False).keys()


def test_thinking_of_others_is_dropped(written: Written) -> None:
    turns = [Message.user("x"), Message.assistant([ThinkingPart("secret"), "said"]), Message.user("y")]
    assert "secret" not in json.dumps(written(Chat(turns)))
