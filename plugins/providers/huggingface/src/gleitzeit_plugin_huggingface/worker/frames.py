"""Frames between host and worker: four bytes of length, big endian, then a JSON object.

From the host: a job `{"id": …, "do": "generate" | "embed" | "classify" | "load" | "unload" | "loaded", …}`,
`{"id": …, "do": "more", "count": …}` to let it write on, `{"id": …, "do": "stop"}` when its caller has left.
From the worker: `{"is": "ready"}` first, then for each job any number of "began" and "text", and exactly one
of "done", "failed" and "stopped".
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["HEAD", "LIMIT", "Frames", "TooLarge", "pack", "size_of"]

#: Bytes of the length.
HEAD = 4
#: Bytes of the largest frame.
LIMIT = 2**28


class TooLarge(ValueError):
    """A frame is larger than `LIMIT`."""


def pack(frame: Any) -> bytes:
    """A frame as bytes. Raises `TooLarge`, and `ValueError` or `TypeError` for what is no JSON."""
    body = json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict)
    data = body.encode("utf-8", "replace")  # half a surrogate pair is no character
    if len(data) > LIMIT:
        raise TooLarge(f"a frame of {len(data)} bytes; the most is {LIMIT}")
    return len(data).to_bytes(HEAD, "big") + data


def size_of(head: bytes) -> int:
    """The length of the frame behind its first bytes. Raises `TooLarge`."""
    size = int.from_bytes(head, "big")
    if size > LIMIT:
        raise TooLarge(f"a frame of {size} bytes; the most is {LIMIT}")
    return size


class Frames:
    """Cuts bytes into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The frames that `data` completes. Raises `ValueError` where it is no frame."""
        self._held += data
        found: list[dict[str, Any]] = []
        while len(self._held) >= HEAD:
            end = HEAD + size_of(bytes(self._held[:HEAD]))
            if len(self._held) < end:
                break
            frame = json.loads(self._held[HEAD:end])
            del self._held[:end]
            if not isinstance(frame, dict):
                raise ValueError("a frame is a JSON object")
            found.append(frame)
        return found

    @property
    def rest(self) -> int:
        """Bytes of a frame that is not complete."""
        return len(self._held)
