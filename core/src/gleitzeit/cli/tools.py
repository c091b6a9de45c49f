"""`gleitzeit tools lock`, `diff`, `approve` and `search`: what tools promise, and which of them do what."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict

from gleitzeit.cli.call import send
from gleitzeit.cli.failures import UNHEALTHY, explain
from gleitzeit.cli.output import Output
from gleitzeit.cli.run import with_host
from gleitzeit.contracts import THINGS, Change, Lock, Pin, read_lock, write_lock
from gleitzeit.errors import ConfigError, GleitzeitError, PluginNotFoundError, UsageError
from gleitzeit.lookalike import visible
from gleitzeit.values import ToolCall

if TYPE_CHECKING:
    from gleitzeit.config import Config
    from gleitzeit.host import Host

__all__ = ["approve", "diff", "lock", "search"]

#: The lock file where `host.tools_lock` says nothing, beside the configuration.
NAME: Final = "gleitzeit.lock"


def lock(options: Namespace, output: Output) -> int:
    """`gleitzeit tools lock`"""

    async def work(host: Host) -> int:
        path = _path(host.config)
        live, failed = await host.toolbox.contracts()
        _tell(output, failed)
        changes: list[Change] = []
        with suppress(ConfigError):  # there is none yet, or none that could be kept to
            old = read_lock(path)
            live = _with(live, old, failed)
            changes = list(old.changes(live))
        write_lock(path, live)
        counts = {thing: len(live.pins.get(thing, {})) for thing in THINGS}
        if output.json:
            errors = {name: explain(error) for name, error in failed.items()}
            taken = [each.name for each in changes]
            output.document({"lock": path, **counts, "approved": taken, "errors": errors})
        else:
            for change in changes:
                _show(output, change, f"approved ({change.what})")
            said = ", ".join(f"{count} {thing}" for thing, count in counts.items())
            output.text(f"{path}: {said}")
            if host.config.host.tools_lock is None:
                output.note(f"it is not enforced: write tools_lock = {os.path.basename(path)!r} into [host]")
        return UNHEALTHY if failed else 0

    return with_host(options, output, work)


def diff(options: Namespace, output: Output) -> int:
    """`gleitzeit tools diff`"""

    async def work(host: Host) -> int:
        changes, failed = await _changes(host)
        _tell(output, failed)
        if output.json:
            errors = {name: explain(error) for name, error in failed.items()}
            output.document({"changes": [asdict(each) for each in changes], "errors": errors})
        for change in () if output.json else changes:
            _show(output, change, f"{change.what} ({change.thing})")
        if not changes and not output.json:
            output.note("nothing differs from the lock file")
        return UNHEALTHY if changes or failed else 0

    return with_host(options, output, work)


def approve(options: Namespace, output: Output) -> int:
    """`gleitzeit tools approve`"""

    async def work(host: Host) -> int:
        path = _path(host.config)
        changes, failed = await _changes(host)
        _tell(output, failed)
        taken = [each for each in changes if any(fnmatchcase(each.name, word) for word in options.names)]
        for word in options.names:
            if not any(fnmatchcase(each.name, word) for each in taken):
                close = [each.name for each in changes if fnmatchcase(each.name.partition("/")[2], word)]
                hint = f"did you mean {close[0]}?" if close else "see `gleitzeit tools diff`"
                raise UsageError(f"{word!r} has not changed", hint=hint)
        old = read_lock(path)
        live, _ = await host.toolbox.contracts()
        pins = {thing: dict(old.pins.get(thing, {})) for thing in THINGS}
        for change in taken:
            _take(pins[change.thing], change, live.pins[change.thing])
        write_lock(path, Lock(pins))
        if output.json:
            output.document({"lock": path, "approved": [each.name for each in taken]})
        else:
            for change in taken:
                _show(output, change, f"approved ({change.what})")
        return 0

    return with_host(options, output, work)


def search(options: Namespace, output: Output) -> int:
    """`gleitzeit tools search`"""

    async def work(host: Host) -> int:
        found = await host.toolbox.searcher()
        if found is None:
            raise PluginNotFoundError(
                "no plugin that searches among tools is installed and enabled",
                hint="pip install gleitzeit-plugin-tool-search",
            )
        asked = ToolCall({"query": " ".join(options.words), "limit": options.limit})
        return await send(host, asked.to(found[0]), output)

    return with_host(options, output, work)


def _show(output: Output, change: Change, what: str) -> None:
    """With its lines also where it is taken over: it may differ from what was shown a minute ago."""
    output.text(f"{visible(change.name)}: {what}")
    for line in change.lines:
        output.text(f"    {line}")


async def _changes(host: Host) -> tuple[list[Change], Mapping[str, GleitzeitError]]:
    """What differs from the lock file, less what belongs to instances that could not be asked."""
    old = read_lock(_path(host.config))
    live, failed = await host.toolbox.contracts()
    return list(old.changes(_with(live, old, failed))), failed


def _with(live: Lock, old: Lock, failed: Iterable[str]) -> Lock:
    """`live`, with what was approved of the instances that could not be asked."""
    away = tuple(f"{name}/" for name in failed)
    return Lock(
        {
            thing: {
                **{name: pin for name, pin in old.pins.get(thing, {}).items() if name.startswith(away)},
                **{name: pin for name, pin in live.pins.get(thing, {}).items() if not name.startswith(away)},
            }
            for thing in THINGS
        }
    )


def _take(pins: dict[str, Pin], change: Change, live: Mapping[str, Pin]) -> None:
    if change.what == "gone":
        del pins[change.name]
    else:
        pins[change.name] = live[change.name]


def _path(config: Config) -> str:
    if config.host.tools_lock is not None:
        return config.host.tools_lock
    folder = os.path.dirname(os.path.abspath(config.files[0])) if config.files else os.getcwd()
    return os.path.join(folder, NAME)


def _tell(output: Output, failed: Mapping[str, Any]) -> None:
    for name, error in failed.items():
        output.note(f"{name}: {error}; what was approved of it stays", "red")
