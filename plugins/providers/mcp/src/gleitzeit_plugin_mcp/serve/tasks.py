"""Calls of clients that go on as tasks: a client with the extension for it comes back for the result.

A call becomes one where its upstream makes one of it. It stays a call of this host all the same, with its
guards, limits and deadline, and only what has left the corridor is told; the upstream's own task is followed
there, and no word of it gets here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.inbound import decode_header_value
from mcp_types import HEADER_MISMATCH, MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from gleitzeit_plugin_mcp.course import TASKS
from gleitzeit_plugin_mcp.serve.refusals import refusal, wrong
from gleitzeit_plugin_mcp.serve.results import enveloped
from gleitzeit_plugin_mcp.serve.sealing import principal

if TYPE_CHECKING:
    from gleitzeit_plugin_mcp.serve.peers import Asking

__all__ = ["Desk"]

#: How many tasks there may be, ended ones included; beyond that a client waits for its answer.
HELD: Final = 256
#: Seconds for which a task is kept after its client has last asked for it.
KEPT: Final = 600.0
#: The least of seconds between two looks that a client is told.
POLL: Final = 0.1

Context = ServerRequestContext[Any, Any]


class Desk:
    """A middleware that keeps tasks and answers what clients ask about them, each only its own principal."""

    def __init__(self, stamp: Callable[[], dict[str, Any]]) -> None:
        self._stamp = stamp
        self._held: dict[str, _Held] = {}
        self._fronts = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Tasks live as long as there is a front."""
        self._fronts += 1
        try:
            yield
        finally:
            self._fronts -= 1
            if not self._fronts:
                await self.close()

    async def close(self) -> None:
        """Give up what runs, and forget the rest."""
        held, self._held = list(self._held.values()), {}
        for each in held:
            each.drop()
        if running := {each.work for each in held if not each.work.done()}:
            await asyncio.wait(running)

    def takes(self, context: Context) -> bool:
        """Does the client say with this request that it takes tasks?"""
        declared = context.session.client_capabilities
        return declared is not None and declared.extensions is not None and TASKS in declared.extensions

    def hold(self, asking: Asking) -> dict[str, Any] | None:
        """Go on with the call as a task, and tell the client so; None where there is no room for it."""
        if len(self._held) >= HELD:
            return None
        held = _Held(asking, principal(asking.context))
        self._held[held.id] = held
        self._touch(held)
        return {"resultType": "task", **held.told("working")}

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Answer what is asked about a task; raises the protocol's errors."""
        params = ctx.params or {}
        if ctx.request_id is None or ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return await call_next(ctx)
        if ctx.method == "subscriptions/listen":
            wanted = params.get("notifications")
            if isinstance(wanted, Mapping) and wanted.get("taskIds") and not self.takes(ctx):
                raise _unknown_to_client()
            return await call_next(ctx)
        if ctx.method not in ("tasks/get", "tasks/update", "tasks/cancel"):
            return await call_next(ctx)
        if not self.takes(ctx):
            raise _unknown_to_client()
        held = self._found(ctx, params)
        result: dict[str, Any] = {}
        if ctx.method == "tasks/update":
            responses = params.get("inputResponses")
            held.asking.answer(responses if isinstance(responses, Mapping) else {})
        elif ctx.method == "tasks/cancel":
            held.cancel()
        else:
            result = held.state()
        return enveloped(result, ctx.protocol_version, self._stamp())

    def _found(self, ctx: Context, params: Mapping[str, Any]) -> _Held:
        id = params.get("taskId")
        if not isinstance(id, str):
            raise wrong("Invalid request parameters")
        if ctx.request is not None and decode_header_value(ctx.request.headers.get("mcp-name")) != id:
            raise MCPError(HEADER_MISMATCH, "mcp-name header does not match the request body's 'taskId'")
        held = self._held.get(id)
        if held is None or held.principal != principal(ctx):
            raise wrong("Task not found")
        self._touch(held)
        return held

    def _touch(self, held: _Held) -> None:
        if held.timer is not None:
            held.timer.cancel()
        held.timer = asyncio.get_running_loop().call_later(KEPT, self._expire, held)

    def _expire(self, held: _Held) -> None:
        del self._held[held.id]
        held.drop()


class _Held:
    """One call that goes on as a task."""

    def __init__(self, asking: Asking, principal: str | None) -> None:
        assert asking.task is not None, "it was made with the call"
        self.id = secrets.token_urlsafe(24)
        self.asking = asking
        self.principal = principal
        self.work = asking.task
        self.timer: asyncio.TimerHandle | None = None
        self._born = time.monotonic()
        self._created = self._updated = _now()
        self._last: Any = None
        asking.held = True
        self.work.add_done_callback(self._ended)

    def state(self) -> dict[str, Any]:
        """The task with what its status brings along."""
        if not self.work.done():
            if questions := self.asking.put():
                return self.told("input_required", inputRequests=questions)
            return self.told("working")
        if self.work.cancelled():
            return self.told("cancelled")
        error = self.work.exception()
        if error is None:
            return self.told("completed", result=self.work.result())
        said = error if isinstance(error, MCPError) else refusal(error)
        body = said.error.model_dump(by_alias=True, mode="json", exclude_none=True)
        return self.told("failed", error=body)

    def told(self, status: str, **more: Any) -> dict[str, Any]:
        """What is said of it in every status."""
        now = (status, self.asking.said, *more.get("inputRequests", ()))
        if self._last is not None and now != self._last and not self.work.done():
            self._updated = _now()
        self._last = now
        found: dict[str, Any] = {
            "taskId": self.id,
            "status": status,
            "createdAt": self._created,
            "lastUpdatedAt": self._updated,
            # Counted from its creation, and more with each look.
            "ttlMs": round((time.monotonic() - self._born + KEPT) * 1000),
            "pollIntervalMs": round(max(self.asking.poll or 0.0, POLL) * 1000),
            **more,
        }
        message = more["error"]["message"] if status == "failed" else self.asking.said
        if message and status != "completed":
            found["statusMessage"] = message
        return found

    def cancel(self) -> None:
        """Stop the call; nothing to do where it has ended, or is ending."""
        if not self.work.done() and not self.work.cancelling():
            self.work.cancel()

    def drop(self) -> None:
        """It is not needed any more."""
        if self.timer is not None:
            self.timer.cancel()
        self.cancel()

    def _ended(self, work: asyncio.Task[dict[str, Any]]) -> None:
        self._updated = _now()
        if not work.cancelled():
            work.exception()  # seen: it may be that nobody comes for it


def _unknown_to_client() -> MCPError:
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        "Missing required client capability",
        {"requiredCapabilities": {"extensions": {TASKS: {}}}},
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
