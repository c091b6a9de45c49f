"""The era that each server was found to speak: remembered by this process and, in a file, by the next."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gleitzeit.version import __version__
from gleitzeit_plugin_mcp.config import McpConfig
from gleitzeit_plugin_mcp.endpoint import hidden

__all__ = ["ERAS", "Eras", "place", "where_kept"]

#: Seconds after which a server is asked again: it may have learned the newer protocol.
LASTING: Final = 7 * 86_400.0
#: Servers that are remembered, and bytes of the file that are read at most.
ROOM: Final = 500
LARGEST: Final = 1 << 20
FILE: Final = "mcp-eras.json"


def where_kept() -> Path | None:
    """The file: in `GLEITZEIT_CACHE`, else in the user's cache directory. None where that is empty."""
    said = os.environ.get("GLEITZEIT_CACHE")
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    try:
        if said is not None:
            return Path(said).expanduser() / FILE if said else None
        return Path(base or Path.home() / ".cache") / "gleitzeit" / FILE
    except RuntimeError:  # nobody's home
        return None


def place(config: McpConfig) -> str:
    """A name for where a server is, without any secret; another version of this package starts anew."""
    arguments = list(config.args)
    for secret in filter(None, hidden(config)):
        arguments = [each.replace(secret, "***") for each in arguments]
    here = ""  # `python server.py` is another server elsewhere
    if config.command is not None:
        with contextlib.suppress(OSError):
            here = os.path.abspath(os.path.expanduser(config.cwd or "."))
    url = urlsplit(config.url or "")
    about = [
        __version__,
        config.wire,
        config.command,
        arguments,
        sorted(config.env),
        here,
        f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}",
    ]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


class Eras:
    """What is known of servers by their places. A memory that cannot be right is dropped, not corrected.

    `path` gives the file, None for no file; it is read once. What cannot be read or written costs the
    next process a greeting more, and nothing else.
    """

    def __init__(
        self, path: Callable[[], Path | None] = where_kept, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._clock = clock
        self._found: dict[str, dict[str, Any]] | None = None

    def known(self, place: str) -> Any:
        """The era, "modern" or "legacy"; None where it is not known. Reads the file, if it was not yet."""
        if self._found is None:
            self._found = self._read()
        found = self._found.get(place)
        return found["era"] if found is not None and self._fresh(found) else None

    def learn(self, place: str, era: str, server: str) -> bool:
        """A session with `server` (its name and version) came to stand. True where `keep` is to follow."""
        found = self._found if self._found is not None else {}
        self._found = found
        before = found.get(place)
        if before is not None and before["era"] == era and self._fresh(before):
            if before["server"] == server:
                return False
            # What is new in an old server may be the newer era: then the next start asks.
            at = self._clock() if era == "modern" else 0.0
        else:
            at = self._clock()
        found[place] = {"era": era, "server": server, "at": at}
        if len(found) > ROOM:
            del found[min(found, key=lambda key: found[key]["at"])]
        return True

    def keep(self) -> None:
        """Write the file, with what other processes have written meanwhile."""
        path, found = self._path(), self._found or {}
        if path is None:
            return
        fresh = [item for item in {**self._read(), **found}.items() if self._fresh(item[1])]
        newest = sorted(fresh, key=lambda item: -item[1]["at"])[:ROOM]
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Whoever reads meanwhile reads the one or the other, and never half of one.
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}-")
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(dict(newest), file)
                os.replace(name, path)
            except OSError:
                os.unlink(name)
                raise

    def forget(self) -> None:
        """Know nothing, as a new process; the file is left alone."""
        self._found = None

    def _fresh(self, found: dict[str, Any]) -> bool:
        return bool(0 <= self._clock() - found["at"] < LASTING)

    def _read(self) -> dict[str, dict[str, Any]]:
        path = self._path()
        try:
            if path is None or path.stat().st_size > LARGEST:
                return {}
            found = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return {key: each for key, each in found.items() if _whole(each)} if isinstance(found, dict) else {}


def _whole(each: Any) -> bool:
    return (
        isinstance(each, dict)
        and each.get("era") in ("modern", "legacy")
        and isinstance(each.get("server"), str)
        and type(each.get("at")) in (int, float)
    )


#: What this process knows.
ERAS: Final = Eras()
