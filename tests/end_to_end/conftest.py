"""All first-party plugins together, as an application and as somebody at a shell hold them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gleitzeit import Host
from gleitzeit.discovery import scan
from gleitzeit.testing.openai_server import Answer, OpenAIServer, Rule, Script

#: Every model of the OpenAI-shaped server, most of them named for what goes wrong with it.
HALF: bytes = b'{"id": "x", "choices": [{"index": 0, "message": {"role": "assi'
MODELS: Mapping[str, Answer] = {
    "good": Answer("all is well with {user}"),
    "slow": Answer("one two three four five six seven eight nine ten", delay=0.05),
    "silent": Answer("never", fault="stall"),
    "halting": Answer("one two three four five", fault="stall", after=3),
    "reset": Answer("never", fault="reset"),
    "reset-midway": Answer("one two three four five", fault="reset", after=3),
    "closes": Answer("never", fault="close"),
    "garbage": Answer("never", fault="garbage"),
    "half": Answer(body=HALF),
    "not-json": Answer(body=b"<html>it works</html>"),
    "cut": Answer("one two three four five", fault="cut", after=3, done=False),
    "busy": Answer.error(429, "slow down", code="rate_limit_exceeded", type="requests"),
    "broke": Answer.error(429, "pay first", code="insufficient_quota", type="insufficient_quota"),
    "broken": Answer.error(500, "it burns", type="server_error"),
    "error-in-stream": Answer(
        frames=(
            {"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": "one "}}]},
            {"error": {"message": "it burns midway", "type": "server_error", "code": None}},
        ),
        done=False,
    ),
}


def _rules(answer: Answer) -> tuple[Rule, ...]:
    return (Rule(answer),)


SCRIPT = Script(
    {
        **{name: _rules(answer) for name, answer in MODELS.items()},
        "tools": (
            Rule(Answer("the tool said {result}"), turn="tool"),
            Rule(Answer(calls="auto"), turn="user"),
        ),
        "vectors": (),
    }
)

CONFIG = """
[host]
timeout = 20.0
drain_timeout = 2.0
retry.base_delay = 0.01

[providers.scripted]

[providers.wire]
plugin = "openai"
base_url = "${WIRE}"
api_key = "sk-end-to-end"

[providers.nobody]
plugin = "openai"
base_url = "http://127.0.0.1:9/v1"
local = false

[providers.remote]
plugin = "openai"
base_url = "${WIRE}"
local = false

[servers.time]
command = "${PYTHON}"
args = ["-m", "mcp_server_time", "--local-timezone", "UTC"]
sandbox = "none"

[servers.git]
command = "${PYTHON}"
args = ["-m", "mcp_server_git", "--repository", "."]
cwd = "${REPOSITORY}"
sandbox = "none"

[plugins.limits]
deny_tools = ["git/git_commit"]
max_bytes = 100_000

[routes.careful]
targets = ["nobody/m", "wire/broken", "scripted/echo"]

[routes.diary]
targets = ["remote/good", "scripted/echo"]

[routes.lost]
targets = ["scripted/broken", "remote/good"]

[aliases]
default = "scripted/echo"
"""


@dataclass
class Ended:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> dict[str, Any]:
        """The error of a command with --json."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        return found


@dataclass
class Place:
    """A folder with a gleitzeit.toml, and the environment that goes with it."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        """A file of this text, less its common indent."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
        return path

    def host(self, config: str | None = None, **more: Any) -> Host:
        """A host on gleitzeit.toml, which is written anew if `config` is given."""
        path = self.write("gleitzeit.toml", CONFIG if config is None else config)
        scan.cache_clear()
        return Host(path, environ=self.environ, index=scan([str(self.folder / "site"), *sys.path]), **more)

    def run(self, *arguments: str, config: str | None = None, **environ: str) -> Ended:
        """`gleitzeit ARGUMENTS` in the folder."""
        self.write("gleitzeit.toml", CONFIG if config is None else config)
        kept = {
            name: os.environ[name]
            for name in ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
            if name in os.environ
        }
        paths = [str(self.folder / "site"), *filter(None, [kept.get("PYTHONPATH")])]
        env = {
            **kept,
            **self.environ,
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join(paths),
            **environ,
        }
        done = subprocess.run(
            [sys.executable, "-m", "gleitzeit.cli", *arguments],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def install(
        self, name: str, code: str, *, kind: str = "providers", distribution: str = "", **manifest: Any
    ) -> str:
        """Install a plugin, the class `Plugin` in `code`, as pip would leave it; gives its module's name."""
        distribution = distribution or f"acme-{name}"
        module = f"acme_{name}_{distribution}".replace("-", "_")
        site = self.folder / "site"
        info = f"{distribution.replace('-', '_')}-1.0.dist-info"
        self.write(f"site/{module}/__init__.py", code)
        self.write(f"site/{info}/METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        points = f"[gleitzeit.{kind}]\n{name} = {module}:Plugin\n"
        if manifest:
            kinds = {"providers": "provider", "plugins": "plain"}
            data = {"name": name, "kind": kinds[kind], **manifest}
            (site / module / "gleitzeit.json").write_text(json.dumps(data), encoding="utf-8")
            points += f"[gleitzeit.manifest]\n{name} = {module}:gleitzeit.json\n"
        (site / info / "entry_points.txt").write_text(points, encoding="utf-8")
        return module


@pytest.fixture
async def upstream() -> AsyncIterator[OpenAIServer]:
    """An OpenAI-shaped server in this process, whose requests a test can look at."""
    async with OpenAIServer(SCRIPT) as server:
        yield server


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[str]:
    """The base URL of the same server in another process, for commands."""
    program = (
        "import asyncio, sys\n"
        "from gleitzeit.testing.openai_server import OpenAIServer\n"
        "from tests.end_to_end.conftest import SCRIPT\n"
        "async def main():\n"
        "    async with OpenAIServer(SCRIPT) as server:\n"
        "        print(server.url, flush=True)\n"
        "        await asyncio.to_thread(sys.stdin.read)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A folder with a repository and no upstream."""
    folder = tmp_path / "place"
    (folder / "site").mkdir(parents=True)
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet", "--template=")
    (repository / "note.txt").write_text("a note\n")
    git(repository, "add", "note.txt")
    git(repository, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", "Add a note")
    monkeypatch.syspath_prepend(str(folder / "site"))
    before = set(sys.modules)
    variables = {"PYTHON": sys.executable, "REPOSITORY": str(repository), "WIRE": "http://127.0.0.1:9/v1"}
    yield Place(folder, variables)
    for name in set(sys.modules) - before:
        if name.startswith("acme_"):
            del sys.modules[name]


def git(folder: Path, *arguments: str) -> None:
    """Run git without anybody's configuration or identity."""
    who = {
        f"GIT_{role}_{what}": f"e2e@{role}.invalid"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **who}
    subprocess.run(["git", "-C", str(folder), *arguments], env=env, check=True)


@pytest.fixture
def host(place: Place, upstream: OpenAIServer) -> Callable[..., Host]:
    """Makes hosts on the whole configuration, with the server in this process."""
    place.environ["WIRE"] = upstream.url
    return place.host
