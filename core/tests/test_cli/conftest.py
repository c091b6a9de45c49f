"""Plugins that are installed by nothing but files, and command lines run here or in their own processes."""

import json
import os
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gleitzeit.cli import main
from gleitzeit.discovery import scan

DESK = '''
"""A provider for tests: models that do as they are told, and tools of every sort."""

import asyncio
import os
import sys

from gleitzeit.errors import OverloadedError
from gleitzeit.plugin import Provider
from gleitzeit.values import (
    Chat, Elicitation, Embedding, FilePart, Finished, Health, ImagePart, Label, Message, Model, PartDone,
    Progress, Prompt, PromptArgument, Reply, Resource, Started, Stream, TextDelta, TextPart, ThinkingDelta,
    Tool, ToolCallPart, Usage, UsageUpdate,
)

NUMBER = {"type": "integer"}
TOOLS = {
    "add": Tool("add", description="adds two numbers", input_schema={
        "type": "object", "properties": {"a": NUMBER, "b": {"$ref": "#/$defs/b"}}, "required": ["a", "b"],
        "additionalProperties": False, "$defs": {"b": NUMBER}}),
    "show": Tool("show", description="shows its arguments", input_schema={
        "type": "object", "properties": {
            "text": {"type": "string"}, "flag": {"type": "boolean"}, "ratio": {"type": "number"},
            "words": {"type": "array", "items": {"type": "string"}},
            "counts": {"type": "array", "items": {"type": "integer"}},
            "table": {"type": "object"}, "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}),
    "fail": Tool("fail", description="fails"),
    "picture": Tool("picture", description="draws"),
    "form": Tool("form", description="puts a form to a person"),
}
FORM = {"type": "object", "required": ["name", "size"], "properties": {
    "name": {"type": "string", "title": "Your name"},
    "size": {"type": "integer"},
    "colour": {"type": "string", "oneOf": [{"const": "r", "title": "red"}, {"const": "g", "title": "green"}]},
    "days": {"type": "array", "items": {"type": "string", "enum": ["mon", "tue"]}},
    "sure": {"type": "boolean", "default": True}, "note": {"type": "string"}}}
USAGE = Usage(input=3, output=4)


class Sitting:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *details):
        if "DESK_TELLS" in os.environ:
            print("desk closed", file=sys.stderr, flush=True)


class Desk(Provider):
    manifest = {"summary": "Does as it is told.", "models": [
        Model("echo", operations={Chat}, capabilities={"tools", "vision"}, context_tokens=1000),
        Model("vectors", operations={Embedding})]}

    def provide_models(self):
        return self.manifest["models"]

    def provide_tools(self):
        return TOOLS.values()

    def provide_resources(self):
        yield Resource("note://a", name="first", description="a note", media_type="text/plain", size=5)
        yield Resource("note://{id}", name="any", template=True)

    def provide_prompts(self):
        topic, tone = PromptArgument("topic", required=True), PromptArgument("tone")
        yield Prompt("ask", description="asks about a topic", arguments=[topic, tone])

    def lifespan(self):
        return Sitting()

    async def health(self, deep=False):
        return Health("ok", detail="sitting", latency=0.0125)

    async def call(self, request):
        kind = request.operation.kind
        if kind == "tool_call" and request.name == "form":
            url = request.operation.arguments.get("url")
            answer = await self.context.elicit(Elicitation("Who\\x1b are you?", instance="", url=url,
                                                           schema=None if url else FORM))
            return Reply(data={"action": answer.action, "content": answer.content})
        if kind == "tool_call":
            return self.tool(request.name, request.operation.arguments)
        if kind == "embedding":
            return Reply(vectors=[(1.0, 0.5) for _ in request.operation.inputs])
        if kind == "classification":
            return Reply(labels=[(Label("good", score=0.75),)])
        if kind == "read_resource":
            told = FilePart(data=b"\\0raw", media_type="application/x-raw")
            return Reply([TextPart("hello"), told] if request.operation.uri == "note://a" else [told])
        if kind == "get_prompt":
            given = request.operation.arguments
            said = f"Tell me of {given['topic']}, {given.get('tone', 'plainly')}."
            return Reply(messages=[Message("user", said)])
        if kind == "invoke":
            return Reply(data={"method": request.operation.method, "principal": request.principal})
        return Stream(self.chat(request)) if request.stream else await Stream(self.chat(request)).collect()

    def tool(self, name, arguments):
        if name == "add":
            return Reply(str(arguments["a"] + arguments["b"]))
        if name == "show":
            return Reply(data=dict(arguments))
        if name == "picture":
            return Reply(ImagePart(data=b"12345", media_type="image/png"))
        return Reply("it is broken", is_error=True)

    async def chat(self, request):
        chat = request.operation
        last = chat.messages[-1]
        yield Started(model=request.name)
        if last.role == "tool":
            for part in last.parts:
                yield TextDelta("the tool said: " + part.text)
            yield Finished("stop", usage=USAGE)
            return
        word, _, rest = last.text.strip().partition(" ")
        if word == "call":
            name, _, arguments = rest.partition(" ")
            yield PartDone(ToolCallPart.parse("c1", name, arguments))
            yield Finished("tool_calls", usage=USAGE)
        elif word == "think":
            yield ThinkingDelta("hmm")
            yield TextDelta("thought")
            yield Finished("stop")
        elif word == "length":
            yield TextDelta("cut")
            yield Finished("length", raw_finish_reason="max_tokens")
        elif word == "overloaded":
            raise OverloadedError("no room", hint="come back later")
        elif word == "break":
            yield TextDelta("half an ans")
            raise OverloadedError("it broke")
        elif word == "warn":
            try:
                raise ValueError("a slip")
            except ValueError:
                self.context.logger.warning("it is %s", "odd", exc_info=True)
            self.context.logger.debug("a detail")
            yield Finished("stop")
        elif word == "bug":
            raise ValueError("a slip")
        elif word == "control":
            yield TextDelta("a\\x1b]0;title\\x07b")
            yield Finished("stop")
        elif word == "hang":
            yield TextDelta("started\\n")
            try:
                await asyncio.Event().wait()
            finally:
                print("upstream closed", file=sys.stderr, flush=True)
        elif word == "until":
            yield TextDelta("started\\n")
            while not os.path.exists(rest):
                await asyncio.sleep(0.01)
            yield TextDelta("the rest\\n")
            yield Finished("stop")
        elif word == "flood":
            while True:
                yield TextDelta("word " * 200)
                await asyncio.sleep(0)
        elif word == "describe":
            said = [(message.role, [part.type for part in message.parts]) for message in chat.messages]
            options = [chat.temperature, chat.top_p, chat.max_tokens, chat.seed, chat.stop, chat.reasoning]
            yield TextDelta(f"{said} {options} {chat.response_schema} ")
            yield TextDelta(f"{request.principal} {request.data_class}")
            yield Finished("stop")
        else:
            for piece in (last.text[:3], last.text[3:]):
                yield TextDelta(piece)
            yield Finished("stop", usage=USAGE)
'''


