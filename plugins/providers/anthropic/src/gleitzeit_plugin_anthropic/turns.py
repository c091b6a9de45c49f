"""Messages as the turns of the Messages API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Message, Part, TextPart, ThinkingPart, ToolCallPart, ToolResultPart
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.parts import kinds
from gleitzeit_plugin_anthropic.marks import MARK, read_state
from gleitzeit_plugin_anthropic.parts import BlockWriter

__all__ = ["TurnWriter"]


class TurnWriter:
    """Writes the conversation of one request: `system`, `turns` and the `container` that goes on.

    Turns of one side that follow each other are one on the wire, with the results of tools first, as
    the API wants all results of an assistant's calls at the beginning of one turn.
    """

    def __init__(self, names: WireNames, owner: str, *, system_turns: bool) -> None:
        self._writer = BlockWriter(names, owner)
        self._owner = owner
        self._system_turns = system_turns
        self._system: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        #: The container of the last answer; None where there is none, or it has expired.
        self.container: str | None = None

    @property
    def system(self) -> Any:
        """The system text: a string where that says everything, else blocks; None where there is none."""
        if not self._system:
            return None
        plain = len(self._system) == 1 and self._system[0].keys() == {"type", "text"}
        return self._system[0]["text"] if plain else self._system

    def write(self, messages: Iterable[Message]) -> None:
        """Write all messages."""
        for message in messages:
            if message.role == "system":
                blocks = self._writer.texts(message.parts, "a system turn")
                if self._system_turns and self.turns:
                    self._add("system", blocks)
                else:
                    self._system += blocks
            elif message.role == "assistant":
                self._add("assistant", self._assistant(message.parts))
            else:
                self._user(message)

    def _user(self, message: Message) -> None:
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        rest: list[Part] = [part for part in message.parts if not isinstance(part, ToolResultPart)]
        if message.role == "tool" and rest:
            raise InvalidRequestError(f"a tool turn holds tool results only, not {kinds(rest)}")
        blocks = [block for part in rest if (block := self._writer.content(part)) is not None]
        self._add("user", blocks, results=[self._writer.result(part) for part in results])

    def _add(
        self, role: str, blocks: list[dict[str, Any]], results: list[dict[str, Any]] | None = None
    ) -> None:
        results = results or []
        if not blocks and not results:
            return
        last = self.turns[-1] if self.turns else None
        if last is None or last["role"] != role:
            self.turns.append({"role": role, "content": [*results, *blocks]})
            return
        content = last["content"]
        place = sum(isinstance(block, dict) and block.get("type") == "tool_result" for block in content)
        content[place:place] = results
        content += blocks

    def _assistant(self, parts: Iterable[Part]) -> list[Any]:
        blocks: list[Any] = []
        for part in parts:
            if isinstance(part, TextPart):
                block = self._writer.text(part)
                if block is not None:
                    blocks.append(block)
            elif isinstance(part, ToolCallPart):
                blocks.append(self._writer.call(part))
            elif isinstance(part, ThinkingPart):
                self._kept(part, blocks)
            else:
                raise UnsupportedError(f"an assistant turn cannot hold {kinds([part])} in the Messages API")
        return blocks

    def _kept(self, part: ThinkingPart, blocks: list[Any]) -> None:
        """Thinking and whatever else the server wants back; thinking of others is dropped."""
        state = part.provider_state
        if state is None or state.owner == MARK:
            return
        fields = read_state(part, self._owner)
        if "type" in fields:
            # The block's own bytes.
            blocks.append(msgspec.Raw(state.data.encode()))
        elif "container" in fields:
            self._carry(msgspec.json.decode(fields["container"]))

    def _carry(self, container: Any) -> None:
        id = container.get("id") if isinstance(container, dict) else None
        if not isinstance(id, str):
            return
        try:
            expired = datetime.fromisoformat(container["expires_at"]) <= datetime.now(UTC)
        except (KeyError, TypeError, ValueError):
            expired = False
        self.container = None if expired else id
