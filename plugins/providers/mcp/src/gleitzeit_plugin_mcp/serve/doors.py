"""The outermost door of the HTTP server: which names it answers to, and which pages may ask."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["PATH", "Doors"]

logger = logging.getLogger(__name__)

PATH: Final = "/mcp"
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@,\[\]\\]+)(:[0-9]{1,5})?")
_ORIGIN: Final = re.compile(rf"https?://({_HOST.pattern})")
_Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
_LOOKED_AT: Final = (b"host", b"origin")
#: How much that was in order is kept, and how long it may be.
_SEEN: Final = 256
_LONG: Final = 1024
_HINT: Final = "start it with --allow-host NAME, or name it in allowed_hosts"


class Doors:
    """Refuses what is meant for another host, and pages of somebody else's; with `names` None neither.

    A name lets in its whole machine, one with a port that port alone. The SDK has a check of its own, which
    takes whatever follows the colon for a port.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] | None) -> None:
        self._app = app
        self._names = None if names is None else frozenset(name.lower() for name in names)
        #: What was found in order, as clients say the same with each request.
        self._fine: set[_Headers] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is not None:
            await _refuse(send, *refused)
            return
        if scope["path"] == f"{PATH}/":
            # A redirect would lead to http, where a proxy has taken the TLS away.
            scope = {**scope, "path": PATH, "raw_path": PATH.encode()}
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            pass  # it has left before its request was whole

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        given = tuple((key, value) for key, value in scope["headers"] if key in _LOOKED_AT)
        if given in self._fine:
            return None
        refused = self._fault(given)
        if refused is None and sum(len(value) for _, value in given) <= _LONG:
            if len(self._fine) >= _SEEN:
                self._fine.clear()
            self._fine.add(given)
        return refused

    def _fault(self, given: _Headers) -> tuple[int, str] | None:
        hosts = [value for key, value in given if key == b"host"]
        origins = [value for key, value in given if key == b"origin"]
        if len(hosts) > 1 or len(origins) > 1:
            return 400, "Host and Origin may be there once"
        if self._names is None:
            return None
        host = hosts[0].decode("latin-1").lower() if hosts else ""
        if not self._known(_HOST.fullmatch(host), 0):
            logger.warning("refused a request for the host %s", ascii(host[:200]))
            return 421, f"this server does not answer to this name; {_HINT}"
        origin = origins[0].decode("latin-1").lower() if origins else None
        if origin is not None and not self._known(_ORIGIN.fullmatch(origin), 1):
            logger.warning("refused a request of a page of %s", ascii(origin[:200]))
            return 403, f"pages of this origin may not ask this server; {_HINT}"
        return None

    def _known(self, match: re.Match[str] | None, group: int) -> bool:
        assert self._names is not None, "asked only where there are names"
        return match is not None and not self._names.isdisjoint((match[group], match[group + 1]))


async def _refuse(send: Send, status: int, why: str) -> None:
    body = f"{why}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
