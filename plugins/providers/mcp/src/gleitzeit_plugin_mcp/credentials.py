"""Whose credentials a server is shown: those of its entry, or those of whoever calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from gleitzeit.config.secrets import PRINCIPAL, SCHEME
from gleitzeit.errors import AuthenticationError, ConfigError
from gleitzeit.kinds import Context, Endpoint
from gleitzeit_plugin_mcp.config import McpConfig
from gleitzeit_plugin_mcp.endpoint import endpoint

__all__ = ["Credentials", "Partitions"]

#: Seconds after which the secrets of a principal are looked at again, though nobody refused them.
LOOK: Final = 60.0
#: Seconds that secrets are left alone which were refused and have not changed since.
PATIENCE: Final = 10.0


class Credentials:
    """Those of the entry itself (`principal` None), or of one principal."""

    def __init__(self, config: McpConfig, context: Context, principal: str | None) -> None:
        self.principal: Final = principal
        self._config = config
        self._context = context
        self._found = endpoint(context.name, config) if principal is None else None
        self._looked = 0.0
        self._in_vain: float | None = None
        self._turn = asyncio.Lock()

    async def endpoint(self) -> Endpoint:
        """The endpoint with them in it.

        Raises `AuthenticationError` where the principal has none, before anything was sent.
        """
        async with self._turn:
            return self._found if self._found is not None and not self._old() else (await self._look())

    async def renewed(self, used: Endpoint) -> bool:
        """Are there others than those in `used`, which were refused? Asks for them once."""
        async with self._turn:
            if self._found is not used:
                return True  # another call was faster
            if self._in_vain is not None and time.monotonic() - self._in_vain < PATIENCE:
                return False
            try:
                found = await self._look(fresh=True)
            except AuthenticationError:
                found = used
            if found is used:
                self._in_vain = time.monotonic()
            return found is not used

    def _old(self) -> bool:
        return self.principal is not None and time.monotonic() - self._looked >= LOOK

    async def _look(self, *, fresh: bool = False) -> Endpoint:
        """Ask for the secrets; the endpoint stays the same object while they do."""
        name, before = self._context.name, self._found
        try:
            if self.principal is None:
                found = endpoint(name, await self._context.renewed(self._config))
            else:
                config = await self._context.personal(self._config, self.principal, fresh=fresh)
                found = endpoint(name, config, self.principal)
        except ConfigError as error:
            if self.principal is None:
                raise AuthenticationError(error.message, hint=error.hint, provider=name, sent=False) from None
            self._found = None
            raise AuthenticationError(
                f"server {name!r}: there are no credentials of principal {self.principal!r}: {error.message}",
                hint=f"provide what `per_principal` of servers.{name} refers to",
                provider=name,
                sent=False,
            ) from None
        self._looked = time.monotonic()
        if before is None or before != found:
            self._found = before = found
        return before


class Partitions:
    """The credentials of one server, kept while somebody uses them.

    Raises `ConfigError` where `per_principal` of the entry depends on nobody, or nobody could read lists.
    """

    def __init__(self, config: McpConfig, context: Context) -> None:
        self._config = config
        self._context = context
        #: Is the entry made for principals?
        self.personal: Final = config.per_principal is not None
        #: May calls come without one?
        self.common: Final = config.common
        self._known: WeakValueDictionary[str, Credentials] = WeakValueDictionary()
        if config.per_principal is not None:
            _check(context.name, config)
        lists = None if config.common or config.per_principal is None else config.per_principal.lists
        #: Those of the sessions in common, which read the lists.
        self.shared: Final = Credentials(config, context, lists)

    def of(self, principal: str | None) -> Credentials:
        """Those of a principal; None: those of the sessions in common."""
        if principal is None:
            return self.shared
        found = self._known.get(principal)
        if found is None:
            found = self._known[principal] = Credentials(self._config, self._context, principal)
        return found

    def nobody(self) -> AuthenticationError:
        """The error for a call that no principal makes."""
        name = self._context.name
        return AuthenticationError(
            f"server {name!r} has credentials for principals only, and nobody is named",
            hint=f"name a `principal`, or give servers.{name} credentials of its own for such calls",
            provider=name,
            sent=False,
        )


def _check(name: str, config: McpConfig) -> None:
    given = config.per_principal
    assert given is not None, "there is nothing to check otherwise"
    place = f"servers.{name}.per_principal"
    if not config.common and given.lists is None:
        raise ConfigError(
            f"{place}: there are no credentials to read the server's lists with",
            hint=f'give servers.{name} its own, such as `auth = {{type = "none"}}`, or say here as which '
            'principal they are read: `lists = "NAME"`',
        )
    auth = {} if given.auth is None else {**given.auth.headers(), **(given.auth.model_extra or {})}
    texts = list(_texts([auth.values(), given.headers, given.env]))
    bare = [text.removeprefix("Bearer ") for text in texts if PRINCIPAL in text]
    if any(not text.startswith(SCHEME) for text in bare):
        raise ConfigError(
            f"{place}: {PRINCIPAL} stands only in references to secrets",
            hint=f"such as secret://file/run/tokens/{PRINCIPAL}",
        )
    if not bare and (given.auth is None or given.auth.type != "oauth"):
        raise ConfigError(
            f"{place}: nothing in it depends on the principal",
            hint=f"refer to secrets such as secret://file/run/tokens/{PRINCIPAL}",
        )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif not isinstance(value, (bytes, bool, int, float, type(None))):
        for item in value:
            yield from _texts(item)
