"""Offers `search_tools`, and `call_tool` for those who cannot be shown what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from gleitzeit.errors import GleitzeitError, InvalidRequestError, UnknownModelError, UnsupportedError
from gleitzeit.kinds import Context
from gleitzeit.near import near
from gleitzeit.plugin import Provider
from gleitzeit.values import Invoke, Reply, Request, Tool, ToolCall, ToolHints
from gleitzeit_plugin_tool_search.bm25 import Index
from gleitzeit_plugin_tool_search.config import ToolSearchConfig
from gleitzeit_plugin_tool_search.meaning import Meaning, fused
from gleitzeit_plugin_tool_search.words import fields

__all__ = ["ToolSearch"]

_MOST: Final = 100
_TOOLS: Final = (
    Tool(
        "search_tools",
        description="Finds tools by what they do, best first. Say in a few words what should be done.",
        input_schema={
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What the tool should do."},
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": _MOST,
                    "description": "At most so many.",
                },
                "among": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Only tools of these names or patterns.",
                },
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        hints=ToolHints(read_only=True, idempotent=True, open_world=False),
        tags={"search"},
    ),
    Tool(
        "call_tool",
        description="Runs a tool that search_tools has found, by its name and with its arguments.",
        input_schema={
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "The tool's name, as search_tools gives it."},
                "arguments": {"type": "object", "description": "What its input_schema asks for."},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
    ),
)


class ToolSearch(Provider):
    """Searches among what the host offers at the moment of the call."""

    Config: ClassVar = ToolSearchConfig
    manifest: ClassVar[Mapping[str, Any]] = {"capabilities": ["tool_search"]}

    def __init__(self, config: ToolSearchConfig, context: Context) -> None:
        super().__init__(config, context)
        self._limit = config.limit
        self._meaning = Meaning(context, config.embedding_model) if config.embedding_model else None
        #: The index of the tools that were there last; a tool that is the same object has not changed.
        self._indexed: tuple[tuple[str, Tool], ...] = ()
        self._index = Index({})

    @property
    def local(self) -> bool:
        """What it passes on goes through the host, which looks at each target anew."""
        return True

    def provide_tools(self) -> Iterable[Tool]:
        """The search, and where the operator lets it ask the host, the way to what it finds."""
        return _TOOLS if self.context.may_ask else _TOOLS[:1]

    async def call(self, request: Request) -> Reply:
        """Search, or hand a call on; raises `InvalidRequestError` for wrong arguments."""
        operation = request.operation
        if isinstance(operation, ToolCall):
            name, arguments = request.name, operation.arguments
        elif isinstance(operation, Invoke):
            name, arguments = operation.method, operation.arguments
        else:
            what = f"{self.context.name} does not serve {operation.kind}"
            raise UnsupportedError(what, provider=self.context.name, sent=False)
        if name == "search_tools":
            return await self._search(request, arguments)
        if name == "call_tool":
            return await self._call(request, arguments)
        what = f"{self.context.name} has no tool {name!r}"
        raise UnknownModelError(what, provider=self.context.name, sent=False)

    async def _search(self, request: Request, arguments: Mapping[str, Any]) -> Reply:
        query, limit = arguments.get("query"), arguments.get("limit", self._limit)
        among = arguments.get("among", ("*",))
        if not isinstance(query, str) or not query.strip():
            raise self._wrong("query", "a text that says what the tool should do")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _MOST:
            raise self._wrong("limit", f"a number from 1 to {_MOST}")
        if not isinstance(among, (list, tuple)) or not all(isinstance(each, str) for each in among):
            raise self._wrong("among", "a list of names or patterns")
        tools = await self._among(among)
        self._prepare(tools)
        ranking = self._index.rank(query)
        if self._meaning is not None and tools:
            ranking = await self._mixed(self._meaning, query, tools, ranking, request.deadline)
        found = [(name, tools[name]) for name in ranking[:limit]]
        lines = [f"{name}: {tool.description.strip()}" for name, tool in found]
        rows = [
            {"name": name, "description": tool.description, "input_schema": tool.input_schema}
            for name, tool in found
        ]
        text = "\n".join(lines) if lines else f"Nothing found among {len(tools)} tools; try other words."
        return Reply(text, data={"tools": rows, "searched": len(tools)})

    async def _among(self, words: Iterable[str]) -> dict[str, Tool]:
        """What these names, patterns and sets mean. Full names, which may be many, need no resolving."""
        known = dict(self._others(await self.context.tools()))
        found = {word: known[word] for word in words if word in known}
        for word in words:
            if word not in known:
                try:
                    found.update(self._others(await self.context.tools((word,))))
                except UnknownModelError:
                    continue  # it has gone since
        return found

    async def _call(self, request: Request, arguments: Mapping[str, Any]) -> Reply:
        name, given = arguments.get("name"), arguments.get("arguments", {})
        if not isinstance(name, str):
            raise self._wrong("name", "the name of a tool")
        if not isinstance(given, Mapping):
            raise self._wrong("arguments", "an object")
        known = dict(self._others(await self.context.tools()))
        if name not in known:
            raise UnknownModelError(f"no tool {name!r}", near=near(name, known), sent=False)
        asked = ToolCall(given).to(name, deadline=request.deadline, data_class=request.data_class)
        reply = await self.context.ask(asked)
        return Reply(reply.parts, data=reply.data, is_error=reply.is_error)

    def _prepare(self, tools: Mapping[str, Tool]) -> None:
        now = tuple(tools.items())
        if len(now) != len(self._indexed) or any(
            name != old or tool is not before
            for (name, tool), (old, before) in zip(now, self._indexed, strict=True)
        ):
            self._index = Index({name: fields(name, tool) for name, tool in now})
            self._indexed = now

    async def _mixed(
        self,
        meaning: Meaning,
        query: str,
        tools: Mapping[str, Tool],
        words: Sequence[str],
        deadline: float | None,
    ) -> list[str]:
        """The ranking by words and meaning; where the model fails, by words alone."""
        texts = {name: f"{name}: {tool.description}" for name, tool in tools.items()}
        try:
            return fused(words, await meaning.rank(query, texts, deadline))
        except GleitzeitError as error:
            self.context.logger.warning("searching by words alone, as embedding failed: %s", error.code)
            return list(words)

    def _others(self, found: Iterable[tuple[str, Tool]]) -> Iterator[tuple[str, Tool]]:
        """Without our own: nobody searches for the search, and a call of it would go in circles."""
        own = f"{self.context.name}/"
        return ((name, tool) for name, tool in found if not name.startswith(own))

    def _wrong(self, key: str, wanted: str) -> InvalidRequestError:
        what = f"{key}: expected {wanted}"
        hint = "see the tool's input_schema"
        return InvalidRequestError(what, hint=hint, provider=self.context.name, sent=False)
