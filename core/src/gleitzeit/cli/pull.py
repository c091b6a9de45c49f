"""Downloads a model that is not there, after asking, where its provider can: its manifest says `pull`."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gleitzeit.cli.output import Output
from gleitzeit.cli.person import present, read_line, turn
from gleitzeit.cli.render import Renderer
from gleitzeit.cli.table import clean
from gleitzeit.errors import PluginError, UnknownModelError
from gleitzeit.values import Invoke, Progress, Reply, Request, Stream, Tool

if TYPE_CHECKING:
    from gleitzeit.config import Config
    from gleitzeit.host import Host

__all__ = ["Pulling", "missing"]

#: What a provider can that has the method `pull`, and the method's name.
PULL: Final = "pull"
#: Seconds; large models over slow lines take hours.
LONG: Final = 86_400.0


class Pulling:
    """A host that, where an answer fails as its model is not there, downloads the model and asks again.

    It asks the person at the terminal first, unless `--yes` was said; without either it downloads
    nothing, and the error tells of `--yes`.
    """

    def __init__(self, host: Host, options: Namespace, output: Output) -> None:
        self._host = host
        self._yes: bool = options.yes
        self._timeout: float | None = options.timeout
        self._output = output

    async def call(self, request: Request) -> Reply:
        """As `Host.call`."""
        try:
            return await self._host.call(request)
        except UnknownModelError as error:
            request = await self._pulled(request, error)
        return await self._host.call(request)

    def stream(self, request: Request) -> Stream:
        """As `Host.stream`; the download happens when it is opened."""

        async def open() -> Stream:
            stream = self._host.stream(request)
            try:
                return await stream.__aenter__()
            except UnknownModelError as error:
                again = await self._pulled(request, error)
            return self._host.stream(again)

        return Stream.opening(open)

    async def find_tools(self, names: Iterable[str]) -> list[tuple[str, str, Tool]]:
        """As `Host.find_tools`."""
        return await self._host.find_tools(names)

    async def searcher(self, model: str) -> tuple[tuple[str, Tool] | None, int | None]:
        """As `Host.searcher`."""
        return await self._host.searcher(model)

    async def _pulled(self, request: Request, error: UnknownModelError) -> Request:
        """The request to send again, its time anew, once the model is there; raises where it will not be."""
        found = missing(self._host.config, str(request.target), error)
        if found is None or not await self._agreed(*found, error):
            raise error
        instance, model = found
        pull = Invoke(PULL, arguments={"model": model}).to(
            instance, timeout=LONG, principal=request.principal
        )
        renderer = Renderer(self._output)
        try:
            async with self._host.stream(pull) as events:
                async for event in events:
                    if isinstance(event, Progress) and not self._output.json:
                        renderer.event(event)
        finally:
            renderer.end()
        if self._timeout is None:
            return request.evolve(deadline=None)
        return request.evolve(deadline=time.monotonic() + self._timeout)

    async def _agreed(self, instance: str, model: str, error: UnknownModelError) -> bool:
        if self._yes:
            self._output.note(f"{instance} does not have {model}: downloading it")
            return True
        if not present(self._output):
            error.hint = f"--yes downloads it; or {error.hint}" if error.hint else "--yes downloads it"
            return False
        question = f"{clean(instance)} does not have {clean(model)}. Download it? [Y/n] "
        async with turn():
            self._output.say(question, "yellow", end="")
            answer = await read_line()  # nothing at all at the end of input, which is no
        return answer.strip().lower() in ("", "y", "yes") and answer != ""


def missing(config: Config, target: str, error: UnknownModelError) -> tuple[str, str] | None:
    """The instance that could download what it does not have, and the model; None where there is none such.

    That a name is unknown must be the upstream's own word, of the model that was asked for: what a
    route tried on its way is not asked for.
    """
    seen = {target}
    while target in config.aliases and (target := config.aliases[target]) not in seen:
        seen.add(target)
    instance, _, model = target.partition("/")
    if error.status != 404 or error.provider != instance or not model or target in config.routes:
        return None
    for each in config.instances:
        if each.kind == "provider" and each.name == instance and config.index is not None:
            try:
                entry = config.index.find(
                    "provider", each.plugin, allow=config.host.allow, deny=config.host.deny
                )
            except PluginError:
                return None
            if entry.manifest is not None and PULL in entry.manifest.capabilities:
                return instance, model
    return None
