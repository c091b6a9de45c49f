"""Gleitzeit in one short run, without a key and without a network: `python noxfile.py demo`.

Every `show_` function below is one section of what is printed, and an example of how an application
does that. The models are scripted, by the files beside this one; all else is real, and each section
says which is which. On a real model: `python noxfile.py demo -- --live --model NAME [--base-url URL]`.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from gleitzeit import Chat, Host, Request, TextDelta, ToolCall, listing
from gleitzeit.conversation import ToolEnded, ToolStarted
from gleitzeit.discovery import scan
from gleitzeit.errors import GleitzeitError, SecurityDeniedError

HERE = Path(__file__).resolve().parent
WIDTH = 100
VENDOR = "https://api.openai.com/v1"  # asked only with --live
PATIENCE = 60.0  # seconds for one section


class DemoError(Exception):
    """A part of the demo did not do what it is there to show."""


@dataclass(frozen=True)
class Demo:
    """What the sections work with."""

    host: Host
    screen: Screen
    model: str  # the model of section 2
    wire: str  # the model that is asked over HTTP
    server: str  # where that is, in words
    speaker: str  # who makes the sentences up, in words


# --- the sections ---------------------------------------------------------------------------------


async def show_installed(demo: Demo) -> None:
    """What is installed, read from the metadata of packages: no plugin is imported for that."""
    demo.screen.truth("real: read from the metadata of what is installed, configured by gleitzeit.toml")
    before = plugin_modules()
    rows = listing.plugins(scan(), demo.host.config)
    demo.screen.table(
        ["instance", "plugin", "kind", "sandbox", "distribution"],
        [(r.instance or "-", r.plugin, r.kind, r.sandbox, f"{r.distribution} {r.version}") for r in rows],
    )
    expect(len(rows) >= 6, "not all plugins of the demo are installed")
    expect(plugin_modules() == before == [], f"plugins were imported: {', '.join(plugin_modules())}")
    demo.screen.line("imported", "none of them: no module of a plugin is in sys.modules")


async def show_chat(demo: Demo) -> None:
    """A chat: whole, then as a stream."""
    demo.screen.truth(f"real: the host and the way of the call · {demo.speaker}")
    await chat_with(demo, demo.model)


async def show_chat_over_http(demo: Demo) -> None:
    """The same calls, answered by another process."""
    demo.screen.truth(f"real: HTTP, server-sent events, gleitzeit-plugin-openai · {demo.speaker}")
    demo.screen.line("server", demo.server)
    await chat_with(demo, demo.wire)


async def chat_with(demo: Demo, model: str) -> None:
    """One model, asked twice: `call` gives the whole reply, `stream` gives it as it comes."""
    reply = await demo.host.call(Chat("Who are you?").to(model))
    demo.screen.line("call", reply.text)
    pieces = 0
    began = time.perf_counter()
    first = None
    async with demo.host.stream(Chat("Who are you?").to(model)) as stream:
        with demo.screen.stream("stream") as write:
            async for event in stream:
                if isinstance(event, TextDelta):
                    first = first or time.perf_counter()
                    write(event.text)
                    pieces += 1
    expect(pieces > 1 and first is not None, "the stream did not come in pieces")
    usage = stream.reply.usage
    counted = f", usage {usage.input} in and {usage.output} out" if usage else ""
    demo.screen.line("", f"{pieces} pieces, the first after {ms((first or began) - began)}{counted}")


async def show_tools(demo: Demo) -> None:
    """Tools of two MCP servers that nobody here wrote, each a process of its own."""
    demo.screen.truth("real: mcp-server-time and mcp-server-git over stdio, without a sandbox")
    for offer in await demo.host.offers("tools"):
        if offer.instance in ("time", "git"):
            if offer.error is not None:
                raise offer.error
            demo.screen.line(f"{offer.instance}/", ", ".join(tool.name for tool in offer.items))
    now = await demo.host.call(ToolCall({"timezone": "Asia/Tokyo"}).to("time/get_current_time"))
    expect(not now.is_error, f"get_current_time said: {now.text}")
    told = json.loads(now.text)
    demo.screen.line("Tokyo", f"{told['datetime']} ({told['day_of_week']})")
    log = await demo.host.call(ToolCall({"repo_path": "."}).to("git/git_log"))
    expect(not log.is_error and "Add the second note" in log.text, f"git_log said: {log.text}")
    for text in log.text.splitlines():
        if text.startswith(("Commit:", "Message:")):
            demo.screen.line("git_log", text)


async def show_conversation(demo: Demo) -> None:
    """A model asks for a tool, gets its result, and answers with it."""
    demo.screen.truth(f"real: the tool, the wire and the loop between them · {demo.speaker}")
    question = 'What was changed last in the repository at "."? Ask git_log.'
    demo.screen.line("question", question)
    results = 0
    async with demo.host.converse(Chat(question).to(demo.wire), tools=["git/git_log"]) as conversation:
        async for event in conversation:
            if isinstance(event, ToolStarted):
                arguments = json.dumps(event.call.arguments, ensure_ascii=False)
                demo.screen.line("asks for", f"{event.target} {arguments}")
            elif isinstance(event, ToolEnded):
                expect(not event.result.is_error, f"the tool failed: {event.result.text}")
                demo.screen.line("result", one_line(event.result.text))
                results += 1
    expect(results > 0, "the model did not ask for a tool")
    demo.screen.line("answer", one_line(conversation.ending.text))
    demo.screen.line("", f"turns: {conversation.ending.turns}, tool calls: {results}")


async def show_refusal(demo: Demo) -> None:
    """A guard votes on every call; what it denies does not happen."""
    demo.screen.truth("real: gleitzeit-plugin-guard-limits, with the rules of gleitzeit.toml")
    forbidden = ToolCall({"repo_path": "."}).to("git/git_reset")
    await expect_refusal(demo, "git_reset", forbidden, "deny_tools")
    private = Chat("Dear diary").to("unplugged/some-model", data_class="private")
    await expect_refusal(demo, "private", private, "private_local")
    malformed = ToolCall({"timezone": 7}).to("time/get_current_time")
    await expect_refusal(demo, "arguments", malformed, "timezone")
    status = await demo.host.call(ToolCall({"repo_path": "."}).to("git/git_status"))
    staged = [text.strip() for text in status.text.splitlines() if "third.txt" in text]
    expect(staged == ["new file:   third.txt"], f"git_status said: {status.text}")
    demo.screen.line("git_status", f"{one_line(staged[0])} (it is still staged: nothing was reset)")


async def expect_refusal(demo: Demo, label: str, request: Request, because: str) -> None:
    """Print why the call is denied; it is a fault if it is not, or for another reason."""
    try:
        await demo.host.call(request)
    except SecurityDeniedError as error:
        expect(because in error.message, error.message)
        demo.screen.line(label, error.message)
    else:
        raise DemoError(f"the guard let {request.target} pass")


async def show_fallback(demo: Demo) -> None:
    """A route with two targets: the first cannot be reached, the second answers."""
    demo.screen.truth(f"real: a port where nobody listens, and the way around it · {demo.speaker}")
    reply = await demo.host.call(Chat("Say that you are the fallback.").to("answer"))
    for attempt in reply.attempts:
        demo.screen.line("failed", f"{attempt.target}: {attempt.error}")
    expect(len(reply.attempts) == 1, "the first target did not fail")
    demo.screen.line("answered", f"{reply.target}: {one_line(reply.text)}")


async def show_health(demo: Demo) -> None:
    """How every instance fares; it is no mistake that one of them is unwell."""
    demo.screen.truth(
        "real: what is configured was asked; nobody listens for `unplugged`, so that is an error"
    )
    installed = {instance.name for instance in demo.host.config.instances if instance.implicit}
    table = [row for row in await demo.host.health(deep=True) if row.name not in installed]
    rows = [(r.name, r.kind, r.state.value, r.health.status, r.sandbox or "", r.health.detail) for r in table]
    demo.screen.table(["instance", "kind", "state", "health", "sandbox", "detail"], rows)
    unwell = {row.name for row in table if row.health.status == "error"}
    expect(unwell == {"unplugged"}, f"not well: {', '.join(sorted(unwell)) or 'nobody'}")


SECTIONS: tuple[tuple[str, Callable[[Demo], Awaitable[None]]], ...] = (
    ("What is installed", show_installed),
    ("A chat, whole and as a stream", show_chat),
    ("The same over HTTP", show_chat_over_http),
    ("Tools of two MCP servers", show_tools),
    ("A model that uses a tool", show_conversation),
    ("Calls that the guard refuses", show_refusal),
    ("A provider that fails, and the fallback that answers", show_fallback),
    ("Health", show_health),
)


# --- what stands around them ----------------------------------------------------------------------


class Screen:
    """Prints at most 100 columns, in colour only where somebody looks at a terminal."""

    def __init__(self, out: TextIO, environ: Mapping[str, str]) -> None:
        self._out = out
        terminal = out.isatty()
        self._color = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._width = min(WIDTH, shutil.get_terminal_size().columns) if terminal else WIDTH

    def title(self, text: str) -> None:
        """The first or last line."""
        self._print(self._styled(text, "1"))

    def section(self, number: int, text: str) -> None:
        """The heading of a section."""
        self._print("\n" + self._styled(f"{number}  {text}", "1;36"))

    def truth(self, text: str) -> None:
        """What is real in this section, and what is scripted."""
        self._print(
            self._styled(textwrap.fill(text, self._width, initial_indent="   ", subsequent_indent="   "), "2")
        )

    def line(self, label: str, text: str, style: str = "") -> None:
        """A line of a section, wrapped."""
        head = f"   {label:<10} "
        lines = textwrap.wrap(text, self._width, initial_indent=head, subsequent_indent=" " * len(head))
        for each in lines or [head]:
            self._print(self._styled(each, style) if style else each)

    @contextmanager
    def stream(self, label: str) -> Iterator[Callable[[str], None]]:
        """A line that is written piece by piece; what does not fit goes on in the next."""
        head = f"   {label:<10} "
        column = len(head)
        self._print(head, end="")

        def write(piece: str) -> None:
            nonlocal column
            piece = piece.replace("\n", " ")
            if column + len(piece.rstrip()) > self._width:
                self._print("\n" + " " * len(head), end="")
                column, piece = len(head), piece.lstrip()
            column += len(piece)
            self._print(piece, end="")

        yield write
        self._print("")

    def table(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table whose last column is cut where it does not fit."""
        cells = [
            list(titles),
            *([one_line(text).replace(f"{HERE}{os.sep}", "") for text in row] for row in rows),
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for number, row in enumerate(cells):
            text = "   " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            text = text.rstrip() if len(text.rstrip()) <= self._width else text[: self._width - 1] + "…"
            self._print(self._styled(text, "2") if number == 0 else text)

    def _styled(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text

    def _print(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self._out, flush=True)


@contextmanager
def repository() -> Iterator[str]:
    """A git repository in a temporary folder, with two commits and one staged file."""
    with tempfile.TemporaryDirectory(prefix="gleitzeit-demo-", ignore_cleanup_errors=True) as folder:
        place = Path(folder, "notes")
        place.mkdir()
        git(place, "init", "--quiet", "--template=")
        for name, message in (("first", "Add the first note"), ("second", "Add the second note")):
            (place / f"{name}.txt").write_text(f"the {name} note\n", encoding="utf-8")
            git(place, "add", f"{name}.txt")
            git(place, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message)
        (place / "third.txt").write_text("not committed\n", encoding="utf-8")
        git(place, "add", "third.txt")
        yield str(place)


def git(place: Path, *arguments: str) -> None:
    """Run git as if nobody had configured it: no identity, hook, signing or variable of git's is used."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in IDENTITY.items()}
    environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **who}
    command = ["git", "-C", str(place), "-c", "init.defaultBranch=main", "-c", f"core.hooksPath={os.devnull}"]
    subprocess.run([*command, *arguments], env=environ, check=True, stdin=subprocess.DEVNULL)


IDENTITY = {"NAME": "Demo", "EMAIL": "demo@example.invalid", "DATE": "2026-01-01T12:00:00+00:00"}


@asynccontextmanager
async def loopback_server() -> AsyncIterator[tuple[str, int]]:
    """An OpenAI-shaped server in another process: its base URL and its process id."""
    command = (sys.executable, "-m", "gleitzeit.testing.openai_server", "--script", str(HERE / "server.json"))
    pipe = subprocess.PIPE
    # In a session of its own, Ctrl-C reaches only the demo, which ends the server in order.
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        expect(bool(said), f"the loopback server ended with {process.returncode}")
        yield json.loads(said)["url"], process.pid
    finally:
        process.stdin.close()  # the server ends when this pipe closes, whatever becomes of us
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


@contextmanager
def nobody() -> Iterator[str]:
    """The base URL of a port that is taken, but where nobody listens."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@asynccontextmanager
async def prepared(options: argparse.Namespace, screen: Screen, place: str) -> AsyncIterator[Demo]:
    """A host on gleitzeit.toml, not open yet, with the scripted models or with a real one."""
    variables = {"DEMO_PYTHON": sys.executable, "DEMO_REPOSITORY": place, "DEMO_NO_FILE": os.devnull}
    with nobody() as variables["DEMO_NOBODY"]:
        if options.live:
            variables["DEMO_SERVER"] = options.base_url
            model = f"wire/{options.model}"
            changes = {
                "providers.wire.local": False,
                "routes.answer.targets": ["unplugged/some-model", model],
            }
            key = os.environ.get(options.api_key_env)
            if key:
                changes["providers.wire.api_key"] = key
            host, said = configured(variables, changes), f"real: the model {options.model}"
            yield Demo(host, screen, model, model, options.base_url, said)
        else:
            async with loopback_server() as (variables["DEMO_SERVER"], pid):
                where = f"{variables['DEMO_SERVER']}, process {pid} (this one is {os.getpid()})"
                host, said = configured(variables, {}), "scripted: what the model says"
                yield Demo(host, screen, "scripted/demo", "wire/demo", where, said)


def configured(variables: Mapping[str, str], changes: Mapping[str, Any]) -> Host:
    """A host that sees these variables and nothing else of the environment."""
    return Host(HERE / "gleitzeit.toml", environ=variables, overrides=changes)


def plugin_modules() -> list[str]:
    """The plugins that this process has imported."""
    return sorted({name.partition(".")[0] for name in sys.modules if name.startswith("gleitzeit_plugin_")})


def expect(holds: bool, otherwise: str) -> None:
    """Fail this part of the demo unless `holds`."""
    if not holds:
        raise DemoError(otherwise)


def one_line(text: str) -> str:
    """A text with all white space as single blanks."""
    return " ".join(text.split())


def ms(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds * 1000:.0f} ms"


async def run(options: argparse.Namespace, screen: Screen, place: str) -> list[str]:
    """Show every section, whatever becomes of the others; gives the titles of those that failed."""
    async with prepared(options, screen, place) as demo:
        failed = await part(demo, 1)  # before the host is open: opening it loads the guard
        async with demo.host:
            for number in range(2, len(SECTIONS) + 1):
                failed += await part(demo, number)
    return failed


async def part(demo: Demo, number: int) -> list[str]:
    """Show one section; gives its title if it failed."""
    title, show = SECTIONS[number - 1]
    demo.screen.section(number, title)
    try:
        async with asyncio.timeout(PATIENCE):
            await show(demo)
    except BrokenPipeError:
        raise
    except TimeoutError:
        demo.screen.line("FAILED", f"it took more than {PATIENCE:g} s", "31")
    except (GleitzeitError, DemoError) as error:
        demo.screen.line("FAILED", str(error), "31")
    except Exception as error:  # noqa: BLE001  # whatever breaks one part, the others are shown
        demo.screen.line("FAILED", f"{type(error).__name__}: {error}", "31")
    else:
        return []
    return [title]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python noxfile.py demo --", description="Gleitzeit in one short run."
    )
    parser.add_argument("--live", action="store_true", help="ask a real model instead of the scripted ones")
    parser.add_argument("--model", help="its name")
    parser.add_argument("--base-url", default=VENDOR, help="an OpenAI-compatible server (%(default)s)")
    parser.add_argument(
        "--api-key-env",
        default="OPENAI_API_KEY",
        metavar="NAME",
        help="the variable with its key (%(default)s)",
    )
    options = parser.parse_args(arguments)
    if bool(options.model) != options.live or (options.base_url != VENDOR and not options.live):
        parser.error("--live and --model go together; without them no key and no network is used")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; not 0 if any part of it failed."""
    options = parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a sign shows a question mark
    screen = Screen(sys.stdout, os.environ)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.perf_counter()
    if options.live:
        screen.title(f"Gleitzeit, live: the model {options.model}; everything else is on this machine")
    else:
        screen.title("Gleitzeit: no key, no network; everything below happens on this machine")
    try:
        with repository() as place:
            failed = asyncio.run(run(options, screen, place))
    except KeyboardInterrupt:
        screen.title("\nstopped; everything that the demo had started has ended")
        return 130
    except BrokenPipeError:  # as after `| head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (GleitzeitError, DemoError, OSError, subprocess.CalledProcessError) as error:
        screen.title(f"\nfailed before the first section: {error}")
        return 1
    took = time.perf_counter() - began
    if failed:
        screen.title(f"\n{len(failed)} of {len(SECTIONS)} parts failed: {', '.join(failed)}")
        return 1
    screen.title(f"\nall {len(SECTIONS)} parts worked, in {took:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
