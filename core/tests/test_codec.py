"""The codec gives back what it was given, and says clearly what it cannot read."""

from __future__ import annotations

import ast
import base64
import gc
import inspect
import json
from typing import Any, ClassVar

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gleitzeit.errors import (
    ConfigError,
    GleitzeitError,
    InvalidRequestError,
    RateLimitedError,
    UnknownModelError,
)
from gleitzeit.policy import Policy
from gleitzeit.testing import strategies as some
from gleitzeit.values import (
    Attempt,
    Chat,
    Event,
    Finished,
    Health,
    ImagePart,
    Invoke,
    Limit,
    Message,
    Model,
    Operation,
    Outcome,
    Part,
    PartDone,
    Prompt,
    ProviderState,
    RateLimits,
    Reply,
    Request,
    Resource,
    Route,
    Started,
    State,
    Target,
    TextDelta,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    Usage,
    Verdict,
)
from gleitzeit.wire.codec import dumps, from_json, loads, to_json

EVERY: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Part, some.parts()),
    (Message, some.messages()),
    (Usage, some.usages()),
    (Model, some.models()),
    (Tool, some.tools()),
    (Resource, some.resources()),
    (Prompt, some.prompts()),
    (Target, some.targets()),
    (Route, some.routes()),
    (Operation, some.operations()),
    (Request, some.requests()),
    (RateLimits, some.rate_limits()),
    (Reply, some.replies()),
    (Event, some.events()),
    (Health, some.healths()),
    (Verdict, some.verdicts()),
    (Policy, some.policies()),
    (ProviderState, some.provider_states()),
]


@pytest.mark.parametrize("type, values", EVERY, ids=lambda item: getattr(item, "__name__", ""))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_every_value_comes_back_equal(type: Any, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    value = data.draw(values)
    wire = dumps(value)
    assert loads(type, wire) == value
    # What another JSON library makes of it is the same: nothing relies on ours.
    assert from_json(type, json.loads(wire)) == value


def test_the_strategies_make_every_field_of_every_value() -> None:
    """A field that is added to a value is added to its strategy: what is never made is never tested."""
    missing = set()
    for call in ast.walk(ast.parse(inspect.getsource(some))):
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "st.builds":
            continue
        cls = getattr(some, ast.unparse(call.args[0]), None)
        if cls is None or not attrs.has(cls):
            continue
        made = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
        for keyword in call.keywords:
            if keyword.arg is None and isinstance(keyword.value, ast.Call):  # **_media()
                made |= set(getattr(some, ast.unparse(keyword.value.func))())
        positional = [field.name for field in attrs.fields(cls) if not field.kw_only]
        made |= set(positional[: len(call.args) - 1])
        missing |= {(cls.__name__, field.name) for field in attrs.fields(cls) if field.name not in made}
    assert missing == {("Reply", "raw")}


@settings(max_examples=100)
@given(some.texts(200))
def test_provider_state_comes_back_byte_for_byte(text: str) -> None:
    part = ThinkingPart("…", provider_state=ProviderState("anthropic", data=text))
    again = loads(Part, dumps(part))
    assert again.provider_state.data.encode() == text.encode()


def test_defaults_are_left_out() -> None:
    assert to_json(Message.user("hi")) == {"role": "user", "parts": [{"type": "text", "text": "hi"}]}
    assert to_json(Started()) == {"type": "started"}
    assert to_json(Tool("now")) == {"name": "now"}


def test_operations_carry_their_kind() -> None:
    data = to_json(Chat("hi").to("openai/gpt", id="1"))
    assert data == {
        "operation": {
            "kind": "chat",
            "messages": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}],
        },
        "target": "openai/gpt",
        "id": "1",
    }


def test_bytes_travel_as_base64() -> None:
    data = to_json(ImagePart(data=b"\x00\xff", media_type="image/png"))
    assert base64.b64decode(data["data"]) == b"\x00\xff"


def test_sets_are_sorted() -> None:
    assert to_json(Model("m", capabilities={"b", "a"}))["capabilities"] == ["a", "b"]


