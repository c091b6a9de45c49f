"""What a configuration says, read and merged: the values that `load` gives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.manifest import as_model
from gleitzeit.records import KW_ONLY, field, record

if TYPE_CHECKING:
    from gleitzeit.discovery import Index
    from gleitzeit.values import Model

__all__ = [
    "ADDRESSES",
    "SHIPPED",
    "Config",
    "HostConfig",
    "HttpConfig",
    "InstanceConfig",
    "RouteConfig",
    "Source",
    "ToolsetConfig",
]


#: Stands in `host.model_data` for what the packages ship.
SHIPPED: Final = "shipped"
#: With one of these keys an instance speaks to an address of the operator's choice: what holds for the
#: vendor, such as its key or its prices, does not hold there.
ADDRESSES: Final = frozenset({"base_url", "url", "endpoint"})


@record(frozen=True)
class Source:
    """Where a value comes from, in words: `gleitzeit.toml:12`, `environment variable X`."""

    where: str
    _: KW_ONLY
    #: Taken as it is: neither `${...}` nor `secret://` mean anything in it.
    literal: bool = field(default=False, repr=False)

    def __str__(self) -> str:
        return self.where


@record(frozen=True)
class InstanceConfig:
    """One configured plugin.

    `values` go to the plugin's `Config`; a reference to a secret in them is a `SecretRef`, and only
    that is one: a plain text that looks like a reference came from elsewhere and must not be resolved.
    """

    name: str
    _: KW_ONLY
    kind: str
    plugin: str
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    enabled: bool = True
    eager: bool = False
    local: bool | None = None
    may_ask: bool = False
    #: The operator's own list of models as written, each with a `name`; reading it imports nothing.
    model_rows: tuple[Mapping[str, Any], ...] = ()
    #: Dotted key -> where it was set; the empty key is the instance's own table.
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)
    #: What keeps this instance, and nothing else, from working.
    problem: str | None = None
    section: str = ""
    #: `values` as they were written: `${VAR}` and references not replaced.
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Nobody wrote it down: an installed plugin that needs no configuration.
    implicit: bool = False
    #: Configuration key -> environment variables that may fill it (from the plugin's manifest).
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    #: The tables `retry`, `circuit_breaker`, ... of the instance; error codes in them are ours.
    resilience: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    #: Glob of models and tools -> the same tables for each of them.
    targets: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    #: Glob of tools -> what is said of them (`rename`, `category`, ...), and the same tables.
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """The operator's own list of models as values; the first look imports `gleitzeit.values`."""
        return tuple(as_model(row) for row in self.model_rows)

    @property
    def addressed(self) -> bool:
        """Does it speak to an address of the operator's choice, not to the vendor's own?"""
        return not ADDRESSES.isdisjoint(self.values)

    @property
    def key(self) -> str:
        """The instance's place in the configuration, as `providers.openai`."""
        return f"{self.section or self.kind}.{self.name}"


@record(frozen=True)
class RouteConfig:
    """A name for several targets in order of preference.

    `options` go to the strategy; a request may choose one of `allow_strategies` instead of `strategy`.
    """

    name: str
    _: KW_ONLY
    targets: tuple[str, ...]
    strategy: str = "ordered"
    options: Mapping[str, Any] = field(default_factory=dict)
    allow_strategies: tuple[str, ...] = ()


@record(frozen=True)
class ToolsetConfig:
    """A name, `@NAME`, for tools: those of `tools` that are of the categories and tags, less `exclude`.

    Empty categories or tags ask for none in particular.
    """

    name: str
    _: KW_ONLY
    tools: tuple[str, ...] = ("*/*",)
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@record(frozen=True)
class HttpConfig:
    """The host's one HTTP client. A proxy may carry a password and is never shown.

    `connect_timeout` is in seconds.
    """

    verify_ssl: bool = True
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    max_connections: int | None = None
    connect_timeout: float = 5.0


@record(frozen=True)
class HostConfig:
    """The host's own settings. Times are in seconds.

    `allow` and `deny` are globs of distributions; `allow` None allows all. `mcp_files` are files
    of MCP servers in the format of another program, read as they are. `model_data` are files that
    know windows and prices of models, first ones first; "shipped" stands for those of the packages.
    `health_interval` 0 probes nothing. `resilience` holds the tables that everything has which says
    nothing else.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    timeout: float = 600.0
    hook_timeout: float = 10.0
    list_timeout: float = 5.0
    start_timeout: float = 60.0
    drain_timeout: float = 10.0
    mcp_files: tuple[str, ...] = ()
    model_data: tuple[str, ...] = (SHIPPED,)
    health_interval: float = 0.0
    status_socket: str | None = None
    tools_lock: str | None = None
    http: HttpConfig = field(default_factory=HttpConfig)
    resilience: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@record(frozen=True)
class Config:
    """A whole configuration, immutable."""

    host: HostConfig = field(default_factory=HostConfig)
    instances: tuple[InstanceConfig, ...] = ()
    routes: Mapping[str, RouteConfig] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    toolsets: Mapping[str, ToolsetConfig] = field(default_factory=dict)
    #: The files that were read.
    files: tuple[str, ...] = ()
    profile: str | None = None
    #: What was ignored, such as unknown keys in foreign files.
    warnings: tuple[str, ...] = ()
    #: Sources of everything that is no instance's, by dotted key.
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)
    index: Index | None = field(default=None, repr=False, compare=False)

    def show(self, reveal: bool = False) -> Mapping[str, Any]:
        """Every key with its value and source, secrets masked.

        Texts with `${VAR}` and references to secrets are shown as written. `reveal` shows what
        they and masked texts stand for, except what lies behind a `secret://` reference.
        """
        from gleitzeit.config.show import show

        return show(self, reveal=reveal)
