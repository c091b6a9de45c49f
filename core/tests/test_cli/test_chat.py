"""`gleitzeit chat`: one question and its answer."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gleitzeit.values import Event, Reply
from gleitzeit.wire.codec import from_json

Run = Callable[..., Any]
ECHO = ("-m", "desk/echo")
ADD = 'call desk/add {"a": 1, "b": 2}'
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


@pytest.fixture(autouse=True)
def _desk(desk: Any) -> None:
    pass


def test_answer_goes_to_standard_output_and_nothing_else_does(run: Run) -> None:
    result = run("chat", *ECHO, "hello you")
    assert (result.code, result.out, result.err) == (0, "hello you\n", "")


@pytest.mark.parametrize("words", [[], ["-"]], ids=["piped", "dash"])
def test_prompt_comes_from_standard_input(run: Run, words: list[str]) -> None:
    assert run("chat", *ECHO, *words, stdin="from afar").out == "from afar\n"


def test_standard_input_is_left_alone_where_a_prompt_is_given(run: Run) -> None:
    assert run("chat", *ECHO, "given", stdin="not read").out == "given\n"


def test_empty_prompt_is_refused_with_the_next_step(run: Run) -> None:
    result = run("chat", *ECHO, stdin=" \n")
    assert result.code == 2
    assert "error: the prompt is empty\nhint: " in result.err


def test_model_called_default_answers_where_none_is_named(desk: Any, run: Run) -> None:
    desk.config('[aliases]\ndefault = "desk/echo"\n')
    assert run("chat", "hello").out == "hello\n"


def test_without_any_default_the_hint_says_how_to_make_one(run: Run) -> None:
    result = run("chat", "hello")
    assert result.code == 2
    assert "[aliases] default =" in result.err


def test_unknown_model_names_those_that_are_near(run: Run) -> None:
    result = run("chat", "-m", "desk/eco", "hello")
    assert result.code == 5
    assert result.err.startswith("error: no model 'desk/eco'\nhint: did you mean desk/echo")


def test_options_reach_the_provider(desk: Any, run: Run) -> None:
    (desk.work / "schema.json").write_text('{"title": "Person", "type": "object"}')
    (desk.work / "a.png").write_bytes(PNG)
    sampling = ["--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "7", "--seed", "3"]
    words = ["--system", "S", "--stop", "A", "--stop", "B", "--reasoning", "low", "--schema", "schema.json"]
    about = ["--image", "a.png", "--principal", "ann", "--private"]
    said = run("chat", *ECHO, "describe", *sampling, *words, *about, "--set", "providers.desk.local=true").out
    assert "[('system', ['text']), ('user', ['image', 'text'])]" in said
    assert "[0.5, 0.9, 7, 3, ('A', 'B'), 'low']" in said
    assert "'title': 'Person'" in said
    assert "name='Person'" in said
    assert said.endswith(" ann private\n")


def test_picture_may_be_an_address(run: Run) -> None:
    said = run("chat", *ECHO, "describe", "--image", "https://example.org/a.png").out
    assert "('user', ['image', 'text'])" in said


def test_what_is_no_picture_is_refused(desk: Any, run: Run) -> None:
    (desk.work / "a.txt").write_text("text")
    result = run("chat", *ECHO, "x", "--image", "a.txt")
    assert (result.code, result.err.splitlines()[0]) == (
        2,
        "error: --image a.txt: this is no PNG, JPEG, GIF, WebP or BMP",
    )


@pytest.mark.parametrize("option", ["--image", "--schema"])
def test_file_that_does_not_exist_is_told(run: Run, option: str) -> None:
    result = run("chat", *ECHO, "x", option, "nowhere")
    assert (result.code, result.err.splitlines()[0]) == (
        2,
        f"error: {option} nowhere: No such file or directory",
    )


@pytest.mark.parametrize("text", ["[1]", "{", "7"])
def test_what_is_no_schema_is_refused(desk: Any, run: Run, text: str) -> None:
    (desk.work / "schema.json").write_text(text)
    assert run("chat", *ECHO, "x", "--schema", "schema.json").code == 2


def test_thinking_is_shown_only_when_asked_for_and_not_on_standard_output(run: Run) -> None:
    assert (result := run("chat", *ECHO, "think")).out == "thought\n"
    assert "hmm" not in result.err
    assert (result := run("chat", *ECHO, "think", "--thinking")).out == "thought\n"
    assert result.err == "hmm\n"


def test_usage_is_shown_when_asked_for(run: Run) -> None:
    assert run("chat", *ECHO, "x", "--usage").err == "tokens: input 3, output 4\n"


def test_usage_that_is_not_reported_is_not_called_zero(run: Run) -> None:
    assert run("chat", *ECHO, "think", "--usage").err == "tokens: not reported\n"


@pytest.mark.parametrize("how", [[], ["--no-stream"]], ids=["stream", "whole"])
def test_answer_that_ended_early_is_told(run: Run, how: list[str]) -> None:
    result = run("chat", *ECHO, "length", *how)
    assert (result.code, result.out) == (0, "cut\n")
    assert result.err == "the answer ended early: length (max_tokens)\n"


def test_error_of_a_provider_gives_its_exit_code_and_hint(run: Run) -> None:
    result = run("chat", *ECHO, "overloaded", "--set", "host.retry.max_retries=0")
    assert (result.code, result.out, result.err) == (7, "", "error: no room\nhint: come back later\n")


def test_what_failed_again_in_the_same_way_is_one_line(run: Run) -> None:
    result = run("chat", *ECHO, "overloaded", "--set", "host.retry.base_delay=0.001")
    said = "error: no room\n  desk/echo failed before, 2 times: no room\nhint: come back later\n"
    assert (result.code, result.err) == (7, said)


def test_what_came_before_a_stream_broke_stays_on_a_line_of_its_own(run: Run) -> None:
    result = run("chat", *ECHO, "break")
    assert (result.code, result.out) == (7, "half an ans\n")
    assert result.err.startswith("error: it broke\nhint: ")


def test_fault_in_a_plugin_is_told_without_a_traceback(run: Run) -> None:
    result = run("chat", *ECHO, "bug")
    assert result.code == 4
    assert "provider 'desk' raised ValueError: a slip" in result.err
    assert "Traceback" not in result.err


def test_debug_shows_the_traceback_as_well(run: Run) -> None:
    result = run("chat", *ECHO, "bug", "--debug")
    assert "Traceback" in result.err
    assert "gleitzeit_plugin_desk" in result.err


def test_warning_of_a_plugin_is_a_note_without_a_traceback(run: Run) -> None:
    assert run("chat", *ECHO, "warn").err == "note: gleitzeit.provider.desk: it is odd\n"
    assert run("chat", *ECHO, "warn", "-q").err == ""


def test_debug_shows_the_log(run: Run) -> None:
    err = run("chat", *ECHO, "warn", "--debug").err
    assert "DEBUG gleitzeit.provider.desk: a detail" in err
    assert "ValueError: a slip" in err


def test_targets_that_failed_before_are_told(desk: Any, run: Run) -> None:
    desk.config('[providers.one]\nplugin = "desk"\n[routes.best]\ntargets = ["one/echo", "gone/x"]\n')
    result = run("chat", "-m", "best", "overloaded")
    assert result.code == 7
    assert "gone/x failed before: " in result.err


def test_time_that_is_over_is_an_error(run: Run) -> None:
    result = run("chat", *ECHO, "hang", "--timeout", "0.2")
    assert (result.code, result.out) == (10, "started\n")


def test_json_of_a_stream_is_a_line_an_event_in_the_form_of_the_codec(run: Run) -> None:
    result = run("chat", *ECHO, "hello", "--json")
    events = [from_json(Event, json.loads(line)) for line in result.lines]
    assert [event.type for event in events] == ["started", "text", "text", "finished"]
    assert "".join(event.text for event in events if event.type == "text") == "hello"
    assert result.err == ""


def test_json_without_streaming_is_one_reply(run: Run) -> None:
    reply = from_json(Reply, run("chat", *ECHO, "hello", "--json", "--no-stream").json())
    assert (reply.text, str(reply.target)) == ("hello", "desk/echo")


def test_json_of_an_error_is_an_object_on_standard_error(run: Run) -> None:
    result = run("chat", "-m", "desk/eco", "hello", "--json")
    error = json.loads(result.err)["error"]
    assert (result.code, result.out) == (5, "")
    assert (error["code"], error["near"][0], error["exit_code"]) == ("unknown_model", "desk/echo", 5)


def test_tool_that_is_asked_for_but_not_offered_is_only_told(run: Run) -> None:
    result = run("chat", *ECHO, ADD)
    assert (result.out, result.err) == ("", 'the model asks for desk/add {"a": 1, "b": 2}\n')


@pytest.mark.parametrize("how", [[], ["--no-stream"]], ids=["stream", "whole"])
def test_model_uses_tools_that_are_allowed(run: Run, how: list[str]) -> None:
    result = run("chat", *ECHO, ADD, "--tool", "desk/*", "--approve", "always", *how)
    assert (result.code, result.out) == (0, "the tool said: 3\n")
    assert result.err.splitlines()[-1] == "← desk/add: 3"


def test_tool_call_is_told_before_its_result(run: Run) -> None:
    result = run("chat", *ECHO, ADD, "--tool", "desk/add", "--approve", "always")
    assert result.err == '→ desk/add {"a": 1, "b": 2}\n← desk/add: 3\n'


def test_quiet_leaves_only_the_answer(run: Run) -> None:
    result = run("chat", *ECHO, ADD, "--tool", "desk/add", "--approve", "always", "-q", "--usage")
    assert (result.out, result.err) == ("the tool said: 3\n", "")


def test_without_a_terminal_tools_are_denied(run: Run) -> None:
    result = run("chat", *ECHO, ADD, "--tool", "desk/*")
    assert "the call was denied" in result.out
    assert "--approve always lets tools run" in result.err


@pytest.mark.parametrize("word", ["never", "ask"])
def test_tools_are_denied_where_nobody_allows_them(run: Run, word: str) -> None:
    assert "the call was denied" in run("chat", *ECHO, ADD, "--tool", "desk/*", "--approve", word).out


def test_result_of_a_tool_that_failed_is_marked(run: Run) -> None:
    result = run("chat", *ECHO, "call desk/fail", "--tool", "desk/fail", "--approve", "always")
    assert "✗ desk/fail: it is broken" in result.err


def test_turns_that_run_out_are_told(run: Run) -> None:
    result = run("chat", *ECHO, ADD, "--tool", "desk/*", "--approve", "always", "--max-turns", "1")
    assert result.code == 0
    assert "--max-turns allows more" in result.err


def test_json_of_a_conversation_tells_tools_turns_and_ending(run: Run) -> None:
    result = run("chat", *ECHO, ADD, "--tool", "desk/*", "--approve", "always", "--json")
    lines = [json.loads(line) for line in result.lines]
    assert [line["type"] for line in lines] == [
        *("started", "part", "finished", "turn_ended", "tool_started", "tool_ended"),
        *("started", "text", "finished", "turn_ended", "ending"),
    ]
    assert (lines[-1]["stopped"], lines[-1]["turns"], lines[-1]["usage"]) == (
        "answered",
        2,
        {"input": 6, "output": 8},
    )
    assert result.err == ""


def test_json_of_a_whole_conversation_is_its_ending(run: Run) -> None:
    ending = run(
        "chat", *ECHO, ADD, "--tool", "desk/*", "--approve", "always", "--json", "--no-stream"
    ).json()
    assert [message["role"] for message in ending["messages"]] == ["user", "assistant", "tool", "assistant"]


def test_unknown_tool_is_an_error_before_the_model_is_asked(run: Run) -> None:
    result = run("chat", *ECHO, "hello", "--tool", "desk/ad", "--approve", "always")
    assert (result.code, result.out) == (5, "")
    assert "did you mean desk/add" in result.err


def test_scripted_model_answers(run: Run) -> None:
    pytest.importorskip("gleitzeit_plugin_scripted")
    result = run("chat", "-m", "scripted/hello", "hi", "--usage")
    assert result.out.startswith("Hello! I am a scripted model")
    assert result.err.startswith("tokens: input ")
