"""Turns the tables of merged layers into instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gleitzeit.config.environment import entry_of
from gleitzeit.config.implicit import fill
from gleitzeit.config.merge import Leaf, Node, Path, Table, dotted, leaves, plain
from gleitzeit.config.model import InstanceConfig, Source
from gleitzeit.config.problems import Problems, problem
from gleitzeit.config.reader import Reader, Report
from gleitzeit.config.resilience import translated
from gleitzeit.config.secrets import BUILTIN
from gleitzeit.config.servers import PLUGIN, Fault, normal
from gleitzeit.config.shape import own
from gleitzeit.config.tables import TABLES
from gleitzeit.discovery import SECTIONS, Index
from gleitzeit.manifest import model_faults

__all__ = ["Instances"]


class Instances:
    """Builds instances under one environment.

    What is wrong with a server, and what a provider's texts ask of the environment in vain, is
    that instance's own problem; anything else is the whole configuration's.
    """

    def __init__(
        self, base: Table, environ: Mapping[str, str], index: Index | None, problems: Problems
    ) -> None:
        self._base = base
        self._environ = environ
        self._index = index
        self._problems = problems

    def build(self, section: str, name: str, node: Node) -> InstanceConfig:
        """The instance; its own problems are in it."""
        path = (section, name)
        faults: list[str] = []

        def alone(where: Source, key: str, what: str, step: str) -> None:
            faults.append(problem(where, key, what, step))

        report: Report = alone if section == "servers" else self._problems.add
        if not name or "/" in name or not name.isprintable() or name != name.strip():
            step = "names have no slash, and no space around them"
            report(node.source, dotted(path), "this cannot name an instance", step)
        if section == "secrets" and name in BUILTIN:
            report(node.source, dotted(path), "this backend is built in", "choose another name")
        if isinstance(node, Leaf):
            fault = node.value if isinstance(node.value, Fault) else Fault("", "expected a table")
            key = ".".join(filter(None, (dotted(path), fault.key)))
            report(node.source, key, fault.what, fault.step or f"write [{dotted(path)}]")
            fields: dict[str, Any] = {"sources": {"": node.source}}
        else:
            # A server, or a provider whose variable is unset, fails alone; a guard must not.
            lenient: Report = alone if section in ("servers", "providers") else self._problems.add
            fields = self._fields(path, node, report, _unless_disabled(node, lenient))
        self._check_twice(path, node)
        return InstanceConfig(
            name,
            **{"plugin": PLUGIN if section == "servers" else name, **fields},
            kind="provider" if section == "servers" else SECTIONS[section],
            problem="; ".join(faults) or None,
            section=section,
        )

    def _fields(self, path: tuple[str, str], node: Table, strict: Report, lenient: Report) -> dict[str, Any]:
        ours = own(path[0])
        rest = Table({key: item for key, item in node.items.items() if key not in ours}, node.source)
        values: dict[str, Any] = Reader(self._environ, lenient).value(rest, path)
        checked = Reader(self._environ, strict).checked
        fields: dict[str, Any] = {}
        for key, item in node.items.items():
            if key in ours and (value := checked(item, ours[key], (*path, key))) is not None:
                fields[key] = value
        sources = {dotted(where): leaf.source for where, leaf in leaves(node)} | {"": node.source}
        models = self._rows(fields.get("models", ()), node, path, strict)
        if path[0] == "servers":
            for key, what, step in normal(values):
                strict(_source(node, key), ".".join((dotted(path), key)), what, step)
            if values.pop("disabled", False):
                fields["enabled"] = False
            capabilities = values.get("capabilities", ())
            models = [{"capabilities": capabilities, **row} for row in models]
            if "sandbox" not in values:
                values["sandbox"] = "none"
                sources["sandbox"] = Source("default, as nothing is said")
        variables = fill(entry_of(*path, self._base, self._index), values, sources, self._environ)
        fields.pop("models", None)
        fields["model_rows"] = tuple(models)
        fields["resilience"] = translated({key: fields.pop(key) for key in TABLES if key in fields})
        targets = fields.get("targets", {})
        fields["targets"] = {glob: translated(tables) for glob, tables in targets.items()}
        fields["tools"] = self._tools(fields.get("tools", {}), node, path, strict)
        return {**fields, "values": values, "sources": sources, "raw": plain(rest), "variables": variables}

    def _rows(self, rows: Any, node: Table, path: Path, report: Report) -> list[dict[str, Any]]:
        """The models as tables; a wrong one is a problem."""
        good = []
        for number, row in enumerate(rows):
            faults = list(model_faults(row))
            for fault in faults:
                where, _, what = fault.partition(": ")
                report(_source(node, "models"), dotted((*path, "models", number)) + where, what, "")
            if not faults:
                good.append({"name": row} if isinstance(row, str) else dict(row))
        return good

    def _tools(
        self, tools: Mapping[str, Mapping[str, Any]], node: Table, path: Path, report: Report
    ) -> dict[str, Mapping[str, Any]]:
        """What is said of tools; a new name that cannot be one is a problem."""
        for glob, said in tools.items():
            new = said.get("rename", "x")
            where = dotted((*path, "tools", glob, "rename"))
            if "/" in new or not new.isprintable() or any(map(str.isspace, new)):
                step = "names have no slash and no space; the instance stays in front of it"
                report(_source(node, "tools"), where, "this cannot name a tool", step)
            elif "*" in new and (glob.count("*") != 1 or new.count("*") != 1 or set(glob) & set("?[")):
                step = "use one * in both, and no ? or [...], or write the names out"
                report(_source(node, "tools"), where, "it is unclear what its * stands for", step)
        return {glob: translated(said) for glob, said in tools.items()}

    def _check_twice(self, path: tuple[str, str], node: Node) -> None:
        """A server is a provider: the same name must not stand in both sections."""
        other = self._base.table("providers").get(path[1]) if path[0] == "servers" else None
        if other is not None:
            what = f"there is a provider of this name as well ({other.source})"
            self._problems.add(node.source, dotted(path), what, "servers are providers: rename one")


def _unless_disabled(node: Table, report: Report) -> Report:
    """What a disabled instance would need is no problem."""
    enabled = node.get("enabled")
    disabled = node.get("disabled")
    if (isinstance(enabled, Leaf) and enabled.value is False) or (
        isinstance(disabled, Leaf) and disabled.value is True
    ):
        return lambda *_: None
    return report


def _source(node: Table, key: str) -> Source:
    item = node.get(key.partition(".")[0])
    return item.source if item is not None else node.source
