"""Newline-delimited JSON, decoded from bytes."""

from __future__ import annotations

from typing import Final

from gleitzeit.errors import MalformedAnswerError

__all__ = ["LINE_LIMIT", "NDJSONDecoder"]

#: Bytes that one line may have.
LINE_LIMIT: Final = 16 * 1024 * 1024


class NDJSONDecoder:
    """Turns chunks of bytes, cut anywhere, into lines without their ends; blank lines are dropped.

    Raises `MalformedAnswerError` when one line is longer than `limit` bytes.
    """

    __slots__ = ("_limit", "_pieces", "_size")

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes."""
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        first, *lines = chunk.split(b"\n")
        self._keep(first)
        lines.insert(0, b"".join(self._pieces))
        self._pieces, self._size = [], 0
        self._keep(lines.pop())
        done = [text for line in lines if (text := line.strip(b" \t\r"))]
        if done and max(map(len, done)) > self._limit:
            raise self._too_long()
        return done

    def close(self) -> list[bytes]:
        """The last line, where the input ended without a line end."""
        line = b"".join(self._pieces).strip(b" \t\r")
        self._pieces, self._size = [], 0
        return [line] if line else []

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > self._limit:
                self._pieces, self._size = [], 0
                raise self._too_long()

    def _too_long(self) -> MalformedAnswerError:
        message = f"a line of the stream is longer than {self._limit} bytes"
        return MalformedAnswerError(message, sent=True, retryable=False)
