"""Runs the blocks of a page in order, in a folder and an environment of their own.

Python blocks of a page share one namespace, as a reader's session would. Commands run as they stand:
`gleitzeit` in this process, anything else in a shell. What needs a package index is checked for names
that exist here.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gleitzeit.cli import main as gleitzeit
from gleitzeit.config import load, validate
from gleitzeit.discovery import SECTIONS, scan
from gleitzeit.errors import GleitzeitError
from tests.docs.pages import ROOT, Block

__all__ = ["Workshop", "matches", "packages"]

_INSTALL = re.compile(r"(?:python -m )?pip install (?P<names>.+)")
_SESSION = re.compile(r"python noxfile\.py (?P<session>\S+)(?: -- .*)?")
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")
_VARIABLE = re.compile(r"\$\{(\w+)\}|secret://env/(\w+)")


def packages() -> dict[str, Path]:
    """Folders of the packages of this repository by the names of their distributions."""
    found = {}
    for path in (ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/*/pyproject.toml")):
        found[tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]] = path.parent
    return found


def matches(shown: str, printed: str) -> bool:
    """Is this what was printed? `…` stands for anything, white space at the ends of lines for nothing."""

    def lines(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip().splitlines())

    pattern = ".*".join(re.escape(piece) for piece in lines(shown).split("…"))
    return re.fullmatch(pattern, lines(printed), re.S) is not None


class Workshop:
    """The place where the blocks of one page run."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.printed: str | None = None
        self._patch = patch
        self._space: dict[str, Any] = {"__name__": "__main__"}
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        for name, value in {
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / ".config"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": str(folder),
        }.items():
            patch.setenv(name, value)
        patch.delenv("COLUMNS", raising=False)

    def run(self, block: Block) -> None:
        """Run a block; raises `PageError` with its place."""
        if "not run" in block.notes:
            return
        for found in _VARIABLE.finditer(block.text):
            name = found[1] or found[2]
            if name not in os.environ and name != "GLEITZEIT_CONFIG_DIR":
                self._patch.setenv(name, "example")
        if "output" in block.notes:
            if not matches(block.text, self.printed or ""):
                raise block.error(f"the block before prints something else:\n{self.printed}")
            return
        if "file" in block.notes:
            path = self.folder / block.notes["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        try:
            getattr(self, f"_{block.language}")(block)
        except (AssertionError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise block.error(f"{type(error).__name__}: {error}") from error

    def _text(self, block: Block) -> None:
        """Nothing to run."""

    def _json(self, block: Block) -> None:
        json.loads(block.text)

    def _python(self, block: Block) -> None:
        # As many empty lines before it as in the page, so that a traceback shows the page's line.
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, self._space)
        self.printed = out.getvalue()

    def _toml(self, block: Block) -> None:
        data = tomllib.loads(block.text)
        if {"project", "build-system"} & data.keys():
            self._check_project(block, data)
        elif "models" in data:
            self._check_script(block)
        else:
            self._check_config(block)

    def _check_project(self, block: Block, data: Mapping[str, Any]) -> None:
        known = {f"gleitzeit.{section}" for section in SECTIONS} | {"gleitzeit.manifest"}
        for group in data.get("project", {}).get("entry-points", {}):
            if group not in known:
                raise block.error(f"the entry-point group {group!r} does not exist")

    def _check_script(self, block: Block) -> None:
        from gleitzeit_plugin_scripted.script import parse

        parse(block.text, f"{block.place}.toml")

    def _check_config(self, block: Block) -> None:
        """It loads, with each of its profiles, and every instance fits its plugin."""
        path = self.folder / block.notes.get("file", ".block.toml")
        path.write_text(block.text, encoding="utf-8")
        for profile in (None, *tomllib.loads(block.text).get("profiles", {})):
            index = scan()
            for instance in load(path, profile=profile, index=index).instances:
                if instance.problem is not None:
                    raise block.error(instance.problem)
                plugin = index.find(instance.kind, instance.plugin).load()
                validate(getattr(plugin, "Config", None), instance, instance.values)

    def _console(self, block: Block) -> None:
        for command, shown in _commands(block):
            printed, code = self._command(block, command.partition("  #")[0].rstrip())
            if shown.strip() and not matches(shown, printed):
                raise block.error(f"`{command}` prints:\n{printed}")
            if code and "error:" not in shown:
                raise block.error(f"`{command}` ends with {code}:\n{printed}")
            self.printed = printed

    def _command(self, block: Block, command: str) -> tuple[str, int]:
        install, session = _INSTALL.fullmatch(command), _SESSION.fullmatch(command)
        if install:
            self._check_names(block, install["names"])
            return "", 0
        if session:
            if session["session"] not in _sessions():
                raise block.error(f"noxfile.py has no session {session['session']!r}")
            return "", 0
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            for word in words[1:]:
                self._patch.setenv(*word.split("=", 1))
            return "", 0
        if words[0] == "gleitzeit" and not set("|><;&") & set(command):
            return self._in_process(words[1:])
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr, done.returncode

    def _in_process(self, words: list[str]) -> tuple[str, int]:
        scan.cache_clear()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _no_input():
            code = gleitzeit(words)
        return out.getvalue() + err.getvalue(), code

    def _check_names(self, block: Block, names: str) -> None:
        ours = packages()
        for word in shlex.split(names, comments=True):
            found = _REQUIREMENT.match(word)
            name = found[0] if found else word
            if (
                name.startswith("gleitzeit")
                and name not in ours
                and not list(self.folder.rglob("pyproject.toml"))
            ):
                raise block.error(f"no package of this repository is called {name!r}")


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    """(command, what it is shown to print); a block that only installs needs no prompts."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    if all(_INSTALL.fullmatch(line) or not line.strip() for line in lines):
        lines = [f"$ {line}" for line in lines if line.strip()]
    if not lines or not lines[0].startswith("$ "):
        raise block.error("write `$ ` before each command")
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start].removeprefix("$ ").strip(), "\n".join(lines[start + 1 : end])


def _sessions() -> set[str]:
    """The sessions of noxfile.py: its decorated functions."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}


@contextlib.contextmanager
def _no_input() -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    except GleitzeitError as error:
        raise AssertionError(f"the command line let an error through: {error!r}") from error
    finally:
        sys.stdin = before
