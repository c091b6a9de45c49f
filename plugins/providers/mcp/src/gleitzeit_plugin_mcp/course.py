"""What is known of one task, from what its server says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast, get_args

from gleitzeit.errors import MalformedAnswerError, ServerFaultError
from gleitzeit.wire.scrub import scrub
from gleitzeit_plugin_mcp.faults import from_rpc

__all__ = ["TASKS", "Course", "Status", "related"]

#: The extension of 2026-07-28.
TASKS: Final = "io.modelcontextprotocol/tasks"
#: What messages of 2025-11-25 say of the task that they belong to.
RELATED: Final = "io.modelcontextprotocol/related-task"

Status: TypeAlias = Literal["working", "input_required", "completed", "failed", "cancelled"]
_STATUS: Final[frozenset[str]] = frozenset(get_args(Status))
_ENDS: Final = frozenset({"completed", "failed", "cancelled"})
#: Characters of its last words that an error shows.
_SHOWN: Final = 300
#: Seconds between two looks where the server names none: the first, doubled up to the second.
PAUSE: Final = (0.05, 1.0)
#: The least and the most that a server may wish for.
BOUNDS: Final = (0.02, 60.0)


class Course:
    """Takes in each state of a task that its server tells of, and says what follows from it.

    A task that has ended stays ended, and no question is given out again once it was answered.
    """

    def __init__(self, created: Any, server: str) -> None:
        self._server = server
        self._state: Mapping[str, Any] = {}
        self._answered: set[str] = set()
        self._rest = PAUSE[0]
        self._told: str | None = None
        self._steps = 0
        self.status: Status = "working"
        id = created.get("taskId") if isinstance(created, Mapping) else None
        if not isinstance(id, str) or not id:
            self._malformed("a task without `taskId`")
        #: The server's name for the task.
        self.id: str = id
        self.saw(created)

    @property
    def ended(self) -> bool:
        """Will nothing more become of it?"""
        return self.status in _ENDS

    @property
    def pause(self) -> float:
        """Seconds until the server wants to be asked again."""
        wish = self._state.get("pollIntervalMs", self._state.get("pollInterval"))
        if isinstance(wish, (int, float)) and not isinstance(wish, bool):
            return min(max(wish / 1000, BOUNDS[0]), BOUNDS[1])
        pause, self._rest = self._rest, min(2 * self._rest, PAUSE[1])
        return pause

    @property
    def questions(self) -> dict[str, Any]:
        """What the server wants to know and was not told yet, by key."""
        asked = self._state.get("inputRequests") if self.status == "input_required" else None
        if not isinstance(asked, Mapping):
            return {}
        return {key: question for key, question in asked.items() if key not in self._answered}

    def answered(self, keys: Any) -> None:
        """The server was told these."""
        self._answered.update(keys)

    def saw(self, state: Any) -> None:
        """The task as it is now. Raises `MalformedAnswerError` for what is none, or another one."""
        if self.ended:
            return
        status = state.get("status") if isinstance(state, Mapping) else None
        if not isinstance(status, str) or status not in _STATUS or state.get("taskId", self.id) != self.id:
            self._malformed("something that is not the state of the task")
        if status != self.status:
            self._rest = PAUSE[0]
        self.status, self._state = cast("Status", status), state

    def news(self) -> dict[str, Any] | None:
        """What the server says that it is at, as a notice of progress; None if nothing new."""
        said = self._state.get("statusMessage")
        if not isinstance(said, str) or said == self._told:
            return None
        self._told = said
        self._steps += 1
        return {"progress": self._steps, "statusMessage": said}

    def outcome(self, secrets: Iterable[str] = ()) -> dict[str, Any]:
        """The result of the tool; raises the error that the task came to, which quotes no `secrets`."""
        if self.status == "completed":
            result = self._state.get("result")
            return related(result) if isinstance(result, Mapping) else self._malformed("no result")
        said = self._state.get("statusMessage")
        error = self._state.get("error")
        if self.status == "failed" and isinstance(error, Mapping):
            code, message = error.get("code"), error.get("message")
            raise from_rpc(
                code if isinstance(code, int) else 0,
                str(message or said or ""),
                error.get("data"),
                server=self._server,
                what="tools/call",
                secrets=secrets,
            )
        why = f": {scrub(said, secrets, limit=_SHOWN)}" if isinstance(said, str) and said else ""
        what = "cancelled" if self.status == "cancelled" else "gave up"
        raise ServerFaultError(
            f"server {self._server!r} {what} the task of this call{why}", provider=self._server, sent=True
        )

    def _malformed(self, what: str) -> NoReturn:
        raise MalformedAnswerError(
            f"server {self._server!r} answered tools/call with {what}", provider=self._server, sent=True
        )


def related(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result without the mark of the task that it came from."""
    meta = result.get("_meta")
    if not isinstance(meta, Mapping) or RELATED not in meta:
        return dict(result)
    rest = {key: value for key, value in meta.items() if key != RELATED}
    found = {key: value for key, value in result.items() if key != "_meta"}
    return {**found, "_meta": rest} if rest else found