MANIFEST = {
    "name": "desk",
    "kind": "provider",
    "summary": "Does as it is told.",
    "models": [
        {"name": "echo", "operations": ["chat"], "capabilities": ["tools", "vision"], "context_tokens": 1000},
        {"name": "vectors", "operations": ["embedding"]},
    ],
    "hooks": ["provide_models", "provide_tools", "call", "health", "lifespan"],
}


class Site:
    """A directory with installed distributions, and one to work in."""

    def __init__(self, root: Path) -> None:
        self.packages = root / "packages"
        self.work = root / "work"
        self.home = root / "home"
        for directory in (self.packages, self.work, self.home):
            directory.mkdir()

    def install(
        self,
        name: str,
        source: str,
        entries: str,
        manifest: Mapping[str, Any] | None = None,
        version: str = "1.0",
    ) -> None:
        """A distribution `gleitzeit-plugin-NAME` with one package; `entries` is its entry_points.txt."""
        package = self.packages / f"gleitzeit_plugin_{name}"
        package.mkdir()
        (package / "__init__.py").write_text(source)
        if manifest is not None:
            (package / "gleitzeit.json").write_text(json.dumps(manifest))
            entries += f"[gleitzeit.manifest]\n{manifest['name']} = gleitzeit_plugin_{name}:gleitzeit.json\n"
        info = self.packages / f"gleitzeit_plugin_{name}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: gleitzeit-plugin-{name}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(entries)
        scan.cache_clear()

    def plugin(self, name: str, kind: str = "providers", **manifest: Any) -> None:
        """A plugin that must not be imported: doing so ends the interpreter."""
        self.install(
            name,
            "raise SystemExit('imported')\n",
            f"[gleitzeit.{kind}]\n{name} = gleitzeit_plugin_{name}:Plugin\n",
            {"name": name, **manifest} if manifest else None,
        )

    def desk(self) -> None:
        """The plugin `desk`, which needs no configuration."""
        self.install("desk", DESK, "[gleitzeit.providers]\ndesk = gleitzeit_plugin_desk:Desk\n", MANIFEST)

    def config(self, text: str, name: str = "gleitzeit.toml") -> Path:
        """Write the configuration."""
        path = self.work / name
        path.write_text(textwrap.dedent(text))
        return path

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a process that sees only this site."""
        hidden = ("GLEITZEIT", "NO_COLOR", "COLUMNS", "DESK")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        path = os.pathsep.join([str(self.packages), *filter(None, [kept.get("PYTHONPATH")])])
        home = str(self.home)
        return kept | {"PYTHONPATH": path, "HOME": home, "XDG_CONFIG_HOME": home, "TERM": "xterm"}


class Terminal:
    """A command line in a process of its own that has a terminal."""

    #: Makes the terminal the controlling one, so that Ctrl-C means something.
    START = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )

    def __init__(self, args: list[str], **options: Any) -> None:
        import pty

        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.START, *args],
            stdin=slave,
            stdout=options.pop("stdout", slave),
            stderr=slave,
            start_new_session=True,
            **options,
        )
        os.close(slave)
        self.seen = ""

    def expect(self, text: str, timeout: float = 20.0) -> str:
        """Wait until `text` is seen; gives what came up to its end, and forgets it."""
        end = time.monotonic() + timeout
        while text not in self.seen:
            left = end - time.monotonic()
            ready, _, _ = select.select([self._master], [], [], max(left, 0))
            assert ready, f"{text!r} did not come; seen: {self.seen!r}"
            try:
                piece = os.read(self._master, 65536).decode()
            except OSError:  # the other end is closed
                piece = ""
            assert piece, f"the process ended without {text!r}; seen: {self.seen!r}"
            self.seen += piece
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def idle(self) -> None:
        """Wait until the process waits: at a prompt an earlier signal is only seen with the next key."""
        state = Path(f"/proc/{self.process.pid}/stat")
        if not state.exists():
            pytest.skip("this system does not tell when a process waits")
        end = time.monotonic() + 20
        while state.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < end, "the process does not come to rest"
            time.sleep(0.005)

    def wait(self) -> int:
        """Read to the end, and give the exit code."""
        while True:
            try:
                piece = os.read(self._master, 65536).decode()
            except OSError:
                break
            if not piece:
                break
            self.seen += piece
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self._master)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site, in which this process works as well."""
    site = Site(tmp_path)
    for key in [key for key in os.environ if key.startswith(("GLEITZEIT", "NO_COLOR", "COLUMNS"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("HOME", str(site.home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(site.home))
    monkeypatch.chdir(site.work)
    monkeypatch.syspath_prepend(str(site.packages))
    before = set(sys.modules)
    scan.cache_clear()
    yield site
    scan.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("gleitzeit_plugin_"):
            del sys.modules[name]


@pytest.fixture
def desk(site: Site) -> Site:
    """A site with the plugin `desk`."""
    site.desk()
    return site


@pytest.fixture
def run(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SimpleNamespace]:
    """Runs a command line in this process: gives its exit code and what it printed."""

    def run(*words: str, stdin: str = "") -> SimpleNamespace:
        read, write = os.pipe()
        os.write(write, stdin.encode())
        os.close(write)
        with os.fdopen(read) as source, monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", source)
            code = main(words)
        out, err = capsys.readouterr()
        return SimpleNamespace(
            code=code, out=out, err=err, json=lambda: json.loads(out), lines=out.splitlines()
        )

    return run


@pytest.fixture
def command(site: Site) -> Callable[..., dict[str, Any]]:
    """The arguments of `subprocess` for a command line in a process of its own."""

    def command(*words: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        args = [sys.executable, "-m", "gleitzeit.cli", *words]
        return {"args": args, "env": site.environ | dict(env or {}), "cwd": str(site.work)}

    return command


@pytest.fixture
def process(command: Callable[..., dict[str, Any]]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a command line to its end in a process of its own."""

    def process(*words: str, input: str = "", **options: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            **command(*words, **options), input=input, capture_output=True, text=True, timeout=60, check=False
        )

    return process


@pytest.fixture
def terminal(command: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Terminal]]:
    """Starts a command line on a terminal."""
    pytest.importorskip("pty", reason="needs terminals of the POSIX kind")
    started: list[Terminal] = []

    def terminal(*words: str, stdout: Any = None, **options: Any) -> Terminal:
        piped = {} if stdout is None else {"stdout": stdout}
        started.append(Terminal(**command(*words, **options), **piped))
        return started[-1]

    yield terminal
    for each in started:
        each.close()
