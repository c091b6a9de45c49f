"""What a running host tells over a Unix socket: how its instances fare, and what its calls came to."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

import msgspec

from gleitzeit.errors import CannotConnectError, ConfigError, GleitzeitError, MalformedAnswerError
from gleitzeit.values.snapshot import Snapshot
from gleitzeit.wire.codec import to_json
from gleitzeit.wire.scrub import scrub

__all__ = ["StatusServer", "Tell", "document", "read"]

#: Seconds for somebody who asks to take the answer.
PATIENCE: Final = 5.0
#: Bytes of the longest document that `read` takes.
LONGEST: Final = 64 * 1024 * 1024
_HINT: Final = "is the application running, with host.status_socket set to this path?"
_TOLD: Final = ("kind", "plugin", "state", "local", "sandbox")

Tell: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]


class StatusServer:
    """Serves one JSON document to each connection, on a Unix socket that only this user can open.

    `tell` makes the document, anew for each connection.
    """

    def __init__(
        self, path: str | os.PathLike[str], tell: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> None:
        self.path = os.fspath(path)
        self._tell = tell
        self._server: asyncio.Server | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self._file: tuple[int, int] | None = None

    async def open(self) -> None:
        """Start to serve; raises `ConfigError` where the socket cannot be made.

        The socket of a process that has died is replaced; that of one that lives is not, nor is
        any other file.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise _unusable(self.path, "this system has no Unix sockets", "leave the key out")
        self._make_room()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind(self.path)
            made = os.stat(self.path)
            self._file = (made.st_dev, made.st_ino)
            os.chmod(self.path, 0o600)  # before anybody can connect, which takes `listen`
            self._server = await asyncio.start_unix_server(self._answer, sock=sock)
        except OSError as error:
            sock.close()
            self._remove()
            reason = error.strerror or str(error)
            raise _unusable(self.path, reason, "name a short path that you may write to") from None
        except BaseException:
            sock.close()
            self._remove()
            raise

    async def close(self) -> None:
        """Stop to serve, and remove the socket. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        self._remove()
        server.close()
        answers = tuple(self._answers)
        for task in answers:
            task.cancel()
        if answers:
            await asyncio.wait(answers)
        await server.wait_closed()

    def _make_room(self) -> None:
        """Remove what a dead process has left behind; raises `ConfigError` where anything else is there."""
        try:
            mode = os.lstat(self.path).st_mode
        except OSError:
            return  # nothing is there, or `bind` says what is wrong
        if not stat.S_ISSOCK(mode):
            raise _unusable(self.path, "there is a file of another kind", "name another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a live server with a full queue must not hold us up
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                with suppress(FileNotFoundError):
                    os.unlink(self.path)
                return
            except FileNotFoundError:
                return
            except OSError:
                pass  # it lives, or is not ours to judge
        raise _unusable(self.path, "another process serves there", "name another path, or end that process")

    def _remove(self) -> None:
        file, self._file = self._file, None
        with suppress(OSError):
            there = os.lstat(self.path)
            if (there.st_dev, there.st_ino) == file:  # not the socket of somebody who came after us
                os.unlink(self.path)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answers.add(task)
        try:
            writer.write(await self._document())
            async with asyncio.timeout(PATIENCE):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # whoever asked has gone or does not read, or the server closes: it ends here in any case
        finally:
            writer.transport.abort()
            self._answers.discard(task)

    async def _document(self) -> bytes:
        try:
            return msgspec.json.encode(await self._tell()) + b"\n"
        except Exception as error:  # noqa: BLE001  # it is told to whoever asked, without text that may quote
            code = error.code if isinstance(error, GleitzeitError) else GleitzeitError.code
            return msgspec.json.encode({"error": {"code": code, "message": type(error).__name__}}) + b"\n"


def document(snapshot: Snapshot, healths: Iterable[Any]) -> dict[str, Any]:
    """The document of a host: its process, its `InstanceHealth`s, and its statistics.

    Of what plugins say of their health it holds a line without keys; their `data` is left out, as
    anything may stand there.
    """
    return {"pid": os.getpid(), "instances": [_told(each) for each in healths], "snapshot": to_json(snapshot)}


def _told(each: Any) -> dict[str, Any]:
    plain = to_json(each)
    health = plain["health"]
    health.pop("data", None)
    if "detail" in health:
        health["detail"] = scrub(health["detail"])
    return {"name": each.name, **{key: plain[key] for key in _TOLD if key in plain}, "health": health}


async def read(path: str, timeout: float = 30.0) -> dict[str, Any]:
    """The document of the host that serves at `path`.

    Raises `CannotConnectError` where nobody does so within `timeout` seconds, and
    `MalformedAnswerError` for what is no such document.
    """
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                data = await _all(reader, path)
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise CannotConnectError(f"{path} does not answer within {timeout:g} s", hint=_HINT) from None
    except (OSError, AttributeError) as error:  # AttributeError: Windows
        reason = error.strerror if isinstance(error, OSError) else "this system has no Unix sockets"
        raise CannotConnectError(f"{path}: {reason or error}", hint=_HINT) from None
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        found = None
    if not isinstance(found, dict) or not ({"instances", "snapshot"} <= found.keys() or "error" in found):
        raise MalformedAnswerError(f"what serves at {path} is no host of Gleitzeit", hint=_HINT)
    if "error" in found:
        why = scrub(str(found["error"]))
        raise MalformedAnswerError(f"the host at {path} could not tell: {why}", hint="see its log")
    return found


async def _all(reader: asyncio.StreamReader, path: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await reader.read(1 << 16):
        parts.append(part)
        size += len(part)
        if size > LONGEST:
            raise MalformedAnswerError(f"{path} sends more than {LONGEST} bytes", hint=_HINT)
    return b"".join(parts)


def _unusable(path: str, why: str, hint: str) -> ConfigError:
    return ConfigError(f"host.status_socket {path}: {why}", hint=hint)