def test_false_is_not_taken_for_a_default_of_none() -> None:
    chat = Chat("hi", parallel_tool_calls=False, temperature=0.0)
    assert from_json(Chat, to_json(chat)) == chat


def test_a_raw_answer_is_not_carried() -> None:
    assert "raw" not in to_json(Reply("hi", raw=b"{}"))


def test_what_the_vendor_said_of_usage_is_carried() -> None:
    usage = Usage(input=1, raw={"cost": 0.5})
    assert from_json(Usage, to_json(usage)).raw == {"cost": 0.5}


def test_unknown_fields_are_ignored() -> None:
    data = {"type": "text", "text": "hi", "since": "version 9", "more": {"a": 1}}
    assert from_json(Part, data) == TextPart("hi")


def test_a_kind_added_by_a_plugin_is_known() -> None:
    @attrs.frozen(kw_only=True)
    class Translate(Operation):
        kind: ClassVar[str] = "test_translate"
        text: str = attrs.field(kw_only=False)
        goal: str = "de"

    assert from_json(Operation, to_json(Translate("hi", goal="fr"))) == Translate("hi", goal="fr")
    gc.collect()


def test_a_concrete_operation_needs_no_kind_and_refuses_a_foreign_one() -> None:
    assert from_json(Invoke, {"method": "x"}) == Invoke("x")
    with pytest.raises(InvalidRequestError, match=r"\$\.kind: expected one of invoke"):
        from_json(Invoke, {"kind": "chat", "method": "x"})


def test_enumerations_and_outcomes() -> None:
    assert from_json(State, to_json(State.DEGRADED)) is State.DEGRADED
    assert to_json(Outcome("p", value=Health("ok"))) == {"plugin": "p", "value": {"status": "ok"}}


def test_errors_come_back_as_their_class_without_the_body() -> None:
    error = RateLimitedError(
        "slow down", provider="openai", status=429, retry_after=2.5, hint="wait", body="sk-secret", sent=True
    )
    data = to_json(Attempt(Target("a", name="b"), error=error))
    assert "sk-secret" not in repr(data)
    again = from_json(Attempt, data).error
    assert type(again) is RateLimitedError
    assert (again.to_dict(), again.sent) == (error.to_dict(), True)


def test_errors_with_constructors_of_their_own_come_back() -> None:
    for error in (ConfigError("bad", problems=("a", "b")), UnknownModelError("no", near=("x",))):
        data = to_json(Outcome("p", error=error))
        again = from_json(Outcome, data).error
        assert (type(again), str(again)) == (type(error), str(error))


def test_the_partial_reply_of_an_error_comes_back() -> None:
    error = RateLimitedError("late", partial=Reply("half"))
    again = from_json(Outcome, to_json(Outcome("p", error=error))).error
    assert isinstance(again, RateLimitedError)
    assert again.partial == Reply("half")


def test_the_rate_limits_of_an_error_come_back() -> None:
    error = RateLimitedError("late")
    error.limits = RateLimits(tokens=Limit(100, 0, 1.5))
    again = from_json(Outcome, to_json(Outcome("p", error=error))).error
    assert isinstance(again, RateLimitedError)
    assert again.limits == error.limits


def test_the_text_of_a_foreign_error_is_not_carried() -> None:
    data = to_json(Outcome("p", error=ValueError("my password is hunter2")))
    assert data == {"plugin": "p", "error": {"code": "error", "message": "ValueError"}}


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(some.replies(failed_attempts=True))
def test_replies_with_failed_attempts_come_back(reply: Reply) -> None:
    again = loads(Reply, dumps(reply))
    assert again.evolve(attempts=()) == reply.evolve(attempts=())
    assert list(map(_told, again.attempts)) == list(map(_told, reply.attempts))


def _told(attempt: Attempt) -> object:
    assert isinstance(attempt.error, GleitzeitError)
    return attempt.error.to_dict()


CHAT: dict[str, Any] = {
    "kind": "chat",
    "messages": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}],
}


