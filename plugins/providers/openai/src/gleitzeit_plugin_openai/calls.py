"""Tool calls that arrive in fragments.

Servers disagree on what ties fragments together: an index, an id on each, an id on the first only,
or nothing at all. The rules are in the order in which `CallFragments._find` reads.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from typing import Any

from gleitzeit.values import Event, PartDone, ProviderState, ToolCallDelta, ToolCallPart
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_openai.shapes import Function, WireCall

__all__ = ["CallFragments", "as_text", "new_call_id"]


def new_call_id() -> str:
    """An id for a call whose server gave it none."""
    return f"call_{uuid.uuid4().hex[:24]}"


def as_text(arguments: Any) -> str:
    """Arguments as JSON text, as which some servers do not send them."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments, ensure_ascii=False)


class _Call:
    __slots__ = ("arguments", "extra", "id", "name", "place", "wire_id")

    def __init__(self, place: int) -> None:
        self.place = place
        self.id = self.name = self.wire_id = ""
        self.arguments: list[str] = []
        self.extra: Any = None

    @property
    def whole(self) -> bool:
        """Do the arguments so far make a JSON object?"""
        try:
            return isinstance(json.loads("".join(self.arguments)), dict)
        except ValueError:
            return False


class CallFragments:
    """Puts fragments together and gives them as events."""

    def __init__(self, names: WireNames) -> None:
        self._names = names
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int | str, _Call] = {}
        self._legacy: _Call | None = None

    def __len__(self) -> int:
        return len(self._calls)

    def feed(self, fragment: WireCall, events: deque[Event]) -> None:
        """Add a fragment."""
        function = fragment.function
        id = fragment.id if isinstance(fragment.id, str) else ""
        name = function.name if function is not None and isinstance(function.name, str) else ""
        index = fragment.index if isinstance(fragment.index, int | str) else None
        call = self._find(index, id, name)
        if fragment.extra_content is not None:
            call.extra = fragment.extra_content
        self._add(call, id, name, as_text(function.arguments) if function is not None else "", events)

    def feed_legacy(self, function: Function, events: deque[Event]) -> None:
        """Add a fragment of the old `function_call`; where `tool_calls` come too it is only their copy."""
        if self._calls and self._legacy is None:
            return
        if self._legacy is None:
            self._legacy = self._new(None)
        name = function.name if isinstance(function.name, str) else ""
        self._add(self._legacy, "", name, as_text(function.arguments), events)

    def add(self, name: str, arguments: str, events: deque[Event]) -> None:
        """Add a call that was found whole in a text."""
        self._add(self._new(None), new_call_id(), name, arguments, events)

    def close(self, owner: str, events: deque[Event]) -> None:
        """Give ids to calls without, and the state of those that have some."""
        for call in self._calls:
            if not call.id:
                call.id = new_call_id()
                events.append(ToolCallDelta(call.place, id=call.id))
            if call.extra is not None:
                state = ProviderState(
                    owner, data=json.dumps({"extra_content": call.extra}, ensure_ascii=False)
                )
                part = ToolCallPart.parse(
                    call.id, self._names.decode(call.name), "".join(call.arguments), state
                )
                events.append(PartDone(part, index=call.place))

    def _find(self, index: int | str | None, id: str, name: str) -> _Call:
        at_index = self._by_index.get(index) if index is not None else None
        last = self._calls[-1] if self._calls else None
        if id:
            if at_index is not None and at_index.wire_id == id:
                return at_index
            known = self._by_id.get(id)
            if known is not None:
                # One id for two calls: a new index with a name is a new call all the same.
                doubled = name and index is not None and at_index is None
                return self._new(index) if doubled else known
            if at_index is not None and not at_index.id and not (name and at_index.whole):
                return at_index  # the id came late
            return self._new(index)  # also on an index in use: parallel calls that all say 0
        if name:
            before = at_index if index is not None else last
            # A name again is a repetition while the call is unfinished, and a new call after that.
            if before is not None and before.name in ("", name) and not before.whole:
                return before
            return self._new(index)
        return at_index or last or self._new(index)

    def _new(self, index: int | str | None) -> _Call:
        call = _Call(len(self._calls))
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _add(self, call: _Call, id: str, name: str, arguments: str, events: deque[Event]) -> None:
        new_id = new_name = None
        if id and not call.id:
            # An id that two calls share would make their results indistinguishable.
            new_id = call.id = id if id not in self._by_id else new_call_id()
            call.wire_id = id
            self._by_id[call.id] = call
        if name and not call.name:
            call.name = name
            new_name = self._names.decode(name)
        if arguments:
            call.arguments.append(arguments)
        elif new_id is None and new_name is None:
            return
        events.append(ToolCallDelta(call.place, id=new_id, name=new_name, arguments=arguments))
