"""Where OAuth tokens are kept between sessions: in memory, in a file, or where an application likes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from gleitzeit.errors import ConfigError

__all__ = ["FileTokens", "MemoryTokens", "TokenStore"]


class TokenStore(Protocol):
    """Keeps what a server's OAuth client has to remember: secrets, as plain JSON values."""

    async def load(self, key: str) -> Mapping[str, Any]:
        """What was saved under `key`, the name and address of a server; empty if nothing was."""

    async def save(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep `value` under `key`."""


class MemoryTokens:
    """Forgets everything with its host."""

    def __init__(self) -> None:
        self._values: dict[str, Mapping[str, Any]] = {}

    async def load(self, key: str) -> Mapping[str, Any]:
        """See `TokenStore`."""
        return self._values.get(key, {})

    async def save(self, key: str, value: Mapping[str, Any]) -> None:
        """See `TokenStore`."""
        self._values[key] = value


class FileTokens:
    """A JSON file that only its owner can read; each change replaces it as a whole."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).expanduser()
        self._turn = asyncio.Lock()

    async def load(self, key: str) -> Mapping[str, Any]:
        """See `TokenStore`; raises `ConfigError` where the file cannot be read."""
        async with self._turn:
            value = (await asyncio.to_thread(self._read)).get(key, {})
        return value if isinstance(value, Mapping) else {}

    async def save(self, key: str, value: Mapping[str, Any]) -> None:
        """See `TokenStore`; raises `ConfigError` where the file cannot be written."""
        async with self._turn:
            await asyncio.to_thread(self._write, key, value)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the token file {self._path} cannot be read: {type(error).__name__}",
                hint="correct `token_file`, or remove the file to sign in again",
            ) from None
        return found if isinstance(found, dict) else {}

    def _write(self, key: str, value: Mapping[str, Any]) -> None:
        values = self._read()
        values[key] = value
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(values, file)
            temporary.replace(self._path)
        except OSError as error:
            raise ConfigError(
                f"the token file {self._path} cannot be written: {error.strerror}",
                hint="correct `token_file`",
            ) from None
