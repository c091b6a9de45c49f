"""MCP servers at run time: deploy, call, scale, look at and remove them, from code and without a restart."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from gleitzeit.catalogue import Catalogue
from gleitzeit.config import InstanceConfig
from gleitzeit.errors import (
    ConfigError,
    InvalidRequestError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.health import Checks
from gleitzeit.near import near
from gleitzeit.pipeline import Pipeline
from gleitzeit.records import replace
from gleitzeit.registry import Instance, Registry
from gleitzeit.values import Health, HealthStatus, HistogramData, Invoke, Reply, Request

__all__ = ["ServerInfo", "Servers", "ServersStatus"]

_SECTION: Final = "servers"


@frozen(kw_only=True)
class ServerInfo:
    """A server in the listing.

    `state` is that of its sessions ("starting", "ready", "degraded", "backoff", "open", "idle",
    "stopped"), or that of the instance where it does not run; `health` judges that. `kind` is the
    entry's own word, else its transport.
    """

    name: str = field(kw_only=False)
    kind: str
    state: str
    health: HealthStatus
    detail: str = ""
    priority: int = 0
    tags: tuple[str, ...] = ()
    description: str = ""
    #: Processes or sessions that it has now.
    instances: int = 0


@frozen(kw_only=True)
class ServersStatus:
    """All servers in numbers: they add up with those that `unknown` counts, as they do not run now."""

    total: int = field(kw_only=False)
    healthy: int
    degraded: int
    unhealthy: int
    unknown: int
    #: Seconds that an answer took on average since the host was made; None before the first.
    average_response: float | None


class Servers:
    """`host.servers`: what `[servers]` configures, and what is deployed beside."""

    def __init__(
        self,
        registry: Registry,
        catalogue: Catalogue,
        pipeline: Pipeline,
        checks: Checks,
        read: Callable[[str, Mapping[str, Any]], InstanceConfig],
        call: Callable[[Request], Awaitable[Reply]],
    ) -> None:
        self._registry = registry
        self._catalogue = catalogue
        self._pipeline = pipeline
        self._checks = checks
        self._read = read
        self._call = call
        self._deploying: set[str] = set()

    async def deploy(self, name: str, entry: Mapping[str, Any]) -> None:
        """Add a server and start it, as if `[servers.NAME]` had said so.

        Raises `ConfigError` with every fault of the entry, or what keeps its plugin from running; then
        nothing is left of it. A server that does not come up is a state, not an error: see `state`.
        """
        registry = self._registry
        taken = registry.find("provider", name) is not None or name in self._deploying
        if taken or name in registry.config.routes or name in registry.config.aliases:
            raise ConfigError(
                f"there is a server, provider, route or alias {name!r} already",
                hint="choose another name, or undeploy it first",
            )
        config = self._read(name, entry)
        if config.problem is not None:
            raise ConfigError(config.problem)
        self._deploying.add(name)
        try:
            await registry.adopt(config)
        finally:
            self._deploying.discard(name)

    async def undeploy(self, name: str) -> None:
        """Remove a server: no new calls, those in flight may end within `host.drain_timeout`.

        Cancelling gives up the wait, not the removal.
        """
        instance = self._instance(name)
        try:
            await self._registry.dismiss(instance, self._registry.config.host.drain_timeout)
        finally:
            self._catalogue.drop(name)
            self._pipeline.drop(name)

    async def start(self, name: str) -> bool:
        """Start a server, also one that is stopped or disabled; True where it stands then.

        Waits for its first start to end. Why it does not stand is in `list`; it is tried again.
        """
        registry, instance = self._registry, self._instance(name)
        if not instance.config.enabled:
            instance = await registry.replace(instance, replace(instance.config, enabled=True), 0)
        return (await self._checks.started(instance)).connected

    async def stop(self, name: str) -> None:
        """Stop a server until `start`: it stays in the listing as "disabled", and its calls fail.

        Returns when its processes have ended; calls in flight may end within `host.drain_timeout`.
        """
        registry, instance = self._registry, self._instance(name)
        if instance.config.enabled:
            config = replace(instance.config, enabled=False)
            await registry.replace(instance, config, registry.config.host.drain_timeout)

    async def execute(self, name: str, request: Mapping[str, Any], *, timeout: float | None = None) -> Reply:
        """Send `{"method": ..., "params": {...}}` to one server and wait for the answer.

        `reply.data` is the raw result of a method of the protocol; a method that the protocol lacks is
        a tool of that name. It takes the way of every call: votes, limits, statistics.
        """
        self._instance(name)
        method, params = request.get("method"), request.get("params", {})
        if not isinstance(method, str) or not method or not isinstance(params, Mapping):
            raise InvalidRequestError(
                "a request to a server has a `method`, a text, and `params`, an object",
                hint='{"method": "tools/list", "params": {}}',
                sent=False,
            )
        return await self._call(Invoke(method, arguments=params).to(name, timeout=timeout))

    async def state(self, name: str) -> str:
        """The state of one server, as in `ServerInfo`; waits for its first start to end."""
        instance = self._instance(name)
        return _running(instance, (await self._checks.settled(instance)).health)

    async def scale(self, name: str, instances: int) -> None:
        """Have so many processes or sessions of a server; those too many end with their last call.

        Returns when they have ended. Raises `InvalidRequestError` for less than one.
        """
        instance = self._instance(name)
        if type(instances) is not int or instances < 1:
            raise InvalidRequestError(
                f"server {name!r} cannot have {instances!r} instances",
                hint="give a number from 1, or undeploy it",
                provider=name,
                sent=False,
            )
        built = await instance.start()
        if not hasattr(built, "scale"):
            raise UnsupportedError(f"the plugin of {name!r} has one instance only", provider=name, sent=False)
        await built.scale(instances)

    async def list(self) -> builtins.list[ServerInfo]:
        """All servers, in the order in which they came; starts none."""
        instances = self._all()
        healths = await self._checks.of(instances)
        breakers = {each.name: each.breaker for each in self._pipeline.snapshot().instances}
        return [
            _info(instance, health, breakers.get(instance.name, "closed"))
            for instance, health in zip(instances, healths, strict=True)
        ]

    async def status(self) -> ServersStatus:
        """How many servers are well, and how long they take to answer."""
        found = await self.list()
        snapshot = self._pipeline.snapshot()
        times = HistogramData.merged(snapshot.total(each.name).duration for each in found)
        count = {word: sum(each.health == word for each in found) for word in ("ok", "degraded", "error")}
        return ServersStatus(
            len(found),
            healthy=count["ok"],
            degraded=count["degraded"],
            unhealthy=count["error"],
            unknown=len(found) - sum(count.values()),
            average_response=times.mean,
        )

    def _all(self) -> builtins.list[Instance]:
        return [each for each in self._registry.of_kind("provider") if each.config.section == _SECTION]

    def _instance(self, name: str) -> Instance:
        names = []
        for instance in self._all():
            if instance.name == name:
                return instance
            names.append(instance.name)
        raise UnknownModelError(
            f"there is no server {name!r}",
            near=near(name, names),
            **({} if names else {"hint": "deploy one, or write [servers.NAME]"}),
            sent=False,
        )


def _running(instance: Instance, health: Health) -> str:
    """The state of its sessions, or of itself where it does not run."""
    running = health.data.get("state") if instance.object is not None else None
    return str(running or instance.state.value)


def _info(instance: Instance, health: Health, breaker: str) -> ServerInfo:
    values = instance.config.values
    status: HealthStatus = health.status
    if status == "ok" and breaker != "closed":
        status = "degraded"
    wire = values.get("transport") or ("stdio" if values.get("command") else "http")
    return ServerInfo(
        instance.name,
        kind=str(values.get("kind") or values.get("server_type") or wire),
        state=_running(instance, health),
        health=status,
        detail=health.detail,
        priority=values["priority"] if isinstance(values.get("priority"), int) else 0,
        tags=tuple(map(str, tags)) if isinstance(tags := values.get("tags"), (list, tuple)) else (),
        description=str(values.get("description", "")),
        instances=health.data.get("instances", 0) if instance.object is not None else 0,
    )
