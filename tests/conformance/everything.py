"""A server of both eras with all that the conformance suite asks of one, on the MCP SDK.

`python -m tests.conformance.everything` serves over its standard streams; with a port it serves HTTP there,
at `/mcp`, and writes the address to its standard output.
"""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import mcp_types as types
import uvicorn
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ToolsListChanged
from pydantic import TypeAdapter

from tests.conformance import material, tasks
from tests.conformance.asking import answers

__all__ = ["make"]

_LISTED: Final = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
_tools = TypeAdapter(list[types.Tool]).validate_python(material.TOOLS)
_prompts = TypeAdapter(list[types.Prompt]).validate_python(material.PROMPTS)
_resources = TypeAdapter(list[types.Resource]).validate_python(material.RESOURCES)
_templates = TypeAdapter(list[types.ResourceTemplate]).validate_python(material.TEMPLATES)
_schemas = {tool["name"]: tool["inputSchema"] for tool in material.TOOLS}
bus = InMemorySubscriptionBus()


class Kept(EventStore):
    """The events of all streams in order, to resume from."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(
        self, last_event_id: str, send_callback: Callable[[EventMessage], Awaitable[None]]
    ) -> str | None:
        last = int(last_event_id)
        if not 0 < last <= len(self._events):
            return None
        stream = self._events[last - 1][0]
        for number, (where, message) in enumerate(self._events[last:], last + 1):
            if where == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


# --- tools ------------------------------------------------------------------------------------------------


def _text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def _embedded(uri: str, kind: str, text: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": text}}


_IMAGE: Final = {"type": "image", "data": material.IMAGE, "mimeType": "image/png"}
_CONTENT: Final[dict[str, list[dict[str, Any]]]] = {
    "test_simple_text": [_text("This is a simple text response for testing.")],
    "test_image_content": [_IMAGE],
    "test_audio_content": [{"type": "audio", "data": material.AUDIO, "mimeType": "audio/wav"}],
    "test_embedded_resource": [
        _embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        _text("Multiple content types test:"),
        _IMAGE,
        _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
    "test_error_handling": [_text("This tool intentionally returns an error for testing")],
}


def _result(*content: dict[str, Any], error: bool = False) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": list(content), "isError": error})


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> Any:
    name = params.name
    if name not in _schemas:
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {name}")
    if name in _CONTENT:
        return _result(*_CONTENT[name], error=name == "test_error_handling")
    if name in material.TASKS:
        return await tasks.call(ctx, params)
    if name == "greet":
        return _result(_text(f"Hello, {(params.arguments or {}).get('name', 'World')}!"))
    if name in material.QUESTIONS or name in material.QUESTIONS_WITH_ARGUMENTS:
        return await _asking(ctx, params)
    if name == "test_tool_with_progress":
        for done in (0, 50, 100):
            await ctx.session.report_progress(done, 100, f"{done} of 100")
            await asyncio.sleep(0.05)
    elif name in ("test_tool_with_logging", "test_logging_tool"):
        for said in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.session.send_log_message("info", said, "everything", ctx.request_id)
            await asyncio.sleep(0.05)
    elif name == "test_reconnection" and ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
        await asyncio.sleep(0.2)
    elif name == "test_trigger_tool_change":
        await ctx.session.send_tool_list_changed()
        await bus.publish(ToolsListChanged())
    elif name == "test_trigger_prompt_change":
        await ctx.session.send_prompt_list_changed()
        await bus.publish(PromptsListChanged())
    return _result(_text("done"))


async def _asking(ctx: Any, params: types.CallToolRequestParams) -> Any:
    name = params.name
    if name in material.QUESTIONS:
        rounds = material.QUESTIONS[name]
    else:
        rounds = material.with_arguments(name, params.arguments or {})
    found = await answers(ctx, params, rounds, choosy=name.endswith("_capabilities"))
    if isinstance(found, types.InputRequiredResult):
        return found
    if name == "test_sampling":
        return _result(_text(f"LLM response: {found['answer'].content.text}"))
    if name == "test_input_required_result_elicitation":
        return _result(_text(f"Hello, {(found['user_name'].content or {}).get('name')}!"))
    plain = {
        key: answer.model_dump(mode="json", by_alias=True, exclude_none=True) for key, answer in found.items()
    }
    if name in ("test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums"):
        [one] = plain.values()
        start = "User response" if name == "test_elicitation" else "Elicitation completed"
        return _result(
            _text(f"{start}: action={one['action']}, content={json.dumps(one.get('content', {}))}")
        )
    return _result(_text(f"state-ok {json.dumps(plain)}"))


# --- the rest ---------------------------------------------------------------------------------------------


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=_tools)


async def list_prompts(ctx: Any, params: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=_prompts)


async def list_resources(ctx: Any, params: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=_resources)


async def list_templates(ctx: Any, params: Any) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=_templates)


async def read_resource(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = params.uri
    found: dict[str, Any]
    if uri == "test://static-binary":
        found = {"mimeType": "image/png", "blob": material.IMAGE}
    elif uri == "test://static-text":
        found = {"mimeType": "text/plain", "text": "This is the content of the static text resource."}
    elif uri == "test://watched-resource":
        found = {"mimeType": "text/plain", "text": "Watched resource content"}
    elif uri.startswith("test://template/") and uri.endswith("/data"):
        number = uri.split("/")[3]
        data = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
        found = {"mimeType": "application/json", "text": json.dumps(data)}
    else:
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})
    return types.ReadResourceResult.model_validate({"contents": [{"uri": uri, **found}]})


async def get_prompt(ctx: Any, params: types.GetPromptRequestParams) -> Any:
    name, given = params.name, params.arguments or {}
    said: list[dict[str, Any]]
    if name == "test_simple_prompt":
        said = [_text("This is a simple prompt for testing.")]
    elif name == "test_prompt_with_arguments":
        said = [_text(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")]
    elif name == "test_prompt_with_embedded_resource":
        embedded = _embedded(given["resourceUri"], "text/plain", "Embedded resource content for testing.")
        said = [embedded, _text("Please process the embedded resource above.")]
    elif name == "test_prompt_with_image":
        said = [_IMAGE, _text("Please analyze the image above.")]
    elif name == "test_input_required_result_prompt":
        found = await answers(ctx, params, material.QUESTIONS[name])
        if isinstance(found, types.InputRequiredResult):
            return found
        said = [_text(f"Use this context: {found['user_context'].content}")]
    else:
        raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {name}")
    return types.GetPromptResult.model_validate(
        {"messages": [{"role": "user", "content": part} for part in said]}
    )


async def complete(ctx: Any, params: types.CompleteRequestParams) -> types.CompleteResult:
    values = [word for word in ("paris", "park", "party") if word.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


async def nothing(ctx: Any, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


class Everything(Server[Any]):
    """Announces changes of all its lists in the handshake era too."""

    def create_initialization_options(self, *arguments: Any, **named: Any) -> Any:
        return super().create_initialization_options(NotificationOptions(True, True, True))


def make() -> Server[Any]:
    """The server."""
    hint = CacheHint(ttl_ms=60_000, scope="public")
    server = Everything(
        "everything",
        version="1",
        cache_hints=dict.fromkeys((*_LISTED, "resources/read"), hint),
        get_tool_input_schema=_schemas.get,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=nothing,
        on_unsubscribe_resource=nothing,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_subscriptions_listen=ListenHandler(bus),
    )
    tasks.serve(server)
    # By argument it is deprecated, as the newest era has it no more.
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, nothing)
    boundary = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="everything")
    server.middleware.insert(0, boundary)
    return server


async def _stdio() -> None:
    server = make()
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def _http(port: int) -> None:
    app = make().streamable_http_app(event_store=Kept(), retry_interval=100)
    listening = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, http="h11", log_level="warning", timeout_graceful_shutdown=1))
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    await server.serve([listening])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        if len(sys.argv) > 1:
            asyncio.run(_http(int(sys.argv[1])))
        else:
            anyio.run(_stdio)
