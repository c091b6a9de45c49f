"""The search in a host: found by words and meaning, called on, and what a model sees of it."""

from __future__ import annotations

from typing import Any

import pytest

from gleitzeit import Chat, Embedding, Host, Model, Provider, Reply
from gleitzeit.conversation import ToolEnded
from gleitzeit.deferral import SEARCH
from gleitzeit.discovery import Index, scan
from gleitzeit.errors import (
    InvalidRequestError,
    OverloadedError,
    PermissionDeniedError,
    PluginNotFoundError,
    UnknownModelError,
)
from gleitzeit.values import Invoke, Tool, ToolCall, ToolCallPart, ToolResultPart


class Shelf(Provider):
    """Three hundred tools, of which few do what is wanted."""

    def __init__(self, config: Any, context: Any) -> None:
        super().__init__(config, context)
        self.called: list[str] = []

    def provide_tools(self) -> list[Tool]:
        special = [
            Tool("convert_currency", description="Changes an amount of money into another currency"),
            Tool("read_file", description="Reads a file"),
            Tool("send_mail", description="Sends an electronic letter"),
        ]
        return [
            *special,
            *(Tool(f"other_{n}", description=f"Does the odd job number {n}") for n in range(300)),
        ]

    async def call(self, request: Any) -> Reply:
        self.called.append(request.name)
        return Reply(f"did {request.name}")


class Thinker(Provider):
    """Asks for the tools in its script, and embeds by letters that stand for a meaning."""

    script: tuple[tuple[str, dict[str, Any]], ...] = ()
    context_tokens = 4000
    broken = False

    def provide_models(self) -> list[Model]:
        return [
            Model("m", operations={Chat}, context_tokens=self.context_tokens),
            Model("v", operations={Embedding}),
        ]

    async def call(self, request: Any) -> Reply:
        operation = request.operation
        if isinstance(operation, Embedding):
            if self.broken:
                raise OverloadedError("no room", retryable=False)
            return Reply(vectors=tuple(_vector(text) for text in operation.inputs))
        self.shown = [*getattr(self, "shown", []), [tool.name for tool in operation.tools]]
        self.tools = operation.tools
        turn = sum(message.role == "assistant" for message in operation.messages)
        if turn < len(self.script):
            name, arguments = self.script[turn]
            part = ToolCallPart(f"c{turn}", name=name, arguments=arguments)
            return Reply(part, finish_reason="tool_calls")
        results = [part for m in operation.messages if m.role == "tool" for part in m.parts]
        said = [part.text for part in results if isinstance(part, ToolResultPart)]
        return Reply(" | ".join(said), finish_reason="stop")


def _vector(text: str) -> tuple[float, ...]:
    """Letters and post mean the same, and nothing else does."""
    mail = any(word in text for word in ("letter", "post"))
    return (1.0, 0.0) if mail else (0.0, 1.0)


def host(*script: tuple[str, dict[str, Any]], config: dict[str, Any] | None = None, **fields: Any) -> Host:
    thinker = type("Scripted", (Thinker,), {"script": script, **fields})
    own = next(entry for entry in scan().of_kind("provider") if entry.name == "tool-search")
    data = {"providers": {"shelf": {}, "thinker": {}, "tool-search": config or {}}}
    return Host(data, plugins={"shelf": Shelf, "thinker": thinker}, environ={}, index=Index((own,)))


def provider(host: Host, name: str) -> Any:
    instance = host._registry.find("provider", name)
    assert instance is not None
    return instance.object


async def search(host: Host, query: str, **arguments: Any) -> list[str]:
    reply = await host.call(ToolCall({"query": query, **arguments}).to("tool-search/search_tools"))
    return [row["name"] for row in reply.data["tools"]]


