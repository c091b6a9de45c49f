"""Sends the HTTP requests of one wire: headers, authorization, redirects, and what failures mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import httpx2

from gleitzeit.errors import (
    AuthenticationError,
    CannotConnectError,
    GleitzeitError,
    PermissionDeniedError,
    ResetError,
)
from gleitzeit.wire.client import map_http_error
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.exchange import request_id, shut
from gleitzeit.wire.inflate import ACCEPTED
from gleitzeit_plugin_mcp_http.events import whole

__all__ = ["Authority", "Link", "NoEndpointError"]

#: Bytes of a refusal that are read.
REFUSAL: Final = 64 * 1024
REDIRECTS: Final = 5
_HINTS: Final[Mapping[type[GleitzeitError], str]] = {
    AuthenticationError: "give the server's credentials in `headers`, `auth` or `oauth`, or renew them",
    PermissionDeniedError: "see what the credentials of this server may do",
}


class Authority(Protocol):
    """Gives access tokens; `gleitzeit_plugin_mcp_http.oauth.OAuth` is one."""

    async def authorization(self) -> str | None:
        """The `Authorization` header for now; None where no token has been asked for yet."""

    async def renew(self, response: httpx2.Response, used: str | None) -> str | None:
        """Another header than `used`, as `response` refused that; raises where there is none."""


class NoEndpointError(CannotConnectError):
    """Nothing at this address takes the messages of this dialect."""


class Link:
    """One server's address with all that every request to it carries.

    Times are in seconds, None for no limit; `secrets` are in no error.
    """

    def __init__(
        self,
        name: str,
        url: httpx2.URL,
        client: httpx2.AsyncClient,
        *,
        headers: Mapping[str, str],
        authority: Authority | None = None,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.url = url
        self._client = client
        self._headers = dict(headers)
        self._authority = authority
        self._timeout = httpx2.Timeout(None, connect=connect_timeout, read=read_timeout)
        self._endless = httpx2.Timeout(None, connect=connect_timeout)
        self._secrets = tuple(secrets)

    async def open(
        self,
        method: str,
        headers: Mapping[str, str | bytes],
        content: bytes | None = None,
        *,
        url: httpx2.URL | None = None,
        endless: bool = False,
        sign_in: bool = True,
    ) -> httpx2.Response:
        """Send, and give the answer of whatever status as soon as its head is there; the caller closes it.

        `endless` answers may be silent for as long as they like; without `sign_in` no other token is
        asked for than the one at hand. Raises what a failed connection or
        sign-in means, with the truth about `sent`.
        """
        token = None if self._authority is None else await self._authority.authorization()
        response = await self._follow(method, headers, content, token, url, endless)
        if self._authority is None or not sign_in or not _wants_token(response):
            return response
        await shut(response)
        token = await self._authority.renew(response, token)
        return await self._follow(method, headers, content, token, url, endless)

    async def _follow(
        self,
        method: str,
        headers: Mapping[str, str | bytes],
        content: bytes | None,
        token: str | None,
        url: httpx2.URL | None,
        endless: bool,
    ) -> httpx2.Response:
        at = self.url if url is None else url
        for _ in range(REDIRECTS):
            response = await self._once(method, at, headers, content, token, endless)
            onward = _onward(response)
            if onward is None:
                return response
            await shut(response)
            if url is None:
                self.url = onward  # else each message would make the detour
            at = onward
        raise NoEndpointError(f"server {self.name!r} redirects in a circle", provider=self.name)

    async def _once(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str | bytes],
        content: bytes | None,
        token: str | None,
        endless: bool,
    ) -> httpx2.Response:
        timeout = self._endless if endless else self._timeout
        given: dict[str, str | bytes] = {**self._headers, "accept-encoding": ACCEPTED, **headers}
        if token is not None:
            given["authorization"] = token
        try:
            fields = {  # one of each name, the last one
                name.lower().encode("ascii"): text if isinstance(text, bytes) else text.encode("ascii")
                for name, text in given.items()
            }
            request = self._client.build_request(
                method, url, headers=fields, content=content, timeout=timeout
            )
            # A header may be no ASCII, and then its name is in the exception with its value.
            return await self._client.send(request, stream=True, follow_redirects=False, auth=None)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise map_http_error(error, provider=self.name, url=url) from None
        except RuntimeError:  # the client is closed, as its host is
            what = f"server {self.name!r}: the connections of this host are closed"
            raise ResetError(what, provider=self.name, sent=False) from None
        except UnicodeEncodeError:
            raise map_http_error(httpx2.LocalProtocolError(""), provider=self.name, url=url) from None

    async def refusal(self, response: httpx2.Response) -> bytes:
        """The beginning of the body of a refusal; empty where it breaks off, as the status says more."""
        try:
            return await whole(response, self.name, REFUSAL, cut=True)
        except GleitzeitError:
            return b""

    def error(self, response: httpx2.Response, body: bytes) -> GleitzeitError:
        """The error that a refusal means."""
        status = response.status_code
        if status in (404, 405, 406, 410, 415) or 300 <= status < 400:
            where = response.headers.get("location", "") if status < 400 else ""
            other = f", a redirect to {_bare(response, where)}, which is not followed" if where else ""
            return NoEndpointError(
                f"server {self.name!r}: HTTP {status}{other}; there is no MCP endpoint at this address",
                hint="correct the `url` of the server, or its `mode`",
                provider=self.name,
                status=status,
                body=body,
                retryable=False,
            )
        return answer_error(
            body,
            status=status,
            headers=response.headers,
            provider=f"server {self.name!r}",
            request_id=request_id(response.headers),
            secrets=self._secrets,
            hints=_HINTS,
        )

    def __repr__(self) -> str:
        return f"<Link to {self.place}>"

    @property
    def place(self) -> str:
        """The address without what may be secret."""
        return str(self.url.copy_with(userinfo=b"", query=None, fragment=None))


def _wants_token(response: httpx2.Response) -> bool:
    """Is it refused for want of a token, or of a scope of it?"""
    if response.status_code == 403:
        return _SCOPE.search(response.headers.get("www-authenticate", "")) is not None
    return bool(response.status_code == 401)


_SCOPE: Final = re.compile(r'\berror\s*=\s*"?insufficient_scope\b', re.I)


def _onward(response: httpx2.Response) -> httpx2.URL | None:
    """Where a redirect leads, if it may be followed: with the same method, within the same origin."""
    following: Any = response.next_request
    if following is None or following.method != response.request.method:
        return None
    here, there = response.request.url, following.url
    if there.userinfo and there.userinfo != here.userinfo:
        return None
    same = (here.scheme, here.host, here.port) == (there.scheme, there.host, there.port)
    upgrade = (here.scheme, here.host, here.port) == ("http", there.host, None) and (
        there.scheme,
        there.port,
    ) == ("https", None)
    return there if same or upgrade else None


def _bare(response: httpx2.Response, location: str) -> str:
    try:
        url = response.request.url.join(location)
        return str(url.copy_with(userinfo=b"", query=None, fragment=None))
    except (httpx2.InvalidURL, ValueError):
        return "somewhere else"
