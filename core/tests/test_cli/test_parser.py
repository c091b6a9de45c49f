"""What the command line understands."""

from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.cli import main
from gleitzeit.cli.parser import build, commands, parse
from gleitzeit.errors import UsageError

WORDS = sorted(
    {
        word
        for path, parser in commands(build())
        for a in parser._actions
        for word in (*a.option_strings, *path)
    }
)


@pytest.mark.parametrize(
    "words, message, hint",
    [
        (["modles"], "unknown command 'modles'", "did you mean 'models'"),
        (["config", "shwo"], "unknown command 'shwo'", "did you mean 'show'"),
        (["chat", "--modle"], "unknown argument '--modle'", "did you mean '--model'"),
        (["chat", "--mod", "x"], "unknown argument '--mod'", "--model"),
        (["plugins", "extra"], "unknown argument 'extra'", "gleitzeit plugins --help"),
        (
            ["chat", "--max-turns", "x"],
            "argument --max-turns: invalid int value: 'x'",
            "gleitzeit chat --help",
        ),
        (["chat", "--timeout", "nan"], "argument --timeout: nan is no time that a call may take", "--help"),
        (["chat", "--timeout", "0"], "argument --timeout: 0 is no time that a call may take", "--help"),
        (["chat", "--timeout", "x"], "argument --timeout: x is no time that a call may take", "--help"),
        (["chat", "--approve", "maybe"], "unknown WHEN 'maybe'", "one of: ask, always, never"),
        (["tool"], "the following arguments are required: NAME", "gleitzeit tool --help"),
        ([], "no command given", "plugins, models, tools"),
        (["config"], "no command given", "one of show, schema"),
    ],
)
def test_what_is_wrong_is_told_with_the_next_step(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert caught.value.message == message
    assert hint in (caught.value.hint or "")


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=6))
def test_any_words_are_understood_refused_or_answered_with_help(words: list[str]) -> None:
    hints: list[object] = []
    ends: list[object] = []
    try:
        options = parse(words)
    except UsageError as error:
        hints.append(error.hint)
    except SystemExit as end:
        ends.append(end.code)
    else:
        assert options.version or options.run
    assert all(hints)
    assert not any(ends)


@pytest.mark.parametrize(
    "path, parser", [(path, parser) for path, parser in commands(build()) if parser.get_default("run")]
)
def test_every_command_has_its_function(path: tuple[str, ...], parser: object) -> None:
    module, _, function = dict(commands(build()))[path].get_default("run").partition(":")
    assert callable(getattr(import_module(f"gleitzeit.cli.{module}"), function))


@pytest.mark.parametrize("path", [path for path, _ in commands(build())], ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: gleitzeit", *path]))
    assert "--json" in out


def test_version_says_all_that_a_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gleitzeit 0")
    assert main(["--version", "--json"]) == 0
    assert '"api_version": "1.0"' in capsys.readouterr().out


def test_error_of_a_command_line_that_cannot_be_read_is_json_if_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["modles", "--json"]) == 2
    assert capsys.readouterr().err.startswith('{"error": {"code": "usage"')