@pytest.mark.feature("S004-26")
async def test_tools_are_found_by_words_best_first_up_to_a_limit() -> None:
    async with host() as h:
        assert (await search(h, "read files"))[0] == "shelf/read_file"
        assert await search(h, "money currency") == ["shelf/convert_currency"]
        assert len(await search(h, "odd job", limit=7)) == 7
        assert (await search(h, "number 123"))[0] == "shelf/other_123"
        assert await search(h, "quantum") == []
        assert await search(h, "odd job", among=["shelf/other_1", "shelf/gone"]) == ["shelf/other_1"]
        for wrong in ({"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "among": "*"}):
            with pytest.raises(InvalidRequestError):
                await h.call(ToolCall(wrong).to("tool-search/search_tools"))


async def test_what_means_the_same_is_found_where_a_model_embeds() -> None:
    config = {"embedding_model": "thinker/v", "may_ask": True}
    async with host(config=config) as h:
        assert (await search(h, "post"))[0] == "shelf/send_mail"
    async with host() as h:
        assert await search(h, "post") == []


async def test_words_alone_decide_while_embedding_fails() -> None:
    config = {"embedding_model": "thinker/v", "may_ask": True}
    async with host(config=config, broken=True) as h:
        assert await search(h, "currency") == ["shelf/convert_currency"]


async def test_a_found_tool_is_run_where_the_operator_allows_it() -> None:
    wanted = {"name": "shelf/read_file", "arguments": {}}
    asked = ToolCall(wanted).to("tool-search/call_tool")
    async with host(config={"may_ask": True}) as h:
        assert (await h.call(asked)).text == "did read_file"
        for name in ("shelf/reed_file", "tool-search/call_tool"):
            with pytest.raises(UnknownModelError):
                await h.call(ToolCall({"name": name}).to("tool-search/call_tool"))
    async with host() as h:
        with pytest.raises(UnknownModelError):
            await h.call(asked)
        with pytest.raises(PermissionDeniedError, match="may_ask = true"):
            await h.call(Invoke("call_tool", arguments=wanted).to("tool-search"))


REQUEST = Chat("go").to("thinker/m")
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    (SEARCH, {"query": "money currency"}),
    ("shelf/convert_currency", {}),
)


async def test_a_model_with_a_small_context_sees_a_search_and_then_what_it_has_found() -> None:
    async with host(*STEPS) as h:
        ending = await h.converse(REQUEST, tools=["shelf/*"])
        first, second, third = provider(h, "thinker").shown
        assert first == [SEARCH]
        assert second == third == [SEARCH, "shelf/convert_currency"]
        assert provider(h, "shelf").called == ["convert_currency"]
        assert ending.text.endswith("did convert_currency")
        schema = provider(h, "thinker").tools[0].input_schema
        assert set(schema["properties"]) == {"query", "limit"}, "what is searched is not the model's choice"


async def test_only_what_was_given_to_the_conversation_can_be_found() -> None:
    wide = (SEARCH, {"query": "reads a file, changes money", "among": ["*"]})
    async with host(wide) as h:
        await h.converse(REQUEST, tools=["shelf/other_*", "shelf/read_file"])
        assert provider(h, "thinker").shown[-1][:2] == [SEARCH, "shelf/read_file"]
        assert "shelf/convert_currency" not in provider(h, "thinker").shown[-1]


async def test_nothing_is_deferred_where_the_context_is_large_or_unknown_or_nobody_wants_it() -> None:
    for tokens in (1_000_000, None):
        async with host(context_tokens=tokens) as h:
            await h.converse(REQUEST, tools=["shelf/*"])
            assert len(provider(h, "thinker").shown[0]) == 303
    async with host() as h:
        await h.converse(REQUEST, tools=["shelf/*"], defer=False)
        assert len(provider(h, "thinker").shown[0]) == 303
        await h.converse(REQUEST, tools=["shelf/read_file"], defer=True)
        assert provider(h, "thinker").shown[-1] == [SEARCH]


async def test_a_tool_that_must_be_called_is_shown_at_once() -> None:
    async with host() as h:
        chosen = Chat("go", tool_choice="shelf/other_7").to("thinker/m")
        await h.converse(chosen, tools=["shelf/*"])
        assert provider(h, "thinker").shown[0] == [SEARCH, "shelf/other_7"]


async def test_deferring_without_the_plugin_says_what_to_install() -> None:
    plugins = {"shelf": Shelf, "thinker": Thinker}
    async with Host({}, plugins=plugins, environ={}, index=Index(())) as h:
        await h.converse(REQUEST, tools=["shelf/*"])
        with pytest.raises(PluginNotFoundError, match="pip install gleitzeit-plugin-tool-search"):
            await h.converse(REQUEST, tools=["shelf/*"], defer=True)


async def test_the_search_is_approved_like_any_tool() -> None:
    asked: list[str] = []

    def approve(call: ToolCallPart, target: str) -> bool:
        asked.append(target)
        return False

    async with host(*STEPS) as h, h.converse(REQUEST, tools=["shelf/*"], approve=approve) as conversation:
        ends = [event.result.is_error async for event in conversation if isinstance(event, ToolEnded)]
    assert asked == ["tool-search/search_tools", "shelf/convert_currency"]
    assert ends == [True, True]
