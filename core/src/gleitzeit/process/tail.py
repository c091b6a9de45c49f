"""The last words of a process, without the secrets that it was given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["Tail", "secrets_in"]

_NAMES: Final = re.compile(
    r"key|token|secret|passw|passphrase|pwd|credential|auth|cookie|private|signature|dsn", re.I
)
_RANDOM: Final = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_+=~.\-]{20,}\Z")
_PATTERNS: Final = (
    (re.compile(r"(://)[^/\s:@]*:[^/\s@]+@"), r"\1***@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=\-]{6,}"), r"\1 ***"),
)
#: Terminal control sequences and other control characters, which could repaint the reader's screen.
_CONTROL: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def secrets_in(env: Mapping[str, str], more: Iterable[str] = ()) -> tuple[str, ...]:
    """The values that look secret by their variable's name or by themselves, and `more` that surely are."""
    values = {v for name, v in env.items() if len(v) >= 4 and (_NAMES.search(name) or _RANDOM.match(v))}
    # The longest first: one value may lie inside another.
    return tuple(sorted(values | {value for value in more if value}, key=len, reverse=True))


class Tail:
    """Keeps the last `limit` bytes of an output and gives them as clean text."""

    __slots__ = ("_cut", "_data", "_limit", "_secrets", "total")

    def __init__(self, limit: int, secrets: Iterable[str] = ()) -> None:
        self._limit = limit
        self._secrets = tuple(secrets)
        self._data = bytearray()
        self._cut = False
        #: Bytes seen in all.
        self.total = 0

    def feed(self, chunk: bytes) -> None:
        """Add output."""
        self.total += len(chunk)
        self._data += chunk
        if len(self._data) > 2 * self._limit:
            del self._data[: -self._limit]
            self._cut = True

    def clean(self, text: str) -> str:
        """`text` without secrets and control characters."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return _CONTROL.sub("", text.replace("\r\n", "\n"))

    def text(self, lines: int | None = None, width: int = 400) -> str:
        """The last `lines` lines (None: all that is kept), each cut to `width` characters."""
        data = bytes(self._data[-self._limit :])
        if self._cut or len(self._data) > self._limit:
            data = data.partition(b"\n")[2] or data  # half a line may hold half a secret
        found = self.clean(data.decode("utf-8", "replace")).splitlines()
        found = [line.rstrip() for line in found if line.strip()]
        return "\n".join(line[:width] for line in (found if lines is None else found[-lines:]))
