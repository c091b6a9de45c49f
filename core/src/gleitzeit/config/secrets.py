"""References to secrets, and what lies behind them: the backends `env` and `file`, others by a port."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from gleitzeit.errors import ConfigError, GleitzeitError

if TYPE_CHECKING:
    import asyncio

    from gleitzeit.kinds import Secrets

__all__ = ["BUILTIN", "PRINCIPAL", "SCHEME", "SecretRef", "SecretResolver"]

SCHEME: Final = "secret://"
#: The backends that need no plugin; no plugin can take their names.
BUILTIN: Final = ("env", "file")
_SHAPE: Final = r"(?s)secret://([A-Za-z0-9][A-Za-z0-9._-]*)/(.+)"
_LIMIT: Final = 1 << 20
#: Stands in a reference for whoever calls.
PRINCIPAL: Final = "{principal}"
#: Values that are kept before those that are too old are thrown away.
_KEPT: Final = 1024


class SecretRef(str):
    """A text that the configuration means as a reference: `secret://backend/path#field`.

    Being of this type is what makes it one. A text that only looks like it, as the value of an
    environment variable may, is never resolved.
    """

    __slots__ = ("backend", "field", "path")

    backend: str
    path: str
    field: str | None

    def __new__(cls, text: str) -> Self:
        match = re.fullmatch(_SHAPE, text)
        path, mark, field = match[2].rpartition("#") if match is not None else ("", "", "")
        if match is None or (mark and not (path and field)):
            # Text that is none may be the secret itself, handed over by mistake.
            shown = repr(text) if text.startswith(SCHEME) else "this text"
            raise ConfigError(
                f"{shown} is no reference to a secret", hint="write secret://backend/path#field"
            )
        reference = super().__new__(cls, text)
        reference.backend = match[1]
        reference.path, reference.field = (path, field) if mark else (match[2], None)
        return reference

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reference in `text`; raises `ConfigError`."""
        return cls(text)

    @property
    def personal(self) -> bool:
        """Does it depend on who calls?"""
        return PRINCIPAL in self

    def of(self, principal: str) -> SecretRef:
        """The reference of one principal, whose name goes into it as one harmless word.

        Letters and digits of ASCII, `-`, `_`, `@`, and `.` after the first place stay; each other byte
        of its UTF-8 becomes `%XX`. So no two names give one word, and none is a path of its own.
        """
        from urllib.parse import quote

        if not principal:
            raise ConfigError(f"{self}: a principal without a name has no secrets")
        word = quote(principal.encode("utf-8", "surrogatepass"), safe="@").replace("~", "%7E")
        if word[0] == ".":
            word = "%2E" + word[1:]
        return SecretRef(self.replace(PRINCIPAL, word))


class SecretResolver:
    """Gives the values behind references, kept for `ttl` seconds.

    `backends` gives the backend of a name (it may raise); `env` and `file` are built in:
    `secret://env/NAME`, and `secret://file/run/secrets/x` for the file `/run/secrets/x` (a
    second slash does no harm), less one newline at its end. A `#field` is looked up in the JSON
    object that the secret must be then. Errors name the reference, never a value.
    """

    def __init__(
        self,
        backends: Callable[[str], Awaitable[Secrets]] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        ttl: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backends = backends
        self._environ = os.environ if environ is None else environ
        self._ttl = ttl
        self._clock = clock
        self._known: dict[str, tuple[float, str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def resolve(self, reference: str) -> str:
        """The value; raises `ConfigError` where there is none. Simultaneous questions are asked once."""
        import asyncio

        parsed = reference if isinstance(reference, SecretRef) else SecretRef(reference)
        async with self._locks.setdefault(parsed, asyncio.Lock()):
            known = self._known.get(parsed)
            if known is not None and self._clock() - known[0] < self._ttl:
                return known[1]
            try:
                value = await self._ask(parsed)
            except ConfigError:
                self._locks.pop(parsed, None)  # names of principals that have none may be without number
                raise
            if len(self._known) >= _KEPT:
                self._clear()
            self._known[parsed] = self._clock(), value
            return value

    def _clear(self) -> None:
        """Drop what would be asked for anew anyway."""
        now = self._clock()
        for reference in [key for key, (at, _) in self._known.items() if now - at >= self._ttl]:
            del self._known[reference]
            lock = self._locks.get(reference)
            if lock is not None and not lock.locked():
                del self._locks[reference]

    async def resolve_all(self, values: Any) -> Any:
        """Nested `values` with each `SecretRef` in them replaced by what it refers to."""
        if isinstance(values, SecretRef):
            return await self.resolve(values)
        if isinstance(values, Mapping):
            return {key: await self.resolve_all(item) for key, item in values.items()}
        if isinstance(values, (list, tuple)):
            return [await self.resolve_all(item) for item in values]
        return values

    def forget(self, reference: str | None = None) -> None:
        """Ask anew when next needed, as after a refused key: for one reference, or for all."""
        if reference is None:
            self._known.clear()
        else:
            self._known.pop(reference, None)

    async def _ask(self, reference: SecretRef) -> str:
        if reference.backend == "env":
            return _field(reference, self._variable(reference))
        if reference.backend == "file":
            import asyncio

            return _field(reference, await asyncio.to_thread(_read, reference))
        if self._backends is None:
            raise ConfigError(
                f"{reference}: there is no backend {reference.backend!r}", hint="use env or file"
            )
        try:
            backend = await self._backends(reference.backend)
            value = await backend.resolve(reference.path, reference.field)
        except GleitzeitError as error:
            raise ConfigError(f"{reference}: {error.message}", hint=error.hint) from error
        except Exception as error:  # noqa: BLE001  # a stranger's, and its text may quote the secret
            raise ConfigError(
                f"{reference}: backend {reference.backend!r} raised {type(error).__name__}",
                hint="see the backend's own log",
            ) from None
        if not isinstance(value, str):
            raise ConfigError(f"{reference}: backend {reference.backend!r} gave no text")
        return value

    def _variable(self, reference: SecretRef) -> str:
        value = self._environ.get(reference.path)
        if not value:
            state = "is not set" if value is None else "is empty"
            raise ConfigError(f"{reference}: environment variable {reference.path} {state}", hint="set it")
        return value


def _read(reference: SecretRef) -> str:
    path = reference.path if os.path.isabs(reference.path) else "/" + reference.path
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path of a file"
        raise ConfigError(
            f"{reference}: {path}: {reason}", hint="the path is absolute; see who may read it"
        ) from None
    if len(data) > _LIMIT:
        raise ConfigError(f"{reference}: {path} is larger than 1 MiB")
    text = None
    try:
        text = data.decode()
    except UnicodeDecodeError:  # its text quotes bytes of the file
        pass
    if text is None:
        raise ConfigError(f"{reference}: {path} is no UTF-8 text")
    for newline in ("\r\n", "\n"):
        if text.endswith(newline):
            return text.removesuffix(newline)
    return text


def _field(reference: SecretRef, text: str) -> str:
    if reference.field is None:
        return text
    data: Any = None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # its text quotes the secret
        pass
    if not isinstance(data, dict):
        raise ConfigError(f"{reference}: it is no JSON object, so it has no fields", hint="drop the #field")
    if reference.field not in data:
        raise ConfigError(f"{reference}: the JSON object has no such field")
    value = data[reference.field]
    return value if isinstance(value, str) else json.dumps(value)
