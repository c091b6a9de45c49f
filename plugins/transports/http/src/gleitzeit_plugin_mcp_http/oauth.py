"""Gets the access tokens of one server, with the OAuth client of the MCP SDK.

The SDK's flow holds a lock while the request that it authorizes is under way, so that calls would
wait for one another; here it runs by itself, once for all calls that need its outcome.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import json
import logging
import webbrowser
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx2

from gleitzeit.errors import AuthenticationError, ConfigError, GleitzeitError
from gleitzeit.wire.client import map_http_error
from gleitzeit.wire.scrub import scrub
from gleitzeit_plugin_mcp_http.redirect import Returned
from gleitzeit_plugin_mcp_http.settings import OAuthConfig
from gleitzeit_plugin_mcp_http.tokens import TokenStore

__all__ = ["OAuth", "may_visit"]

_GRANT: Final = "gleitzeit_plugin_mcp_http.grant"


class OAuth:
    """Signs in to one server; see `gleitzeit_plugin_mcp_http.link.Authority`."""

    def __init__(
        self,
        name: str,
        url: str,
        config: OAuthConfig,
        store: TokenStore,
        client: httpx2.AsyncClient,
        logger: logging.Logger,
        *,
        principal: str | None = None,
    ) -> None:
        self._name = name
        #: Who signs in where, for people, and the key of their tokens.
        self._label = repr(name) if principal is None else f"{name!r} for principal {principal!r}"
        self._key = f"{name} {url}" if principal is None else f"{name} {url} {json.dumps(principal)}"
        self._url = url
        self._config = config
        self._store = store
        self._client = client
        self._logger = logger
        self._grant: Any = None  # the module with the SDK
        self._remembered: Any = None
        self._flow: Any = None  # the SDK's
        self._running: tuple[str, asyncio.Task[None]] | None = None

    async def authorization(self) -> str | None:
        """The `Authorization` header for now, from what is stored or refreshed; None before a sign-in."""
        if self._flow is None or self._stale():
            await self._once("refresh", self._refresh)
        return self._header()

    async def renew(self, response: httpx2.Response, used: str | None) -> str | None:
        """Another header than `used`, as `response` refused that.

        A sign-in goes on when its caller is cancelled: a person may be at it. Raises
        `AuthenticationError` where it fails, and `WireError` where the authorization server is out of
        reach.
        """
        if response.status_code != 401 or self._header() in (None, used):
            await self._once("sign in", lambda: self._sign_in(response))
        return self._header()  # else somebody has just got another

    async def close(self) -> None:
        """End a sign-in that is under way."""
        if self._running is not None:
            self._running[1].cancel()
            await asyncio.wait({self._running[1]})

    def _header(self) -> str | None:
        tokens = None if self._flow is None else self._flow.context.current_tokens
        return None if tokens is None else f"Bearer {tokens.access_token}"

    def _stale(self) -> bool:
        context = self._flow.context
        return not context.is_token_valid() and bool(context.can_refresh_token())

    async def _once(self, what: str, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it, or wait for the one that does it already, and share what comes of it."""
        while self._running is not None and not self._running[1].done() and self._running[0] != what:
            await asyncio.wait({self._running[1]})
        if self._running is None or self._running[1].done():
            task = asyncio.create_task(self._guarded(make()), name=f"http: {what} at {self._name}")
            self._running = what, task
        task = self._running[1]
        await asyncio.wait({task})
        if task.cancelled():
            raise self._failed("the host is closing", hint="sign in once it runs again")
        error = task.exception()
        if isinstance(error, ConfigError):
            raise ConfigError(error.message, hint=error.hint)
        if isinstance(error, GleitzeitError):  # one for each who waited
            raise type(error)(error.message, hint=error.hint, provider=self._name, sent=False)
        if error is not None:
            raise error

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Say of what fails what it means."""
        try:
            await work
        except GleitzeitError:
            raise
        except (httpx2.HTTPError, OSError) as error:
            raise map_http_error(error, provider=f"the sign-in to server {self._label}") from None
        except Exception as error:  # noqa: BLE001 - the errors of the SDK and of pydantic have no common base
            secrets = () if self._remembered is None else self._remembered.secrets
            what = scrub(f"{type(error).__name__}: {error}", secrets)
            raise self._failed(what) from None

    def _failed(self, what: str, hint: str | None = None) -> AuthenticationError:
        return AuthenticationError(
            f"signing in to server {self._label} failed: {what}",
            hint=hint or "check `oauth` in the options of the server",
            provider=self._name,
            sent=False,
        )

    async def _refresh(self) -> None:
        if self._flow is None:
            self._grant = await asyncio.to_thread(importlib.import_module, _GRANT)
            self._remembered = self._grant.Remembered(self._store, self._key, self._config)
            self._flow = self._grant.flow(self._url, self._remembered, self._config)
        await self._drive(httpx2.Request("GET", self._url), None)
        if self._flow.context.current_tokens is None:  # what was refused once would be refused again
            await self._remembered.forget()

    async def _sign_in(self, response: httpx2.Response) -> None:
        context = self._flow.context
        if response.status_code == 401 and context.can_refresh_token():
            before = self._header()
            context.token_expiry_time = 1.0  # the server says that it is over
            await self._refresh()
            if self._header() not in (None, before):
                return
        headers = {key: value for key, value in response.request.headers.items() if key.startswith("mcp-")}
        request = httpx2.Request("POST", self._url, headers=headers)
        if self._config.grant == "client_credentials":
            await self._drive(request, response)
            return
        if self._config.person == "never":
            raise self._failed(
                "a person would have to sign in, and may not be asked",
                hint='say `person = "browser"` or "log" in its `oauth`, or use client credentials',
            )
        async with AsyncExitStack() as stack:
            returned = await self._listen(stack)
            self._grant.redirect_to(context, returned.url)
            context.redirect_handler = self._ask
            context.callback_handler = lambda: self._back(returned)
            try:
                async with asyncio.timeout(self._config.patience):
                    await self._drive(request, response)
            except TimeoutError:
                raise self._failed(f"nobody signed in within {self._config.patience:g} s") from None

    async def _listen(self, stack: AsyncExitStack) -> Returned:
        """Wait for a browser at the port that is configured or registered, else at any."""
        port = self._config.redirect_port or self._remembered.port
        try:
            return await stack.enter_async_context(Returned(port))
        except OSError:
            if self._config.redirect_port:
                raise self._failed(f"port {port} of this machine is taken", hint="free it") from None
        self._flow.context.client_info = self._remembered.configured()  # registered for another port
        return await stack.enter_async_context(Returned(0))

    async def _ask(self, url: str) -> None:
        """Show a person the way."""
        await self._check(httpx2.URL(url))
        if self._config.person == "browser" and await asyncio.to_thread(webbrowser.open, url):
            return
        self._logger.warning("server %s wants a person to sign in at: %s", self._label, url)

    async def _back(self, returned: Returned) -> Any:
        found = await returned.parameters()
        if "error" in found:
            text = scrub(f"{found['error']} {found.get('error_description', '')}", self._remembered.secrets)
            raise self._failed(f"the authorization server says: {text}")
        return self._grant.returned(found)

    async def _check(self, url: httpx2.URL) -> None:
        """Servers say where to sign in; that must not lead this machine's requests where others cannot go."""
        if not await may_visit(url, httpx2.URL(self._url), self._config.issuer):
            raise self._failed(
                f"its metadata points to {url.copy_with(userinfo=b'', query=None, fragment=None)}",
                hint="a public server may send us only to public https:// addresses; where this is meant, "
                "name that host as `issuer`",
            )

    async def _drive(self, request: httpx2.Request, response: httpx2.Response | None) -> None:
        """Run the SDK's flow around `request`, which is answered with `response` and never sent.

        Without a response it ends before the request, with stored tokens loaded and old ones refreshed.
        """
        flow = self._flow.async_auth_flow(request)
        try:
            wanted = await anext(flow)
            while True:
                if wanted is not request:
                    await self._check(wanted.url)
                    answer = await self._client.send(wanted, follow_redirects=False, auth=None)
                elif response is not None:
                    answer, response = response, None
                else:
                    return
                wanted = await flow.asend(answer)
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()


async def may_visit(url: httpx2.URL, server: httpx2.URL, issuer: str | None) -> bool:
    """May a sign-in to `server` lead to `url`?

    To the hosts of the server and the issuer always, else to public addresses over https; further on the
    network that the server itself is in, but never to link-local ones, where clouds keep their keys.
    """
    if url.scheme not in ("http", "https") or not url.host:
        return False
    if url.host == server.host or (issuer is not None and url.host == httpx2.URL(issuer).host):
        return True
    there = await _addresses(url.host)
    if any(each.is_link_local for each in there):
        return False
    if not all(each.is_global for each in await _addresses(server.host)):
        return True
    return url.scheme == "https" and all(each.is_global for each in there)


async def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Where a host is; nothing where nobody knows."""
    try:
        rows = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), None)
    except (OSError, UnicodeError):
        return []
    found = [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in rows]
    return [getattr(each, "ipv4_mapped", None) or each for each in found]
