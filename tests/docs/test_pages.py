"""Every block of every page runs, and does what the page says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, PageError, blocks, pages
from tests.docs.workshop import Workshop, matches

#: What the reader of a page is taken to have: a reference does not say again how to configure a server.
AT_HAND = {
    "docs/reference/cli.md": """
[servers.git]
command = "python"
args = ["-m", "mcp_server_git"]
sandbox = "none"
"""
}


@pytest.mark.feature("S002-25")
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_page_runs(page: Path, workshop: Workshop) -> None:
    settings = AT_HAND.get(str(page.relative_to(ROOT)))
    if settings is not None:
        (workshop.folder / "gleitzeit.toml").write_text(settings, encoding="utf-8")
        subprocess.run(["git", "init", "--quiet", "--template=", workshop.folder], check=True)
    for block in blocks(page):
        workshop.run(block)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def run(page: Path, text: str, workshop: Workshop) -> None:
    page.write_text(text, encoding="utf-8")
    for block in blocks(page):
        workshop.run(block)


@pytest.mark.parametrize(
    "text, line, what",
    [
        ("text\n```python\nx = 1\n", 3, "not closed"),
        ("```\nx = 1\n```\n", 2, "no language"),
        ("```ruby\nx = 1\n```\n", 2, "'ruby'"),
        ("<!-- file -->\n```python\nx = 1\n```\n", 1, "says nothing"),
        ("\n<!-- skip: no time -->\n```python\nx = 1\n```\n", 2, "unknown note 'skip'"),
        ("a\n\n```python\nx = 1\nraise ValueError('no')\n```\n", 4, "ValueError: no"),
        ("```toml\n[host]\ntimeout = 'long'\n```\n", 2, "expected a number"),
        ("```toml\n[plugins.limits]\nmax_byte = 1\n```\n", 2, "no such key"),
        ("```toml\n[project.entry-points.'gleitzeit.provider']\na = 'a:A'\n```\n", 2, "'gleitzeit.provider'"),
        ("```toml\n[models.m]\nrule = []\n```\n", 2, "models.m.rule"),
        ("```json\n{\n```\n", 2, "Expecting property name"),
        ("```console\ngleitzeit plugins\n```\n", 2, "before each command"),
        ("```console\n$ gleitzeit plugin\n```\n", 2, "ends with 2"),
        ("```console\n$ gleitzeit --version\ngleitzeit 77.0\n```\n", 2, "prints"),
        ("```console\npip install gleitzeit-plugin-nobody\n```\n", 2, "gleitzeit-plugin-nobody"),
        ("```console\n$ python noxfile.py nothing\n```\n", 2, "'nothing'"),
        ("```python\nprint('a')\n```\n<!-- output -->\n```text\nb\n```\n", 6, "prints something else"),
    ],
)
def test_a_fault_is_told_with_its_file_and_line(
    page: Path, text: str, line: int, what: str, workshop: Workshop
) -> None:
    with pytest.raises(PageError) as raised:
        run(page, text, workshop)
    assert f"{page}:{line}: " in str(raised.value)
    assert what in str(raised.value)


def test_blocks_share_a_namespace_and_files_are_written(page: Path, workshop: Workshop) -> None:
    text = """
<!-- file: words.py -->
```python
WORD = "hello"
```

* a list:

  ```python
  from words import WORD
  print(WORD)
  ```

<!-- output -->
```text
hel…
```

<!-- not run: it never ends -->
```python
while True: pass
```
"""
    run(page, text, workshop)
    assert workshop.printed == "hello\n"


def test_commands_are_run_and_their_output_compared(page: Path, workshop: Workshop) -> None:
    text = """
```console
$ gleitzeit chat -m scripted/echo "two \\
  lines"
two lines
$ gleitzeit chat -m scripted/nobody hi
error: no model 'scripted/nobody'
…
$ python -c 'print(1)' | cat
1
$ pip install gleitzeit gleitzeit-plugin-openai
```
"""
    run(page, text, workshop)


@pytest.mark.parametrize(
    "shown, printed, fits",
    [
        ("a", "a\n", True),
        ("a … c", "a b\nb c", True),
        ("a…", "b a", False),
        ("a.c", "abc", False),
        ("a\nb", "a   \nb\n\n", True),
    ],
)
def test_output_is_compared_as_it_is_shown(shown: str, printed: str, fits: bool) -> None:
    assert matches(shown, printed) is fits


def test_every_package_has_a_page() -> None:
    found = {page.parent for page in pages()}
    assert {path.parent for path in ROOT.glob("*/*/*/pyproject.toml")} <= found
    assert ROOT in found


def test_every_block_that_does_not_run_says_why() -> None:
    unrun: list[Block] = [block for page in pages() for block in blocks(page) if "not run" in block.notes]
    short = [block.place for block in unrun if len(block.notes["not run"].split()) < 4]
    assert short == []
