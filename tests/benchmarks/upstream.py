"""A model server of canned bytes in a process of its own, fast enough not to be what is measured.

Prints its port as a JSON line and serves chat completions, whole or as `CHUNKS` chunks of server-sent
events in one burst, until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys

CHUNKS = 100
WORD = "word "
TEXT = WORD * CHUNKS


def _whole() -> bytes:
    answer = {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 9},
    }
    body = json.dumps(answer).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "bench",
        "system_fingerprint": "fp_0123456789",
        "choices": [choice],
    }


def _stream() -> bytes:
    chunks = [_chunk({"content": WORD}) for _ in range(CHUNKS)]
    lines = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in (*chunks, _chunk({}, "stop"))]
    lines.append(b"data: [DONE]\n\n")
    body = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + body


_WHOLE, _STREAM = _whole(), _stream()


class Upstream(asyncio.Protocol):
    """One connection: answers each request as soon as its body is complete."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            head, mark, rest = self._data.partition(b"\r\n\r\n")
            if not mark:
                return
            _, found, after = head.lower().partition(b"content-length:")
            length = int(after.split(b"\r\n", 1)[0]) if found else 0
            if len(rest) < length:
                return
            body, self._data = rest[:length], rest[length:]
            streamed = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(_STREAM if streamed else _WHOLE)


async def serve() -> None:
    """Serve on a free port of the loopback until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=256)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
