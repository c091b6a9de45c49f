"""HTTP calls of one provider instance: requests out, answers or our errors back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, NamedTuple

import httpx2
import msgspec

from gleitzeit.errors import GleitzeitError, InvalidRequestError, MalformedAnswerError
from gleitzeit.values import RateLimits
from gleitzeit.wire.client import map_http_error
from gleitzeit.wire.closing import surely
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.inflate import chunks_of
from gleitzeit.wire.limits import rate_limits

__all__ = ["Answer", "Exchange", "decoded", "encode", "request_id", "shut"]

#: Bytes of a whole answer; a full batch of embeddings as JSON numbers stays below.
_BODY_LIMIT: Final = 256 * 1024 * 1024
_ERROR_LIMIT: Final = 64 * 1024
_REQUEST_IDS: Final = ("x-request-id", "request-id", "x-ms-request-id", "apim-request-id", "cf-ray")
_encoder: Final = msgspec.json.Encoder()


def encode(body: object) -> bytes:
    """A body as JSON; raises `InvalidRequestError` for what JSON cannot carry."""
    try:
        return _encoder.encode(body)
    except UnicodeEncodeError:
        raise InvalidRequestError("a text holds half a surrogate pair, which JSON cannot carry") from None
    except TypeError as error:
        raise InvalidRequestError(f"an option or schema holds what is not JSON: {error}") from None


def decoded(body: bytes, what: str) -> Any:
    """The JSON in `body`; raises `MalformedAnswerError` where `what` is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedAnswerError(f"{what} is not JSON", body=body, sent=True) from None


class Answer(NamedTuple):
    """A whole answer with a good status."""

    headers: httpx2.Headers
    body: bytes

    @property
    def limits(self) -> RateLimits | None:
        """What the headers say of rate limits; read anew each time."""
        return rate_limits(self.headers)


class Exchange:
    """Sends what a provider has written, through the client of the host.

    `hints` gives the next step by class of error; `secrets` never appear in the text of an error.
    All methods raise `GleitzeitError` for bad statuses and broken connections.
    """

    def __init__(
        self,
        provider: str,
        client: Callable[[], httpx2.AsyncClient],
        *,
        timeout: httpx2.Timeout | None = None,
        hints: Mapping[type[GleitzeitError], str] | None = None,
    ) -> None:
        self.provider = provider
        self.secrets: tuple[str, ...] = ()
        self._client = client
        self._hints = hints
        self._extensions = None if timeout is None else {"timeout": timeout.as_dict()}

    def headers(self, headers: Mapping[str, str]) -> httpx2.Headers:
        """The client's headers with these over them; make them once and use them often."""
        try:
            merged = httpx2.Headers(self._client().headers)
            merged.update(headers)
        except UnicodeEncodeError:
            raise map_http_error(httpx2.LocalProtocolError(""), provider=self.provider) from None
        return merged

    async def fetch(
        self, method: str, url: httpx2.URL, headers: httpx2.Headers, content: bytes | None = None
    ) -> Answer:
        """Send a request and read the whole answer."""
        response = await self.open(method, url, headers, content)
        try:
            body = await self._read(response, _BODY_LIMIT)
        finally:
            await shut(response)
        if body is None:
            message = f"{self.provider}: the answer is larger than {_BODY_LIMIT} bytes"
            raise MalformedAnswerError(message, provider=self.provider, sent=True, retryable=False)
        return Answer(response.headers, body)

    async def open(
        self, method: str, url: httpx2.URL, headers: httpx2.Headers, content: bytes | None = None
    ) -> httpx2.Response:
        """Send a request and give the answer as soon as its headers are there; the caller closes it."""
        request = httpx2.Request(method, url, headers=headers, content=content, extensions=self._extensions)
        try:
            response = await self._client().send(request, stream=True)
        except (httpx2.HTTPError, OSError) as error:
            raise map_http_error(error, provider=self.provider, url=url) from None
        if response.status_code < 300:
            return response
        try:
            body = await self._read(response, _ERROR_LIMIT, cut=True)
        except GleitzeitError:  # the status says more than the break
            body = b""
        finally:
            await shut(response)
        raise self.error(body or b"", response=response)

    def chunks(self, response: httpx2.Response) -> AsyncGenerator[bytes, None]:
        """The decoded bytes of an open answer; raises the client's own exceptions."""
        return chunks_of(response)

    def error(self, body: object, *, response: httpx2.Response | None = None) -> GleitzeitError:
        """The error that an answer, or a frame of a stream, means."""
        headers: Mapping[str, str] = {} if response is None else response.headers
        return answer_error(
            body,
            status=None if response is None else response.status_code,
            headers=headers,
            provider=self.provider,
            request_id=request_id(headers),
            secrets=self.secrets,
            hints=self._hints,
        )

    def broken(self, error: Exception, url: object = None) -> GleitzeitError:
        """The error that an exception of the client means."""
        return map_http_error(error, provider=self.provider, url=url)

    async def _read(self, response: httpx2.Response, limit: int, *, cut: bool = False) -> bytes | None:
        """The body; None, or its beginning if `cut`, where it is larger than `limit`."""
        pieces, size = [], 0
        chunks = self.chunks(response)
        try:
            async for piece in chunks:
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    return b"".join(pieces)[:limit] if cut else None
        except (httpx2.HTTPError, OSError) as error:
            raise self.broken(error, response.request.url) from None
        finally:
            await shut(response, chunks)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def shut(response: httpx2.Response, chunks: AsyncGenerator[bytes, None] | None = None) -> None:
    """Close an answer and the generator of its `chunks`, whoever cancels meanwhile.

    The client shields its closing with an anyio scope, which does not hold against asyncio's own
    `cancel()`: its pool would keep the request for ever. What was read to its end is closed already.
    """
    if response.is_closed:
        return
    await surely(_closed(response, chunks))


async def _closed(response: httpx2.Response, chunks: AsyncGenerator[bytes, None] | None) -> None:
    try:
        if chunks is not None:
            await chunks.aclose()
    finally:
        await response.aclose()


def request_id(headers: Mapping[str, str]) -> str | None:
    """The upstream's own id of the call, bounded; None where it gives none."""
    value = next((value for name in _REQUEST_IDS if (value := headers.get(name))), None)
    return value[:128] if value else None