@pytest.mark.parametrize(
    "type, data, message",
    [
        (Request, 3, r"\$: expected an object, not int"),
        (Request, {"operation": CHAT}, r"\$\.target: expected the `target` of a Request, not nothing"),
        (Request, {"operation": CHAT, "target": 3}, r"\$\.target: expected an object, not int"),
        (Request, {"operation": {}, "target": "x"}, r"\$\.operation\.kind: expected text, not nothing"),
        (
            Request,
            {"operation": {"kind": "x"}, "target": "x"},
            r"\$\.operation\.kind: expected one of chat, ",
        ),
        (Chat, {"messages": "hi"}, r"\$\.messages: expected a list, not this text"),
        (
            Chat,
            {"messages": [{"role": "robot", "parts": []}]},
            r"\$\.messages\[0\]\.role: expected one of 'system'",
        ),
        (Chat, {"messages": [], "temperature": True}, r"\$\.temperature: expected a number, not a boolean"),
        (Chat, {"messages": [], "max_tokens": 1.5}, r"\$\.max_tokens: expected an integer, not float"),
        (Part, {"type": "smell"}, r"\$\.type: expected one of audio, file"),
        (Part, {"type": ["text"]}, r"\$\.type: expected text, not a list"),
        (Part, {"type": "image", "data": "*"}, r"\$\.data: expected base64, not this text"),
        (TextPart, {"type": "image", "text": ""}, r"\$\.type: expected 'text'"),
        (Event, {"type": "finished", "finish_reason": "tired"}, r"\$\.finish_reason: expected one of 'stop'"),
        (Outcome, {"plugin": "p", "error": 3}, r"\$\.error: expected an object"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(type: Any, data: object, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        from_json(type, data)


def test_errors_of_reading_do_not_quote_content() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        from_json(Chat, {"messages": [{"role": "my secret", "parts": []}]})
    assert "my secret" not in str(caught.value)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"nul", b"[" * 100_000, b""])
def test_what_is_not_json_is_told(text: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="not JSON"):
        loads(Request, text)


NUMBERED: Any = {1: 2}


@pytest.mark.parametrize(
    "value, message",
    [
        (
            Invoke("x", arguments={"a": {"b": b"bytes"}}),
            r"\$\.arguments\.a\.b: expected a JSON value, not bytes",
        ),
        (Invoke("x", arguments={"a": [1, float("nan")]}), r"\$\.arguments\.a\[1\]: expected a finite number"),
        (Invoke("x", arguments=NUMBERED), r"\$\.arguments: expected text as the key of an object, not int"),
        (Chat("x", temperature=float("inf")), r"\$\.temperature: expected a finite number"),
        (Reply(data={1, 2}), r"\$\.data: expected a JSON value, not set"),
        (TextPart("\ud83d"), "surrogate"),
    ],
)
def test_what_json_cannot_carry_is_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        dumps(value)


def test_values_nested_too_deeply_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        to_json(Reply(data=deep))


def test_a_type_outside_the_contract_is_a_fault_of_the_caller() -> None:
    with pytest.raises(TypeError, match="does not know"):
        from_json(complex, 1)


def test_dumps_is_json_that_msgspec_and_json_agree_on() -> None:
    wire = dumps(PartDone(ToolResultPart("1", parts="Grüße 😀")))
    assert json.loads(wire) == msgspec.json.decode(wire)


def test_a_stored_conversation_reads_back() -> None:
    turns = [
        Message.system("be brief"),
        Message.user(["look", ImagePart(url="https://example.org/x.png", detail="low")]),
        Message.assistant([ThinkingPart("hm"), ToolCallPart.parse("1", "git/log", '{"n": 1}')]),
        Message.tool(ToolResultPart("1", name="git/log", parts="abc")),
    ]
    assert [loads(Message, dumps(turn)) for turn in turns] == turns
    assert loads(Event, dumps(TextDelta("x", index=2))) == TextDelta("x", index=2)
    assert loads(Event, dumps(Finished("length"))) == Finished("length")
