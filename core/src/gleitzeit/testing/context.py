"""A context for tests of one plugin, without a host."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gleitzeit.errors import ConfigError, PermissionDeniedError, PluginNotFoundError
from gleitzeit.values import Elicitation, Elicited, Reply, Request, Tool

if TYPE_CHECKING:
    import httpx2

__all__ = ["FakeContext"]


class FakeContext:
    """What a host would give to an instance, made by hand.

        async with FakeContext("openai") as context:
            provider = OpenAI(OpenAI.Config(), context)

    Without `http` a client like the host's is made at first use, and closed with the block.
    `replies` answer `ask`, `answers` what is put to a person; `drivers` are found by
    (kind, name); `secret` knows `secret://env/NAME`; `tools` are the host's, by full name.
    """

    def __init__(
        self,
        name: str = "test",
        http: httpx2.AsyncClient | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        drivers: Mapping[tuple[str, str], Any] | None = None,
        replies: tuple[Reply, ...] = (),
        answers: tuple[Elicited, ...] = (),
        tools: Mapping[str, Tool] | None = None,
    ) -> None:
        self._name = name
        self._http = http
        self._own: httpx2.AsyncClient | None = None
        self._environ = os.environ if environ is None else environ
        self._drivers = drivers or {}
        self._replies = list(replies)
        self._answers = list(answers)
        self._tools = tools or {}
        self.may_ask = bool(self._replies)
        self.may_elicit = bool(self._answers)
        self.serves = False
        #: How often `changed` was called.
        self.changes = 0
        #: What `renewed` gives, and how often it was called.
        self.fresh: Any = None
        self.renewals = 0
        #: What `personal` gives, by principal.
        self.people: dict[str, Any] = {}
        #: What `ask` was asked.
        self.asked: list[Request] = []
        #: What was put to a person.
        self.elicited: list[Elicitation] = []
        #: The resources that were announced as changed.
        self.resources: list[str] = []

    @property
    def name(self) -> str:
        """The instance's name."""
        return self._name

    @property
    def http(self) -> httpx2.AsyncClient:
        """The HTTP client."""
        if self._http is None:
            from gleitzeit.wire.client import make_client

            self._http = self._own = make_client()
        return self._http

    @property
    def logger(self) -> logging.Logger:
        """The logger `gleitzeit.plugin.NAME`."""
        return logging.getLogger(f"gleitzeit.plugin.{self._name}")

    def changed(self, resource: str | None = None) -> None:
        """Count an announcement, or note the resource."""
        if resource is None:
            self.changes += 1
        else:
            self.resources.append(resource)

    async def ask(self, request: Request) -> Reply:
        """The next of `replies`; `PermissionDeniedError` when there is none."""
        self.asked.append(request)
        if not self._replies:
            raise PermissionDeniedError(f"instance {self._name!r} may not ask", hint="set `may_ask = true`")
        return self._replies.pop(0)

    async def elicit(self, question: Elicitation) -> Elicited:
        """The next of `answers`; declined when there is none."""
        self.elicited.append(question)
        return self._answers.pop(0) if self._answers else Elicited.decline()

    async def tools(self, names: Iterable[str] = ("*",)) -> Sequence[tuple[str, Tool]]:
        """Those of `tools` that one of the names or patterns means."""
        patterns = tuple(names)
        return [
            (name, tool)
            for name, tool in self._tools.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]

    async def secret(self, reference: str) -> str:
        """The environment variable behind `secret://env/NAME`."""
        name = reference.removeprefix("secret://env/")
        if name == reference or name not in self._environ:
            raise ConfigError(f"there is no secret behind {reference}")
        return self._environ[name]

    async def renewed(self, config: Any) -> Any:
        """`fresh`, where it is set: what a host would make of secrets that have changed."""
        self.renewals += 1
        return config if self.fresh is None else self.fresh

    async def personal(self, config: Any, principal: str, *, fresh: bool = False) -> Any:
        """What `people` has under the principal's name; `ConfigError` where it has nothing."""
        self.renewals += fresh
        if principal not in self.people:
            raise ConfigError(f"there is no secret of {principal!r} in this test")
        return self.people[principal]

    async def driver(self, kind: str, name: str) -> Any:
        """One of `drivers`."""
        if (kind, name) not in self._drivers:
            raise PluginNotFoundError(f"no {kind} plugin {name!r} in this test")
        return self._drivers[kind, name]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is not None:
            await self._own.aclose()
