"""One configured plugin: built, started, leased and stopped."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias

from gleitzeit.config import InstanceConfig
from gleitzeit.discovery import Entry
from gleitzeit.errors import (
    ConfigError,
    GleitzeitError,
    PluginError,
    PluginIncompatibleError,
    PluginLoadError,
    UsageError,
)
from gleitzeit.values import Model, State

__all__ = ["Builder", "Instance", "Lease"]

RETRY_BASE: Final = 0.1
RETRY_MAX: Final = 30.0
#: How often what frees an instance is cut short when its time is over, a second apart.
CUTS: Final = 2

#: Imports, configures and checks the plugin: gives the object and the hooks that it implements.
Builder: TypeAlias = Callable[["Instance"], Awaitable[tuple[Any, tuple[str, ...]]]]


class Lease(Protocol):
    """A call in flight: whoever holds one keeps the instance alive, and can be told to stop."""

    def fail(self, error: GleitzeitError) -> None:
        """End the call with `error`: the time to drain is over."""


class Instance:
    """A plugin under one configuration and name, with its state.

    `start()` is single-flight and shielded: a caller that gives up does not spoil the start for
    the others. The plugin's lifespan is entered and left by one task that belongs to the host. A
    failed start is a state with its reason, tried again with backoff when next needed.
    """

    def __init__(
        self,
        config: InstanceConfig,
        entry: Entry | None,
        build: Builder,
        *,
        on_change: Callable[[Instance], None],
        start_timeout: float,
    ) -> None:
        self.config = config
        self.entry = entry
        self.object: Any = None
        self.hooks: tuple[str, ...] = ()
        self.state = State.DISCOVERED
        self.error: GleitzeitError | None = None
        self.secrets: tuple[str, ...] = ()
        #: Those of single principals, as far as they can be remembered.
        self.personal: deque[str] = deque(maxlen=1000)
        self.leases: set[Lease] = set()
        self._build = build
        self._on_change = on_change
        self._start_timeout = start_timeout
        self._life: asyncio.Task[None] | None = None
        self._started: asyncio.Future[Any] | None = None
        self._stopping: asyncio.Event | None = None
        self._idle: asyncio.Event | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._closed = False

    @property
    def name(self) -> str:
        """The instance's name."""
        return self.config.name

    @property
    def kind(self) -> str:
        """The plugin's kind."""
        return self.config.kind

    @property
    def reason(self) -> str:
        """Why the instance is not active; empty where there is nothing to say."""
        return str(self.error) if self.error is not None else ""

    @property
    def models(self) -> tuple[Model, ...]:
        """Models known without asking: the operator's and the manifest's."""
        manifest = self.entry.manifest if self.entry is not None else None
        if self.config.models or manifest is None or not manifest.rows_for(self.config.values):
            return self.config.models
        return manifest.models

    @property
    def patterns(self) -> tuple[str, ...]:
        """Name patterns that the plugin's manifest claims, where the operator lists no models."""
        manifest = self.entry.manifest if self.entry is not None else None
        return manifest.patterns if manifest is not None and not self.config.models else ()

    @property
    def local(self) -> bool:
        """Do calls stay on this machine, by the operator's word or else the provider's?"""
        if self.config.local is not None:
            return self.config.local
        return bool(getattr(self.object, "local", False))

    @property
    def sandbox(self) -> str | None:
        """What encloses the process behind it; from the configuration until it has started."""
        if self.object is not None:
            return getattr(self.object, "sandbox", None)
        sandbox = self.config.values.get("sandbox")
        return sandbox if isinstance(sandbox, str) else None

    @property
    def private(self) -> bool:
        """Is a private call under way here?"""
        return any(getattr(lease, "private", False) for lease in self.leases)

    def refuse(self, state: State, error: GleitzeitError) -> None:
        """Settle that this instance cannot be used, and why."""
        self.state, self.error = state, error

    def scrub(self, text: str) -> str:
        """`text` without this instance's secrets, should an error quote one."""
        for secret in (*self.secrets, *self.personal):
            if len(secret) > 3:
                text = text.replace(secret, "***")
        return text

    async def start(self) -> Any:
        """The running object; raises the `PluginError` or `ConfigError` that keeps it from running."""
        if self.object is not None:
            return self.object
        if self._closed:
            raise UsageError("the host is closed", hint="open it again to call")
        if self._life is None:
            if self.error is not None and (
                self.state is not State.FAILED or time.monotonic() < self._retry_at
            ):
                raise self.error.with_traceback(None)  # it would grow with every caller
            self._started = asyncio.get_running_loop().create_future()
            self._stopping = asyncio.Event()
            self._life = asyncio.create_task(
                self._live(self._started, self._stopping), name=f"gleitzeit {self.name}"
            )
        started = self._started
        assert started is not None
        built = await asyncio.shield(started)
        if built is None and self.error is not None:
            raise self.error.with_traceback(None)
        if built is None:
            raise PluginError(f"{self.name!r} was stopped while it started", provider=self.name, sent=False)
        if self.object is not built:
            raise PluginError(f"{self.name!r} is being stopped", provider=self.name, sent=False)
        return built

    def close(self) -> None:
        """Start no more: the host is closing."""
        self._closed = True

    async def stop(self, drain: float) -> None:
        """Wait up to `drain` seconds for the last lease, end the others, leave the lifespan."""
        life, stopping = self._life, self._stopping
        if life is None or stopping is None:
            return
        self.object = None
        self._on_change(self)  # nobody new from here on
        if self.leases:
            if self._idle is None or self._idle.is_set():
                self._idle = asyncio.Event()  # whoever else stops it waits for the same
            try:
                async with asyncio.timeout(drain):
                    await self._idle.wait()
            except TimeoutError:
                self._fail_leases("was stopped")
        stopping.set()
        if self._started is not None and not self._started.done():
            life.cancel()  # still starting: nobody waits for it any more
        await asyncio.wait({life}, timeout=max(drain, 1.0))
        for _ in range(CUTS):  # who frees several things one after the other is cut short at each
            if not life.done():
                life.cancel()
                await asyncio.wait({life}, timeout=1.0)

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        self.leases.discard(lease)
        if self._idle is not None and not self.leases:
            self._idle.set()

    def _fail_leases(self, why: str) -> None:
        for lease in tuple(self.leases):
            lease.fail(
                PluginError(f"{self.name!r} {why} during the call", hint=self.reason, provider=self.name)
            )

    async def _live(self, started: asyncio.Future[Any], stopping: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._start_timeout) as limit:
                built, hooks = await self._build(self)
                async with self._lifespan(built):
                    limit.reschedule(None)
                    self.object, self.hooks = built, hooks
                    self.state, self.error, self._failures = State.ACTIVE, None, 0
                    self._on_change(self)
                    started.set_result(built)
                    await stopping.wait()
        except Exception as error:  # noqa: BLE001 - a failure is a state
            self._failed(error)
        except asyncio.CancelledError:
            if not stopping.is_set():
                self._failed(PluginLoadError(f"plugin {self.name!r} was cancelled", provider=self.name))
        finally:
            if not stopping.is_set():
                self._fail_leases("has failed")  # what they stand on is gone
            self.object, self._life = None, None
            if self.state is State.ACTIVE:
                self.state = State.DISCOVERED
            if not started.done():
                started.set_result(None)
            self._on_change(self)

    def _lifespan(self, built: Any) -> Any:
        return built.lifespan() if hasattr(built, "lifespan") else _Nothing()

    def _failed(self, error: Exception) -> None:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]  # what a task group wraps says more than the group
        self.state = State.FAILED
        if isinstance(error, ConfigError):
            self.state = State.INVALID
        elif isinstance(error, PluginIncompatibleError):
            self.state = State.INCOMPATIBLE
        elif isinstance(error, TimeoutError):
            error = PluginLoadError(
                f"plugin {self.name!r} did not start within {self._start_timeout:g} s",
                hint="raise host.start_timeout, or see the plugin",
            )
        if not isinstance(error, GleitzeitError):
            failure: GleitzeitError = PluginLoadError(
                f"plugin {self.name!r} failed: {type(error).__name__}: {self.scrub(str(error))}",
                hint="see the plugin's log",
            )
            failure.__cause__ = error
            error = failure
        if isinstance(error, PluginError):
            error.provider = error.provider or self.name
        self.error = error
        delay = min(RETRY_MAX, RETRY_BASE * 2**self._failures) * random.uniform(0.5, 1.5)
        self._failures += 1
        self._retry_at = time.monotonic() + delay


class _Nothing:
    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *details: object) -> None:
        return None
