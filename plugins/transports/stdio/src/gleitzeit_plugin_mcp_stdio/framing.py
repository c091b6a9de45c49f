"""Cuts a stream of bytes into lines."""

from __future__ import annotations

__all__ = ["Lines"]


class Lines:
    """Collects chunks and gives the complete lines in them, without their ends.

    `overflow` turns true once a line is longer than `limit` bytes; that line is never given.
    """

    __slots__ = ("_held", "_parts", "limit", "overflow")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.overflow = False
        self._parts: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes."""
        if self.overflow:
            return []
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines:
            if self._parts:
                lines[0] = b"".join([*self._parts, lines[0]])
                self._parts.clear()
            self._held = 0
            for number, line in enumerate(lines):
                if len(line) > self.limit:
                    self.overflow = True
                    return lines[:number]
        if rest:
            self._parts.append(rest)
            self._held += len(rest)
            if self._held > self.limit:
                self.overflow = True
                self._parts.clear()
        return lines
