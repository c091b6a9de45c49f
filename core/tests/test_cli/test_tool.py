"""`gleitzeit tool` and `gleitzeit call`."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit import values
from gleitzeit.cli.call import request
from gleitzeit.cli.options import OPERATIONS
from gleitzeit.cli.parser import parse
from gleitzeit.cli.tool import arguments
from gleitzeit.errors import UsageError
from gleitzeit.values import Operation, Reply, Tool
from gleitzeit.wire.codec import from_json

Run = Callable[..., Any]
TEXT = Tool("say", input_schema={"type": "object", "properties": {"text": {"type": "string"}}})


@pytest.fixture(autouse=True)
def _desk(desk: Any) -> None:
    pass


def test_arguments_are_typed_by_the_schema_of_the_tool(run: Run) -> None:
    words = ["text=1", "flag=yes", "ratio=1", "maybe=4", 'table={"x": [1]}']
    assert run("tool", "desk/show", *words).json() == {
        "text": "1",
        "flag": True,
        "ratio": 1.0,
        "maybe": 4,
        "table": {"x": [1]},
    }


def test_key_that_is_repeated_makes_a_list(run: Run) -> None:
    words = ["words=a", "words=b", "counts=1", "counts=[2,3]"]
    assert run("tool", "desk/show", *words).json() == {"words": ["a", "b"], "counts": [1, 2, 3]}


def test_value_may_be_json_as_it_is_or_a_file(desk: Any, run: Run) -> None:
    (desk.work / "note").write_text("from a file\n")
    words = ["text=@note", "maybe:=null", 'words:=["@x"]']
    assert run("tool", "desk/show", *words).json() == {
        "text": "from a file\n",
        "maybe": None,
        "words": ["@x"],
    }


def test_arguments_may_stand_on_both_sides_of_an_option(run: Run) -> None:
    assert run("tool", "desk/add", "a=1", "--timeout", "9", "b=2").out == "3\n"


@pytest.mark.parametrize("source", ["option", "stdin"])
def test_arguments_may_be_one_json_object(run: Run, source: str) -> None:
    text = '{"a": 1, "b": 2}'
    given = ["--arguments", "-" if source == "stdin" else text]
    assert run("tool", "desk/add", *given, stdin=text).out == "3\n"


@pytest.mark.parametrize(
    "words, message",
    [
        (["a=1"], "error: desk/add needs b\nhint: gleitzeit tool desk/add a=<integer> b=<integer>\n"),
        (["a=x", "b=2"], "error: a: expected a whole number\nhint: a:=JSON gives a value as it is\n"),
        (["a=1", "a=2"], "error: a was given twice\n"),
        (["a=1", "b=2", "c=3"], "error: desk/add has no argument 'c'\n"),
        (["a"], "error: 'a' is no KEY=VALUE\n"),
        (["a:={"], "error: a is no valid JSON at line 1"),
        (["a=@nowhere"], "error: a nowhere: No such file or directory\n"),
        (["--arguments", "[]"], "error: --arguments: expected an object\n"),
        (["a=1", "--arguments", "{}"], "error: --arguments and KEY=VALUE do not go together\n"),
    ],
)
def test_what_is_wrong_with_arguments_is_told_before_the_call(
    run: Run, words: list[str], message: str
) -> None:
    result = run("tool", "desk/add", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(message)


def test_tool_of_an_unknown_name_names_those_that_are_near(run: Run) -> None:
    result = run("tool", "desk/ad", "a=1")
    assert result.code == 5
    assert "desk/add" in result.err


def test_pattern_is_no_tool(run: Run) -> None:
    assert run("tool", "desk/*").code == 2


def test_tool_that_reports_a_failure_has_an_exit_code(run: Run) -> None:
    result = run("tool", "desk/fail")
    assert (result.code, result.out, result.err) == (8, "it is broken\n", "the tool reports a failure\n")


def test_media_of_a_result_are_described(run: Run) -> None:
    assert run("tool", "desk/picture").out == "[image image/png 5 bytes]\n"


def test_json_of_a_tool_is_the_reply(run: Run) -> None:
    reply = from_json(Reply, run("tool", "desk/add", "a=1", "b=2", "--json").json())
    assert (reply.text, str(reply.target)) == ("3", "desk/add")


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not text.startswith("@")))
def test_text_arrives_as_it_is(text: str) -> None:
    assert arguments("say", TEXT, [f"text={text}"]) == {"text": text}


@given(st.lists(st.text(max_size=12), max_size=4))
def test_words_are_arguments_or_a_usage_error(words: list[str]) -> None:
    try:
        found = arguments("say", TEXT, words)
    except UsageError:
        return
    assert set(found) <= {word.partition("=")[0].removesuffix(":") for word in words}


# --- call


def test_kinds_of_operations_are_those_of_the_contract() -> None:
    public = [getattr(values, name) for name in values.__all__]
    kinds = [
        each.kind
        for each in public
        if isinstance(each, type) and issubclass(each, Operation) and each is not Operation
    ]
    assert sorted(kinds) == list(OPERATIONS)


def test_vectors_are_printed_one_a_line(run: Run) -> None:
    assert (
        run("call", "desk/vectors", '{"kind": "embedding", "inputs": ["a", "b"]}').out
        == "[1.0, 0.5]\n[1.0, 0.5]\n"
    )


def test_labels_are_a_table(run: Run) -> None:
    lines = run(
        "call", "desk/any", '{"inputs": ["a"]}', "--operation", "classification", "--set", MODELS
    ).lines
    assert [line.split() for line in lines] == [["INPUT", "LABEL", "SCORE"], ["1", "good", "0.7500"]]


MODELS = 'providers.desk.models=["any"]'


def test_structured_data_is_printed_as_json(run: Run) -> None:
    result = run("call", "desk", '{"method": "m"}', "--operation", "invoke", "--principal", "ann")
    assert result.json() == {"method": "m", "principal": "ann"}


def test_operation_comes_from_standard_input(run: Run) -> None:
    assert run("call", "desk", "-", stdin='{"kind": "invoke", "method": "m"}').json()["method"] == "m"


def test_whole_request_may_be_given_and_options_go_before_it() -> None:
    body = {"operation": {"kind": "invoke", "method": "m"}, "principal": "ann", "metadata": {"a": 1}}
    options = parse(["call", "x", json.dumps(body), "--principal", "bob", "--idempotency-key", "k"])
    asked = request(options, body)
    assert (asked.target, asked.principal, asked.idempotency_key, asked.metadata) == (
        "x",
        "bob",
        "k",
        {"a": 1},
    )


def test_stream_of_a_call_is_printed_as_it_comes(run: Run) -> None:
    body = '{"messages": [{"role": "user", "parts": [{"type": "text", "text": "hello"}]}]}'
    result = run("call", "desk/echo", body, "--operation", "chat", "--stream", "--json")
    assert [json.loads(line)["type"] for line in result.lines] == ["started", "text", "text", "finished"]


@pytest.mark.parametrize(
    "body, code, message",
    [
        ("{", 2, "error: JSON is no valid JSON at line 1, column 2: "),
        ("[1]", 2, "error: JSON: expected an object\n"),
        ("{}", 2, "error: JSON: it does not say what kind of operation it is\nhint: add --operation KIND\n"),
        ('{"kind": "dance"}', 5, "error: $.operation.kind: expected one of "),
        ('{"kind": "embedding"}', 5, "error: $.operation.inputs: expected "),
        ("[" * 100000, 2, "error: JSON is nested too deeply\n"),
    ],
    ids=["broken", "list", "no-kind", "unknown-kind", "missing-field", "deep"],
)
def test_what_is_wrong_with_the_json_is_told(run: Run, body: str, code: int, message: str) -> None:
    result = run("call", "desk/vectors", body)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(message)
