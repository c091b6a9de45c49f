"""What a script says is what comes, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gleitzeit_plugin_scripted import Scripted
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import InvalidRequestError, UnknownModelError, UnsupportedError
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    Invoke,
    Message,
    Operation,
    Reply,
    Stream,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolCallPart,
    ToolResultPart,
    Usage,
)

Make = Callable[..., Scripted]


async def ask(provider: Scripted, model: str, operation: Operation | str) -> Reply:
    operation = Chat(operation) if isinstance(operation, str) else operation
    answer = await provider.call(operation.to(model))
    assert isinstance(answer, Reply)
    return answer


async def stream(provider: Scripted, model: str, operation: Operation | str) -> Stream:
    operation = Chat(operation) if isinstance(operation, str) else operation
    answer = await provider.call(operation.to(model, stream=True))
    assert isinstance(answer, Stream)
    return answer


async def test_the_first_rule_that_fits_answers(make: Make) -> None:
    provider = make(
        m={
            "rules": [
                {"exact": "ping", "text": "pong"},
                {"contains": "weather", "text": "rain"},
                {"regex": r"my name is (?P<who>\w+)", "text": "Hello {who}, that is {1}"},
                {"text": "what?"},
            ]
        }
    )
    assert (await ask(provider, "m", "ping")).text == "pong"
    assert (await ask(provider, "m", "ping weather")).text == "rain"
    assert (await ask(provider, "m", "hi, my name is Ada")).text == "Hello Ada, that is Ada"
    assert (await ask(provider, "m", "")).text == "what?"


async def test_rules_look_at_the_last_user_text_and_all_system_text(make: Make) -> None:
    provider = make(m={"rules": [{"contains": "old", "text": "old"}, {"text": "{system}|{prompt}"}]})
    chat = Chat(
        [
            Message.system("be brief"),
            Message.user("old"),
            Message.assistant("yes"),
            Message.user("new {prompt}"),
        ]
    )
    assert (await ask(provider, "m", chat)).text == "be brief|new {prompt}"


async def test_a_doubled_brace_keeps_a_placeholder_as_text(make: Make) -> None:
    provider = make(m={"rules": [{"text": 'write {{prompt}}, not {"a": {"b": 1}} {prompt}'}]})
    assert (await ask(provider, "m", "x")).text == 'write {prompt}, not {"a": {"b": 1}} x'


@given(st.text())
async def test_stream_and_whole_answer_give_the_same_text(text: str) -> None:
    from types import SimpleNamespace

    context: Any = SimpleNamespace(name="scripted")
    provider = Scripted(Scripted.Config(), context)
    pieces = [e.text async for e in await stream(provider, "echo", text) if isinstance(e, TextDelta)]
    assert "".join(pieces) == text == (await ask(provider, "echo", text)).text


async def test_pieces_come_as_written_and_thinking_stays_apart(make: Make) -> None:
    provider = make(
        m={"rules": [{"pieces": ["Hel", {"thinking": "hm"}, {"text": "lo {prompt}", "delay_ms": 1}]}]}
    )
    events = [
        e async for e in await stream(provider, "m", "you") if isinstance(e, (TextDelta, ThinkingDelta))
    ]
    assert [event.text for event in events] == ["Hel", "hm", "lo you"]
    reply = await ask(provider, "m", "you")
    assert (reply.text, reply.thinking) == ("Hello you", "hm")


async def test_delays_pass_before_each_piece_streamed_or_whole(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = make(m={"rules": [{"pieces": ["a", "b", {"text": "c", "delay_ms": 0}], "delay_ms": 20}]})
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("gleitzeit_plugin_scripted.play.asyncio", SimpleNamespace(sleep=sleep))
    assert (await ask(provider, "m", "x")).text == "abc"
    whole, slept[:] = sum(slept), []
    running = await stream(provider, "m", "x")
    waited = [sum(slept) async for event in running if isinstance(event, TextDelta)]
    assert whole == waited[-1] == pytest.approx(0.04)
    assert waited[:2] == pytest.approx([0.02, 0.04])


async def test_completion_is_answered_by_the_same_rules(make: Make) -> None:
    provider = make(m={"rules": [{"operation": "chat", "text": "chat"}, {"text": "on {prompt}"}]})
    assert (await ask(provider, "m", Completion("and on"))).text == "on and on"
    assert (await ask(provider, "m", Chat("and on"))).text == "chat"


async def test_usage_is_what_the_script_says_or_words_or_nothing(make: Make) -> None:
    provider = make(
        m={
            "usage": "words",
            "rules": [
                {"exact": "a", "text": "x", "usage": {"input": 7, "output": 3}},
                {"text": "one two three", "thinking": "hm"},
            ],
        },
        n={"rules": [{"text": "x"}]},
    )
    assert (await ask(provider, "m", "a")).usage == Usage(input=7, output=3)
    assert (await ask(provider, "m", "b c")).usage == Usage(input=2, output=4, reasoning=1)
    assert (await (await stream(provider, "m", "b c")).collect()).usage == Usage(
        input=2, output=4, reasoning=1
    )
    assert (await ask(provider, "n", "a")).usage is None


async def test_finish_reason_follows_the_answer_unless_the_script_says_otherwise(make: Make) -> None:
    provider = make(
        m={
            "rules": [
                {"exact": "long", "text": "x", "finish_reason": "length", "raw_finish_reason": "MAX"},
                {"exact": "tool", "calls": [{"name": "t", "invented": True}]},
                {"text": "x"},
            ]
        }
    )
    long = await ask(provider, "m", "long")
    assert (long.finish_reason, long.raw_finish_reason) == ("length", "MAX")
    assert (await ask(provider, "m", "tool")).finish_reason == "tool_calls"
    assert (await ask(provider, "m", "x")).finish_reason == "stop"


WEATHER: dict[str, Any] = {
    "rules": [
        {
            "regex": r"weather in (\w+) for (\d+) days",
            "calls": [
                {"name": "get_weather", "arguments": {"city": "{1}", "days": "{2:int}", "tags": ["{model}"]}}
            ],
        },
        {"after_tool": "get_weather", "text": "It is {result}."},
        {"after_tool": True, "text": "another tool"},
        {"text": "nothing"},
    ]
}
TOOLS = (Tool("city/get_weather"), Tool("city/other"))


async def test_a_tool_round_trip_ends_with_an_answer_from_the_result(make: Make) -> None:
    provider = make(m=WEATHER)
    question = Message.user("weather in Oslo for 3 days")
    asked = await ask(provider, "m", Chat([question], tools=TOOLS))
    (call,) = asked.tool_calls
    assert (call.name, call.arguments) == ("city/get_weather", {"city": "Oslo", "days": 3, "tags": ["m"]})
    result = Message.tool(ToolResultPart(call.id, parts="wet"))
    assert (
        await ask(provider, "m", Chat([question, asked.message, result], tools=TOOLS))
    ).text == "It is wet."


async def test_tool_calls_stream_in_fragments_and_ids_differ(make: Make) -> None:
    provider = make(m=WEATHER)
    chat = Chat("weather in Oslo for 3 days", tools=TOOLS)
    first, second = await ask(provider, "m", chat), await (await stream(provider, "m", chat)).collect()
    assert first.tool_calls[0].arguments == second.tool_calls[0].arguments
    assert first.tool_calls[0].id != second.tool_calls[0].id


async def test_a_result_of_another_tool_meets_its_own_rule(make: Make) -> None:
    provider = make(m=WEATHER)
    call = ToolCallPart("1", name="city/other", arguments={})
    chat = Chat(
        [
            Message.user("weather in Oslo for 3 days"),
            Message.assistant(call),
            Message.tool(ToolResultPart("1", parts="x")),
        ]
    )
    assert (await ask(provider, "m", chat)).text == "another tool"


async def test_tool_choice_none_passes_over_rules_that_call_tools(make: Make) -> None:
    provider = make(m=WEATHER)
    chat = Chat("weather in Oslo for 3 days", tools=TOOLS, tool_choice="none")
    assert (await ask(provider, "m", chat)).text == "nothing"


async def test_several_calls_come_in_one_turn_in_order(make: Make) -> None:
    provider = make(
        m={"rules": [{"calls": [{"name": "city/other"}, {"name": "get_weather", "raw": '{"a":'}]}]}
    )
    reply = await ask(provider, "m", Chat("go", tools=TOOLS))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        ("city/other", {}),
        ("city/get_weather", None),
    ]
    assert reply.tool_calls[1].raw == '{"a":'


@pytest.mark.parametrize(
    "tools, says",
    [
        ((), "does not offer it"),
        ((Tool("a/get_weather"), Tool("b/get_weather")), "a/get_weather, b/get_weather"),
    ],
)
async def test_a_tool_that_is_not_offered_once_is_an_error(
    make: Make, tools: tuple[Tool, ...], says: str
) -> None:
    provider = make(m=WEATHER)
    with pytest.raises(InvalidRequestError, match=says) as caught:
        await ask(provider, "m", Chat("weather in Oslo for 3 days", tools=tools))
    assert caught.value.provider == "scripted"
    assert "Oslo" not in str(caught.value)


async def test_a_conversion_that_fails_is_an_error_without_the_prompt(make: Make) -> None:
    provider = make(m={"rules": [{"regex": "(.*)", "calls": [{"name": "t", "arguments": {"n": "{1:int}"}}]}]})
    with pytest.raises(InvalidRequestError) as caught:
        await ask(provider, "m", Chat("canary", tools=[Tool("t")]))
    assert "canary" not in str(caught.value)


async def test_rules_answer_differently_by_call(make: Make) -> None:
    provider = make(
        m={
            "rules": [
                {"contains": "a", "on_call": 1, "error": {"code": "overloaded", "retry_after": 0.5}},
                {"contains": "a", "on_call": "2-3", "text": "later"},
                {"on_call": "5-", "text": "enough"},
                {"text": "then"},
            ]
        }
    )
    texts = []
    for prompt in ("b", "a", "b", "a", "a", "b"):
        try:
            texts.append((await ask(provider, "m", prompt)).text)
        except Exception as error:
            texts.append(type(error).__name__)
    assert texts == ["then", "OverloadedError", "then", "later", "later", "enough"]


async def test_vectors_depend_on_the_words_alone_and_keep_the_order_of_inputs(make: Make) -> None:
    provider = make(
        m={"operations": ["embedding"], "dimensions": 32, "rules": [{"exact": "x", "vector": [1, 0]}]}
    )
    reply = await ask(provider, "m", Embedding(["a cat sat", "a cat ran", "stock market", "x"]))
    assert reply.vectors is not None
    cat, also_cat, market, given_vector = reply.vectors
    assert given_vector == (1.0, 0.0)
    assert len(cat) == 32
    assert sum(x * x for x in cat) == pytest.approx(1.0)

    def dot(one: tuple[float, ...], other: tuple[float, ...]) -> float:
        return sum(x * y for x, y in zip(one, other, strict=True))

    assert dot(cat, also_cat) > dot(cat, market)
    again = await ask(provider, "m", Embedding("a cat sat", dimensions=4))
    assert again.vectors is not None
    assert len(again.vectors[0]) == 4


@given(st.text(), st.integers(1, 64))
def test_every_vector_has_length_one(text: str, dimensions: int) -> None:
    from gleitzeit_plugin_scripted.measure import vector_of

    vector = vector_of(text, dimensions)
    assert len(vector) == dimensions
    assert sum(x * x for x in vector) == pytest.approx(1.0)
    assert vector == vector_of(text, dimensions)


async def test_labels_come_best_first_and_within_the_allowed(make: Make) -> None:
    rules = [{"contains": "good", "labels": {"no": 0.1, "yes": 0.9}}, {"labels": {"no": 1.0}}]
    provider = make(m={"operations": ["classification"], "rules": rules})
    reply = await ask(provider, "m", Classification(["good", "other"]))
    assert reply.labels is not None
    assert [[(label.name, label.score) for label in labels] for labels in reply.labels] == [
        [("yes", 0.9), ("no", 0.1)],
        [("no", 1.0)],
    ]
    limited = await ask(provider, "m", Classification("good", labels=["no"]))
    assert limited.labels is not None
    assert [label.name for label in limited.labels[0]] == ["no"]
    with pytest.raises(InvalidRequestError, match="none of the labels"):
        await ask(provider, "m", Classification("good", labels=["maybe"]))


async def test_no_rule_that_fits_is_an_error_without_the_prompt(make: Make) -> None:
    provider = make(m={"rules": [{"exact": "a", "text": "b"}]})
    with pytest.raises(InvalidRequestError, match="no rule of scripted model 'm'") as caught:
        await ask(provider, "m", "canary")
    assert "canary" not in str(caught.value)


async def test_an_unknown_model_is_named_with_similar_ones(make: Make) -> None:
    with pytest.raises(UnknownModelError) as caught:
        await ask(make(), "helo", "x")
    assert caught.value.near == ("hello",)


@pytest.mark.parametrize("operation", [Embedding("x"), Classification("x"), Invoke("run")])
async def test_an_operation_that_is_not_declared_is_refused_before_anything(
    make: Make, operation: Operation
) -> None:
    provider = make()
    with pytest.raises(UnsupportedError, match="does not do"):
        await ask(provider, "hello", operation)
    assert provider.seen.calls == 0
