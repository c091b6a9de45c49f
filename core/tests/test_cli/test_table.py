"""Tables, colours, and what may reach a terminal."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.cli.output import Output, plain
from gleitzeit.cli.table import GAP, Column, clean, cut, layout, width

cells = st.text(max_size=30)
tables = st.integers(1, 5).flatmap(
    lambda count: st.tuples(
        st.lists(
            st.builds(
                Column,
                st.text("ABC", min_size=1, max_size=9),
                st.integers(0, 9),
                st.booleans(),
                st.integers(1, 30),
            ),
            min_size=count,
            max_size=count,
        ),
        st.lists(st.tuples(*[cells] * count), max_size=4),
    )
)


@given(tables, st.integers(20, 120))
def test_no_line_is_wider_than_the_terminal(
    table: tuple[list[Column], list[tuple[str, ...]]], room: int
) -> None:
    for line in layout(*table, room):
        assert width((" " * GAP).join(line)) <= room


@given(tables)
def test_nothing_is_cut_where_there_is_room(table: tuple[list[Column], list[tuple[str, ...]]]) -> None:
    columns, rows = table
    shown = [at for at in range(len(columns)) if any(clean(row[at]) for row in rows)]
    _, *body = layout(columns, rows, None)
    assert [[cell.strip() for cell in line] for line in body] == [
        [clean(row[at]).strip() for at in shown] for row in rows
    ]


@given(tables, st.integers(20, 120))
def test_cells_of_a_column_are_equally_wide(
    table: tuple[list[Column], list[tuple[str, ...]]], room: int
) -> None:
    for column in list(zip(*layout(*table, room), strict=True))[:-1]:
        assert len({width(cell) for cell in column}) == 1


@given(st.text(), st.integers(1, 30))
def test_cut_text_is_no_wider_than_it_may_be(text: str, room: int) -> None:
    assert width(cut(text, room)) <= room


@given(st.text())
def test_cells_cannot_control_a_terminal(text: str) -> None:
    assert clean(text).isprintable()


@given(st.text())
def test_text_for_a_terminal_keeps_lines_and_loses_controls(text: str) -> None:
    shown = plain(text)
    assert shown.count("\n") == text.count("\n")
    assert not [c for c in shown if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]


def test_least_important_column_is_cut_first() -> None:
    columns = [Column("NAME", 9), Column("ABOUT", 1), Column("STATE", 5)]
    _, row = layout(columns, [("a" * 20, "b" * 20, "c" * 20)], 60)
    assert [cell.strip() for cell in row] == ["a" * 20, "b" * 15 + "…", "c" * 20]


def test_column_that_would_tell_nothing_is_left_out() -> None:
    columns = [Column("NAME", 9), Column("ABOUT", 1, least=12), Column("STATE", 5)]
    heading, row = layout(columns, [("a" * 20, "b" * 20, "c" * 8)], 31)
    assert [cell.strip() for cell in heading] == ["NAME", "STATE"]
    assert [cell.strip() for cell in row] == ["a" * 20, "c" * 8]


def test_wide_characters_take_two_cells() -> None:
    assert [width(text) for text in ("abc", "日本", "e\u0301", "é")] == [3, 4, 1, 1]
    assert cut("日本語", 5) == "日本…"


def test_column_without_any_text_is_left_out() -> None:
    assert layout([Column("A"), Column("B")], [("", "x")], None) == [["B"], ["x"]]


def test_columns_variable_narrows_a_table(desk: Any, process: Callable[..., Any]) -> None:
    lines = process("models", env={"COLUMNS": "40"}).stdout.splitlines()
    assert max(map(width, lines)) <= 40
    assert any(line.endswith("…") for line in lines)


def test_pipe_gets_whole_lines_without_colours(desk: Any, process: Callable[..., Any]) -> None:
    out = process("plugins").stdout
    assert "\x1b" not in out
    assert "Does as it is told." in out


def test_terminal_gets_colours(desk: Any, terminal: Callable[..., Any]) -> None:
    shown = terminal("plugins")
    assert shown.wait() == 0
    assert "\x1b[1m" in shown.seen


@pytest.mark.parametrize("how", ["option", "variable", "dumb"])
def test_colours_can_be_switched_off(desk: Any, terminal: Callable[..., Any], how: str) -> None:
    words = ["--no-color"] if how == "option" else []
    shown = terminal(
        "plugins", *words, env={"variable": {"NO_COLOR": "1"}, "dumb": {"TERM": "dumb"}}.get(how)
    )
    assert shown.wait() == 0
    assert "\x1b" not in shown.seen


def test_model_cannot_control_the_terminal(desk: Any, terminal: Callable[..., Any]) -> None:
    shown = terminal("chat", "-m", "desk/echo", "control", "--no-color")
    assert shown.wait() == 0
    assert shown.seen.strip() == "a]0;titleb"


def test_pipe_gets_the_answer_as_it_is(desk: Any, process: Callable[..., Any]) -> None:
    assert process("chat", "-m", "desk/echo", "control").stdout == "a\x1b]0;title\x07b\n"


def test_output_that_cannot_show_a_character_does_not_fail(desk: Any, process: Callable[..., Any]) -> None:
    done = process("chat", "-m", "desk/echo", "schön 日本", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "sch\\xf6n \\u65e5\\u672c\n")
    assert "~" in process("models", env={"PYTHONIOENCODING": "ascii", "COLUMNS": "40"}).stdout


def test_quiet_keeps_errors(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(quiet=True)
    output.note("a note")
    output.failure("it failed", "do this", {})
    assert capsys.readouterr().err == "error: it failed\nhint: do this\n"
