"""What an instance receives from the host."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from gleitzeit.config import SecretRef, validate
from gleitzeit.errors import PermissionDeniedError
from gleitzeit.values import Elicitation, Elicited, Reply, Request, Tool

if TYPE_CHECKING:
    import httpx2

    from gleitzeit.registry.instance import Instance

__all__ = ["InstanceContext", "Services", "personal_in", "put_in"]


@frozen(kw_only=True)
class Services:
    """What the host lends to all instances."""

    http: Callable[[], httpx2.AsyncClient]
    secret: Callable[[str], Awaitable[str]]
    #: Lets a secret be asked for anew when it is next needed.
    forget: Callable[[str], None] = field(default=lambda reference: None, repr=False)
    call: Callable[[Request], Awaitable[Reply]]
    driver: Callable[[str, str], Awaitable[Any]]
    #: An instance's name, and the resource of it that has changed; None: what it offers has.
    changed: Callable[[str, str | None], None] = field(repr=False)
    #: The application's way to a person, None where it has none.
    elicit: Callable[[Elicitation], Awaitable[Elicited]] | None = field(default=None, repr=False)
    #: The servers that let clients in; they come after the host was made.
    servers: list[Any] = field(factory=list, repr=False)
    #: (name as given, full name, tool) of each tool that names, patterns and sets mean.
    tools: Callable[[Iterable[str]], Awaitable[Sequence[tuple[str, str, Tool]]]] | None = field(
        default=None, repr=False
    )


class InstanceContext:
    """The `kinds.Context` of one instance."""

    def __init__(self, instance: Instance, services: Services) -> None:
        self.name = instance.name
        self.logger = logging.getLogger(f"gleitzeit.{instance.kind}.{instance.name}")
        self.may_ask = instance.config.may_ask
        self._instance = instance
        self._services = services
        self._loop = asyncio.get_running_loop()

    @property
    def http(self) -> httpx2.AsyncClient:
        """The host's one HTTP client."""
        return self._services.http()

    @property
    def may_elicit(self) -> bool:
        """Does the application put questions to a person?"""
        return self._services.elicit is not None

    @property
    def serves(self) -> bool:
        """Are there clients of a server of the application's?"""
        return bool(self._services.servers)

    def changed(self, resource: str | None = None) -> None:
        """Announce that what this instance offers has changed, or one resource. Thread-safe."""
        self._loop.call_soon_threadsafe(self._services.changed, self.name, resource)

    async def ask(self, request: Request) -> Reply:
        """Ask the host's models, where the operator allows it."""
        if not self.may_ask:
            raise PermissionDeniedError(
                f"instance {self.name!r} may not ask the host",
                hint=f"set may_ask = true for {self.name!r} to allow it",
            )
        # What it asks may quote what it was just told.
        data_class = "private" if self._instance.private else request.data_class
        return await self._services.call(
            request.evolve(principal=f"instance:{self.name}", data_class=data_class, stream=False)
        )

    async def elicit(self, question: Elicitation) -> Elicited:
        """Put a question to the application's person; declined where it has nobody to ask, or fails to."""
        elicit = self._services.elicit
        if elicit is None:
            return Elicited.decline()
        try:
            answer: object = await elicit(evolve(question, instance=self.name))
        except Exception as error:  # noqa: BLE001 - the application's code; no answer is no consent
            self.logger.warning("the handler of questions raised %s", type(error).__name__)
            return Elicited.cancel()
        if not isinstance(answer, Elicited):
            self.logger.warning("the handler of questions gave %s, not Elicited", type(answer).__name__)
            return Elicited.cancel()
        return answer

    async def tools(self, names: Iterable[str] = ("*",)) -> Sequence[tuple[str, Tool]]:
        """(full name, tool) of each of the host's tools that the names, patterns and sets mean."""
        if self._services.tools is None:
            return ()
        return [(full, tool) for _, full, tool in await self._services.tools(names)]

    async def secret(self, reference: str) -> str:
        """The value behind a `secret://` reference."""
        return await self._services.secret(reference)

    async def renewed(self, config: Any) -> Any:
        """The configuration with every secret asked for anew."""
        instance = self._instance
        found: list[str] = []
        values = await put_in(instance.config.values, self._anew, found)
        if not found:
            return config
        instance.secrets = tuple(dict.fromkeys((*instance.secrets, *found)))
        return validate(type(config), instance.config, values)

    async def personal(self, config: Any, principal: str, *, fresh: bool = False) -> Any:
        """The configuration with the secrets of one principal."""
        instance = self._instance
        ask = self._anew if fresh else self._services.secret
        found: list[str] = []

        async def his(reference: SecretRef) -> str:
            return await ask(reference.of(principal) if reference.personal else reference)

        values = await put_in(instance.config.values, his, found, personal=True)
        instance.personal.extend(secret for secret in found if secret not in instance.personal)
        return validate(type(config), instance.config, values)

    async def _anew(self, reference: str) -> str:
        self._services.forget(reference)
        return await self._services.secret(reference)

    async def driver(self, kind: str, name: str) -> Any:
        """The running instance of a driver plugin."""
        return await self._services.driver(kind, name)


async def put_in(
    value: Any, secret: Callable[[SecretRef], Awaitable[str]], found: list[str], *, personal: bool = False
) -> Any:
    """`value` with each reference to a secret in it replaced by the secret, which is noted in `found`.

    Without `personal`, those that depend on who calls stay as they are.
    """
    if isinstance(value, SecretRef):
        if value.personal and not personal:
            return str(value)
        found.append(await secret(value))
        return found[-1]
    if isinstance(value, Mapping):
        return {key: await put_in(item, secret, found, personal=personal) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [await put_in(item, secret, found, personal=personal) for item in value]
    return value


def personal_in(value: Any) -> SecretRef | None:
    """A reference in `value` that depends on who calls, if there is one."""
    if isinstance(value, SecretRef):
        return value if value.personal else None
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return None
    return next((found for item in value if (found := personal_in(item)) is not None), None)
