"""The tools of the everything-server that run as tasks, for clients that have the extension for it."""

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Any, Final

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value

from tests.conformance import material
from tests.conformance.asking import answers

__all__ = ["call", "serve"]

TASKS: Final = "io.modelcontextprotocol/tasks"
TTL: Final = 600_000
POLL: Final = 50
#: Seconds that a job needs before it fails.
WORK: Final = 0.2


class Task:
    """One call under way; what it asks is answered by `tasks/update`."""

    def __init__(self, name: str, given: dict[str, Any], known: dict[str, Any]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.created = self.updated = _now()
        self.questions: dict[str, Any] = {}
        self.cancelled = False
        self._told: dict[str, Any] = dict(known)
        self._all_told = asyncio.Event()
        self._work = asyncio.create_task(self._run(name, given, known))
        self._work.add_done_callback(lambda _: self._changed())

    def state(self) -> dict[str, Any]:
        """The task with what its status brings along."""
        if not self._work.done():
            if self.questions:
                return self._base("input_required", inputRequests=dict(self.questions))
            return self._base("working")
        if self._work.cancelled():
            return self._base("cancelled")
        error = self._work.exception()
        if isinstance(error, MCPError):
            said = {"code": error.error.code, "message": error.error.message}
            return self._base("failed", statusMessage=said["message"], error=said)
        return self._base("completed", result=self._work.result())

    def update(self, responses: dict[str, Any]) -> None:
        """Take answers to what is asked; others mean nothing."""
        for key in [key for key in responses if key in self.questions]:
            self._told[key] = responses[key]
            del self.questions[key]
            self._changed()
        if not self.questions:
            self._all_told.set()

    def cancel(self) -> None:
        """Stop working; one that has ended stays as it is."""
        self._work.cancel()

    def _base(self, status: str, **more: Any) -> dict[str, Any]:
        return {
            "taskId": self.id,
            "status": status,
            "createdAt": self.created,
            "lastUpdatedAt": self.updated,
            "ttlMs": TTL,
            "pollIntervalMs": POLL,
            **more,
        }

    def _changed(self) -> None:
        self.updated = _now()

    async def _run(self, name: str, given: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
        if name in material.QUESTIONS and not known:
            self.questions = dict(material.QUESTIONS[name][0])
            await self._all_told.wait()
        return await _worked(name, given, self._told)


_tasks: dict[str, Task] = {}


async def call(ctx: Any, params: types.CallToolRequestParams) -> Any:
    """A call of a tool that may run as a task: its result, or the task."""
    name, given = params.name, params.arguments or {}
    known: dict[str, Any] = {}
    if not _knows_tasks(ctx) or name == "test_tool_with_task":
        if not _knows_tasks(ctx) and name in material.ONLY_TASKS and ctx.protocol_version >= "2026-07-28":
            raise _unknown_to_client()
        if name in material.QUESTIONS:
            found = await answers(ctx, params, material.QUESTIONS[name])
            if isinstance(found, types.InputRequiredResult):
                return found
            known = {key: answer.model_dump(mode="json", by_alias=True) for key, answer in found.items()}
    if not _knows_tasks(ctx):
        return types.CallToolResult.model_validate(await _worked(name, given, known))
    task = Task(name, given, known)
    _tasks[task.id] = task
    return {"resultType": "task", **task._base("working")}


async def _worked(name: str, given: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    if name == "slow_compute":
        await asyncio.sleep(given.get("seconds", 0))
    elif name in ("failing_job", "protocol_error_job"):
        await asyncio.sleep(WORK)
    if name == "protocol_error_job":
        raise MCPError(types.INTERNAL_ERROR, "the job has broken down")
    said = ", ".join(f"{key}={told[key].get('content')}" for key in sorted(told))
    text = {"type": "text", "text": f"{name} is done {given.get('label', '')}{said}"}
    return {"content": [text], "isError": name == "failing_job"}


def _knows_tasks(ctx: Any) -> bool:
    declared = ctx.session.client_capabilities
    modern = ctx.protocol_version >= "2026-07-28"
    return modern and declared is not None and TASKS in (declared.extensions or {})


def _unknown_to_client() -> MCPError:
    return MCPError(
        types.MISSING_REQUIRED_CLIENT_CAPABILITY,
        "Missing required client capability",
        {"requiredCapabilities": {"extensions": {TASKS: {}}}},
    )


class _About(types.RequestParams):
    """The parameters of every method of tasks."""

    task_id: str
    input_responses: dict[str, Any] | None = None


def _found(ctx: Any, params: _About) -> Task:
    """The task that a request is about; raises the protocol's errors."""
    if not _knows_tasks(ctx):
        raise _unknown_to_client()
    if ctx.request is not None:
        header = decode_header_value(ctx.request.headers.get("mcp-name"))
        if header != params.task_id:
            raise MCPError(
                types.HEADER_MISMATCH, "mcp-name header does not match the request body's 'taskId'"
            )
    task = _tasks.get(params.task_id)
    if task is None:
        raise MCPError(types.INVALID_PARAMS, "Task not found")
    return task


async def _get(ctx: Any, params: _About) -> dict[str, Any]:
    return _found(ctx, params).state()


async def _update(ctx: Any, params: _About) -> dict[str, Any]:
    _found(ctx, params).update(params.input_responses or {})
    return {}


async def _cancel(ctx: Any, params: _About) -> dict[str, Any]:
    _found(ctx, params).cancel()
    return {}


def serve(server: Server[Any]) -> None:
    """Let the server have tasks."""
    server.extensions[TASKS] = {}
    for method, handler in (("get", _get), ("update", _update), ("cancel", _cancel)):
        server.add_request_handler(f"tasks/{method}", _About, handler)


def _now() -> str:
    return datetime.now(UTC).isoformat()
