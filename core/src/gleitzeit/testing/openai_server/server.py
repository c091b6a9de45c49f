"""The server: routes, answers in OpenAI's shapes, and faults."""

from __future__ import annotations

import asyncio
import itertools
import json
import zlib
from collections import deque
from types import TracebackType
from typing import Any, Final, Self

from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.testing.openai_server.check import problem
from gleitzeit.testing.openai_server.script import BUILTIN, Answer, Script
from gleitzeit.testing.openai_server.shapes import embeddings, last, stream, whole

__all__ = ["OpenAIServer"]

_KINDS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embedding",
}


class OpenAIServer:
    """Serves a script on 127.0.0.1 while its block is entered.

    `answers` go first, one a request, whatever the model; `faults["/v1/models"]` and so on answer a
    whole path. With an `api_key`, requests without it are refused.
    """

    def __init__(self, script: Script = BUILTIN, *, port: int = 0, api_key: str | None = None) -> None:
        self.script = script
        self.answers: deque[Answer] = deque()
        self.faults: dict[str, Answer] = {}
        self._api_key = api_key
        self._http = LoopbackServer(self._handle, port=port)
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """The base URL, with `/v1`."""
        return f"{self._http.address}/v1"

    @property
    def requests(self) -> list[Call]:
        """Every request in order of arrival."""
        return self._http.requests

    @property
    def connections(self) -> int:
        """Connections that were opened, over all time."""
        return self._http.connections

    async def request(self, number: int = 0) -> Call:
        """The request with this number, as soon as it has arrived."""
        return await self._http.request(number)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def _handle(self, call: Call) -> None:
        answer = self._refusal(call) or self.faults.get(call.path)
        if answer is not None:
            await self._send(call, answer, [])
        elif call.path in _KINDS:
            await self._operate(call, _KINDS[call.path])
        elif call.path == "/v1/models":
            models = [
                {"id": name, "object": "model", "created": 0, "owned_by": "scripted-fake"}
                for name in self.script.models
            ]
            await self._send(call, Answer(body={"object": "list", "data": models}), [])
        else:
            await self._send(call, Answer.error(404, f"Unknown request URL: {call.method} {call.path}."), [])

    def _refusal(self, call: Call) -> Answer | None:
        if self._api_key is None or call.headers.get("authorization") == f"Bearer {self._api_key}":
            return None
        given = call.headers.get("authorization", "").removeprefix("Bearer ")
        message = f"Incorrect API key provided: {given}." if given else "You didn't provide an API key."
        return Answer.error(401, message, code="invalid_api_key")

    async def _operate(self, call: Call, kind: str) -> None:
        body = call.json
        wrong = problem(kind, body)
        if wrong is not None:
            await self._send(call, Answer.error(400, wrong), [])
            return
        model: str = body["model"]
        turn, user, result, tool = last(body)
        if self.answers:
            answer: Answer | None = self.answers.popleft()
        elif not self.script.knows(model):
            message = f"The model `{model}` does not exist or you do not have access to it."
            answer = Answer.error(404, message, code="model_not_found")
        elif kind == "embedding":
            answer = Answer()
        else:
            answer = self.script.answer(model, turn, user)
            if answer is None:
                answer = Answer.error(400, f"The script has no answer of `{model}` to this.")
        assert answer is not None
        answer = answer.filled(user=user, result=result, tool=tool, model=model)
        number = next(self._numbers)
        if answer.body is not None or answer.status != 200:
            await self._send(call, answer, [])
        elif kind == "embedding":
            vectors = embeddings(body, answer.model or model, self.script.dimensions)
            await self._send(
                call, Answer(body=vectors, headers=answer.headers, fault=answer.fault, at=answer.at), []
            )
        elif body.get("stream"):
            await self._send(call, answer, list(stream(answer, body, kind, number)))
        else:
            await self._send(call, answer, [], shaped=whole(answer, body, kind, number))

    async def _send(self, call: Call, answer: Answer, frames: list[Any], shaped: Any = None) -> None:
        if answer.fault is not None and answer.after is None and answer.at is None:
            await _strike(call, answer.fault)
            return
        if frames:
            ends = answer.newline * 2
            texts = [
                frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False) for frame in frames
            ]
            pieces = [f"data: {text}{ends}".encode() for text in texts]
            kind = "text/event-stream; charset=utf-8"
        else:
            body = shaped if answer.body is None else answer.body
            data = (
                body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else _json(body)
            )
            pieces, kind = [data], "application/json"
        headers = {"content-type": kind, "x-request-id": f"fake-{len(self.requests)}", **answer.headers}
        if answer.gzip:
            pieces, headers["content-encoding"] = _gzip(pieces), "gzip"
        if not frames and answer.fault != "cut":
            headers["content-length"] = str(sum(map(len, pieces)))
        await call.start(answer.status, headers)
        await self._write(call, answer, pieces)

    async def _write(self, call: Call, answer: Answer, pieces: list[bytes]) -> None:
        left = sum(map(len, pieces)) + 1 if answer.at is None else answer.at
        for index, piece in enumerate(pieces):
            if answer.delay:
                await asyncio.sleep(answer.delay)
            if index == answer.after:
                left = 0
            for start in range(0, len(piece), answer.chunk or len(piece) or 1):
                part = piece[start : start + (answer.chunk or len(piece))][:left]
                await call.write(part)
                left -= len(part)
                if answer.chunk:
                    await asyncio.sleep(0)
                if not left:
                    break
            if not left and answer.fault is not None:
                await _strike(call, answer.fault)
                if answer.fault != "cut":
                    return
                break
        await call.end()


async def _strike(call: Call, fault: str) -> None:
    if fault == "reset":
        call.reset()
    elif fault == "close":
        call.close()
    elif fault == "stall":
        await call.stall()
    elif fault == "garbage":
        await call.raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n")


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _gzip(pieces: list[bytes]) -> list[bytes]:
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*packed, packer.flush()]
