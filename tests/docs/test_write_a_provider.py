"""The provider of the README is a whole package: built, installed beside the core alone, listed, asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks

README = ROOT / "README.md"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with what the core depends on, and with wheels of the core and of the provider."""
    place = tmp_path_factory.mktemp("provider")
    package, wheels, env = place / "package", place / "wheels", place / "env"
    package.mkdir()
    for block in blocks(README):
        name = block.notes.get("file", "")
        if name.startswith("gleitzeit-plugin-shout/"):
            (package / Path(name).name).write_text(block.text, encoding="utf-8")
    assert sorted(path.name for path in package.iterdir()) == ["gleitzeit_plugin_shout.py", "pyproject.toml"]
    for source in (ROOT / "core", package):
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source))
    run(sys.executable, "-m", "venv", "--without-pip", str(env))
    link_dependencies(env)
    pip(env, "install", "--no-index", "--find-links", str(wheels), "gleitzeit-plugin-shout")
    return env


def pip(env: Path, *arguments: str) -> None:
    """Use the pip of this environment on another, which has none."""
    run(sys.executable, "-m", "pip", "--python", str(env / "bin/python"), *arguments)


def run(*command: str, cwd: Path | None = None) -> str:
    """What the command prints; its errors are shown if it fails."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "GLEIT"))
    }
    kept |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": os.devnull}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def link_dependencies(env: Path) -> None:
    """Put what the core depends on into the environment: links to what is installed here, no more."""
    (site,) = env.glob("lib/python*/site-packages")
    for needed in closure("gleitzeit"):
        for name in top_level(needed):
            link = site / name
            if not link.exists():
                link.symlink_to(Path(str(needed.locate_file(name))))


def closure(name: str) -> Iterator[Distribution]:
    """Every distribution that the named one needs, itself left out, without extras."""
    from packaging.requirements import Requirement

    seen, waiting = {name}, [name]
    while waiting:
        for text in distribution(waiting.pop()).requires or ():
            requirement = Requirement(text)
            wanted = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if wanted in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            seen.add(wanted)
            waiting.append(wanted)
            yield distribution(wanted)


def top_level(found: Distribution) -> set[str]:
    """The first parts of the paths of its files, less commands."""
    return {path.parts[0] for path in found.files or () if path.parts[0] not in ("..", "__pycache__")}


@pytest.mark.feature("S002-24")
def test_the_provider_is_about_twenty_lines() -> None:
    (code,) = (
        b.text for b in blocks(README) if b.notes.get("file", "").endswith("gleitzeit_plugin_shout.py")
    )
    assert len([line for line in code.splitlines() if line.strip()]) <= 22


def test_it_is_installed_where_nothing_else_is(environment: Path) -> None:
    listed = json.loads(run(str(environment / "bin/gleitzeit"), "plugins", "--json"))["plugins"]
    assert [(row["plugin"], row["kind"], row["distribution"], row["state"]) for row in listed] == [
        ("shout", "provider", "gleitzeit-plugin-shout", "discovered")
    ]


def test_the_core_comes_from_its_wheel(environment: Path) -> None:
    where = run(str(environment / "bin/python"), "-c", "import gleitzeit; print(gleitzeit.__file__)")
    assert Path(where.strip()).is_relative_to(environment)


@pytest.mark.feature("S002-24", "S002-25")
def test_it_answers_a_chat(environment: Path) -> None:
    said = run(str(environment / "bin/gleitzeit"), "chat", "-m", "shout/loud", "--no-stream", "is it you?")
    assert said == "IS IT YOU?\n"


def test_it_streams(environment: Path) -> None:
    said = run(str(environment / "bin/gleitzeit"), "--json", "chat", "-m", "shout/loud", "is it you?")
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["text"].strip() for event in events if event.get("type") == "text"] == ["IS", "IT", "YOU?"]


def test_its_model_is_listed_by_asking(environment: Path) -> None:
    names = run(str(environment / "bin/gleitzeit"), "models", "--live", "--names")
    assert names.split() == ["shout/loud"]


def test_the_core_needs_nothing_but_what_it_declares(environment: Path) -> None:
    modules = run(
        str(environment / "bin/python"),
        "-c",
        "import pkgutil, gleitzeit\n"
        "for m in pkgutil.walk_packages(gleitzeit.__path__, 'gleitzeit.'):\n"
        "    if not m.name.startswith('gleitzeit.testing') and '__main__' not in m.name:\n"
        "        __import__(m.name); print(m.name)",
    )
    assert len(modules.split()) > 50


@pytest.mark.feature("S002-30")
def test_it_can_be_configured_and_once_uninstalled_is_a_clear_error(
    environment: Path, tmp_path: Path
) -> None:
    """Runs last: it takes the provider out of the environment."""
    (tmp_path / "gleitzeit.toml").write_text('[providers.megaphone]\nplugin = "shout"\n', encoding="utf-8")
    command = (str(environment / "bin/gleitzeit"), "chat", "-m", "megaphone/loud", "--no-stream", "hello")
    assert run(*command, cwd=tmp_path) == "HELLO\n"
    pip(environment, "uninstall", "--yes", "gleitzeit-plugin-shout")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "no provider plugin 'shout' is installed" in done.stderr
    assert "pip install gleitzeit-plugin-shout" in done.stderr
