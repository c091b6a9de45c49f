"""Which tools a model sees: all of them, or a search and what it has found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve

from gleitzeit.errors import InvalidRequestError, PluginNotFoundError
from gleitzeit.lookalike import look_alikes
from gleitzeit.values import Reply, Tool

__all__ = ["SEARCH", "SHARE", "Defer", "Offered", "tokens_of"]

#: True shows a search and what it finds, False everything, "auto" the search where all would be too much.
Defer: TypeAlias = Literal["auto"] | bool
#: The name of the search, for the model.
SEARCH: Final = "search_tools"
#: The share of the model's context that descriptions of tools may take before they are deferred.
SHARE: Final = 0.1
#: Characters for each token of JSON: few, as it is dense.
_DENSE: Final = 3.5
#: The parameter of the search that is ours, not the model's.
_AMONG: Final = "among"


class Offered:
    """The tools of one conversation. Raises `InvalidRequestError` where two of them look alike.

    `found` are those that may be used: (name for the model, full name, tool). `search` is the full
    name and the tool that searches, where that is installed; `wanted` is a tool that must be shown.
    """

    def __init__(
        self,
        found: Iterable[tuple[str, str, Tool]],
        *,
        others: Iterable[Tool] = (),
        search: tuple[str, Tool] | None = None,
        context: int | None = None,
        defer: Defer = False,
        wanted: str = "",
    ) -> None:
        self.targets: dict[str, str] = {}
        self._tools: dict[str, Tool] = {}
        for shown, full, tool in found:
            self.targets[shown] = full
            self._tools[shown] = evolve(tool, name=shown)
        others = tuple(others)
        self._visible = dict.fromkeys(self._tools)
        self._search = ""
        if self._tools and _defers(defer, self._tools.values(), search, context):
            if search is None:
                raise PluginNotFoundError(
                    "no plugin that searches among tools is installed and enabled",
                    hint="pip install gleitzeit-plugin-tool-search, or defer=False",
                )
            self._search = search[0]
            self._tools[SEARCH] = _described(search[1], self.targets.values())
            self._visible = {SEARCH: None, **{name: None for name in self._tools if name == wanted}}
        _refuse([*(tool.name for tool in others), *self._tools], self.targets)
        if self._search:
            self.targets[SEARCH] = self._search

    @property
    def visible(self) -> tuple[Tool, ...]:
        """What the model is shown in its next turn."""
        return tuple(self._tools[name] for name in self._visible)

    def searches(self, name: str) -> bool:
        """Is this the search?"""
        return bool(self._search) and name == SEARCH

    def asked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a search, kept to the tools of the conversation."""
        among = [full for shown, full in self.targets.items() if shown != SEARCH]
        return {**arguments, _AMONG: among}

    def take(self, reply: Reply) -> None:
        """Show the tools that a search has found from the next turn on."""
        names = {full: shown for shown, full in self.targets.items()}
        rows = reply.data.get("tools", ()) if isinstance(reply.data, Mapping) else ()
        for row in rows:
            name = names.get(str(row.get("name"))) if isinstance(row, Mapping) else None
            if name is not None:
                self._visible[name] = None


def tokens_of(tools: Iterable[Tool]) -> int:
    """About how many tokens the descriptions and schemas of these tools take."""
    texts = (
        json.dumps([tool.name, tool.description, tool.input_schema], ensure_ascii=False, default=str)
        for tool in tools
    )
    return int(sum(map(len, texts)) / _DENSE)


def _defers(
    defer: Defer, tools: Iterable[Tool], search: tuple[str, Tool] | None, context: int | None
) -> bool:
    if defer != "auto":
        return defer
    return search is not None and context is not None and tokens_of(tools) > SHARE * context


def _described(search: Tool, names: Iterable[str]) -> Tool:
    """The search as the model sees it: what there is to be found, without the parameter that is ours."""
    names = list(names)
    instances = ", ".join(dict.fromkeys(name.partition("/")[0] for name in names))
    schema = dict(search.input_schema)
    properties = {key: item for key, item in schema.get("properties", {}).items() if key != _AMONG}
    return evolve(
        search,
        name=SEARCH,
        description=f"Find tools by what they do; you can use those found from your next turn on. "
        f"There are {len(names)}, of: {instances}.",
        input_schema={**schema, "properties": properties},
    )


def _refuse(names: list[str], targets: Mapping[str, str]) -> None:
    """Raise where two names look alike."""
    for group in look_alikes(names):
        who = " and ".join(ascii(name) for name in group)
        instance, _, own = targets.get(group[-1], "INSTANCE/TOOL").partition("/")
        raise InvalidRequestError(
            f"a model could not tell these tools apart: {who}",
            hint=f'rename one: [servers.{instance}.tools."{own}"] rename = "...", or leave one out',
            sent=False,
        )
