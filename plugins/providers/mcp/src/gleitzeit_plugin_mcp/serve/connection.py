"""Connections of the HTTP server that may not take for ever to say what they want."""

from __future__ import annotations

import asyncio
from typing import Any, Final

__all__ = ["protocol"]

#: Seconds until the head of a request must have come, from the connection's or the head's first byte.
PATIENCE: Final = 30.0
#: Bytes of a head, beyond those that came with its first packet.
HEAD: Final = 64 * 1024


def protocol() -> Any:
    """For uvicorn: the faster of its parsers, with bounds; where it is not there, its other one, h11.

    That bounds the length of a head by itself.
    """
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return "auto"

    class Bounded(HttpToolsProtocol):
        """Ends connections whose head is too long or too slow."""

        _timer: asyncio.TimerHandle | None = None
        _whole = _begun = False
        _length = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._whole, self._begun, self._length = False, True, 0

        def on_headers_complete(self) -> None:
            self._whole = True
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            self._begun = False
            super().data_received(data)
            if self._whole:
                self._rest()
                return
            self._length += 0 if self._begun else len(data)
            if self._length > HEAD:
                self.send_400_response("The head of the request is too long.")
            elif self._timer is None:
                self._wait()

        def _wait(self) -> None:
            self._timer = self.loop.call_later(PATIENCE, self._late)

        def _late(self) -> None:
            cycle: Any = self.cycle  # None until the first request
            if cycle is not None and not cycle.response_complete:
                self._wait()  # it is still told something
            else:
                self.transport.close()

        def _rest(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Bounded
