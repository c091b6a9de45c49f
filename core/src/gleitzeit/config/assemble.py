"""Puts the layers of a configuration together and tells everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from gleitzeit.config.environment import arguments, variables
from gleitzeit.config.files import Document, read
from gleitzeit.config.instances import Instances
from gleitzeit.config.merge import Table, dotted, leaves, merge
from gleitzeit.config.model import SHIPPED, Config, HostConfig, HttpConfig, InstanceConfig, RouteConfig
from gleitzeit.config.problems import Problems
from gleitzeit.config.profiles import INSTANCES, apply
from gleitzeit.config.reader import Reader
from gleitzeit.config.resilience import translated
from gleitzeit.config.servers import foreign
from gleitzeit.config.shape import HOST, ROUTE
from gleitzeit.config.tables import DEFAULTS
from gleitzeit.config.toolsets import toolsets
from gleitzeit.discovery import Index
from gleitzeit.errors import ConfigError

__all__ = ["assemble"]


def assemble(
    file: str | None,
    data: Mapping[str, Any] | None,
    profile: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    index: Index | None,
) -> Config:
    """The configuration of a file or of `data`, with what goes over it; see `load`."""
    problems = Problems()
    if file is not None:
        document = read(file)
    else:
        name = "no configuration file" if data is None else "configuration in code"
        document = Document(name, os.getcwd(), data or {}, {})
    environ = {"GLEITZEIT_CONFIG_DIR": document.directory, **environ}
    base = apply(document, profile, problems)
    base, files, warnings = _with_foreign(base, document, environ, overrides, problems)
    base = _merged(base, variables(environ, base, index, problems))
    base = _merged(base, arguments(overrides, base, index, problems))
    reader = Reader(environ, problems.add)
    config = Config(
        host=_host(base, reader, document.directory),
        instances=_instances(base, environ, index, problems),
        routes=_routes(base, reader),
        aliases=_aliases(base, reader, problems),
        toolsets=toolsets(base, reader, problems),
        files=(*([document.name] if file is not None else []), *files),
        profile=profile,
        warnings=tuple(warnings),
        sources={dotted(where): leaf.source for where, leaf in leaves(base) if where[0] not in INSTANCES},
        index=index,
    )
    if config.host.model_data != HostConfig.model_data:
        _check_model_data(config, problems)
    problems.raise_if_any()
    return config


def _with_foreign(
    base: Table,
    document: Document,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    problems: Problems,
) -> tuple[Table, list[str], list[str]]:
    """`base` over the servers of the files in `host.mcp_files`, which the layers above may name as well."""
    quiet = Problems()  # what is wrong with the host's settings is told when they are read
    above = _merged(base, variables(environ, base, None, quiet, sections=("host",)))
    above = _merged(above, arguments(overrides, above, None, quiet))
    names = _host(above, Reader(environ, quiet.add), document.directory).mcp_files
    warnings: list[str] = []
    servers: Table = Table({}, base.source)
    for name in names:
        try:
            more = foreign(name, problems, warnings)
        except ConfigError as error:
            problems.lines.extend(error.problems)
            continue
        for twice in sorted(more.items.keys() & servers.items.keys()):
            where = more.items[twice].source
            problems.add(
                where,
                dotted(("servers", twice)),
                f"it stands in {servers.items[twice].source} too",
                "rename one",
            )
        servers = _merged(servers, more)
    if not servers.items:
        return base, list(names), warnings
    return _merged(Table({"servers": servers}, base.source), base), list(names), warnings


def _host(base: Table, reader: Reader, directory: str) -> HostConfig:
    given = reader.settings(base.table("host"), HOST, ("host",))
    http = given.pop("http", {})
    if "ca_file" in http:
        http["ca_file"] = _place(http["ca_file"], directory)
    for key in ("status_socket", "tools_lock"):
        if key in given:
            given[key] = _place(given[key], directory)
    resilience = translated({key: given.pop(key) for key in DEFAULTS if key in given})
    given["mcp_files"] = [_place(name, directory) for name in given.get("mcp_files", ())]
    if "model_data" in given:
        places = [name if name == SHIPPED else _place(name, directory) for name in given["model_data"]]
        given["model_data"] = places
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in given.items()
    }
    return HostConfig(**settings, http=HttpConfig(**http), resilience=resilience)


def _check_model_data(config: Config, problems: Problems) -> None:
    """What the operator's files on models say must hold; reading them again later is no matter."""
    from gleitzeit.modeldata import Known

    try:
        Known(config.host.model_data)
    except ConfigError as error:
        for fault in error.problems:
            problems.add(config.sources.get("host.model_data"), "host.model_data", fault)


def _place(name: str, directory: str) -> str:
    """A path as the file means it: relative to its own directory."""
    return os.path.normpath(os.path.join(directory, os.path.expanduser(name)))


def _routes(base: Table, reader: Reader) -> dict[str, RouteConfig]:
    routes = {}
    for name, node in base.table("routes").items.items():
        given = reader.settings(node, ROUTE, ("routes", name))
        routes[name] = RouteConfig(
            name,
            targets=tuple(given.get("targets", ())),
            strategy=given.get("strategy", "ordered"),
            options=given.get("options", {}),
            allow_strategies=tuple(given.get("allow_strategies", ())),
        )
    return routes


def _aliases(base: Table, reader: Reader, problems: Problems) -> dict[str, str]:
    aliases = {}
    for name, node in base.table("aliases").items.items():
        aliases[name] = reader.checked(node, {"type": "string", "minLength": 1}, ("aliases", name))
        if base.table("routes").get(name) is not None:
            problems.add(
                node.source, dotted(("aliases", name)), "there is a route of this name", "rename one"
            )
    return aliases


def _instances(
    base: Table, environ: Mapping[str, str], index: Index | None, problems: Problems
) -> tuple[InstanceConfig, ...]:
    build = Instances(base, environ, index, problems).build
    return tuple(
        build(section, name, node)
        for section in INSTANCES
        for name, node in base.table(section).items.items()
    )


def _merged(base: Table, over: Table) -> Table:
    merged = merge(base, over)
    assert isinstance(merged, Table), "tables merge to a table"
    return merged
