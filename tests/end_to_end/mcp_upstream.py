"""A small server of the official SDK: something of everything, for a host to have behind it."""

from __future__ import annotations

import json
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

STRING = {"type": "string"}
BIG = 2**60 + 1
TOOLS: dict[str, dict[str, Any]] = {
    "echo": {"type": "object", "properties": {"text": STRING}},
    "count": {"type": "object", "properties": {"to": {"type": "integer"}}},
    "wait": {"type": "object"},
    "waited": {"type": "object"},
    "fail": {"type": "object"},
    "grow": {"type": "object"},
    "ask": {"type": "object"},
    "log": {"type": "object"},
}
BUS = InMemorySubscriptionBus()


class State:
    cancelled = 0
    waiting = 0
    grown = False


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], **more}


def told(text: str, **more: Any) -> types.CallToolResult:
    return types.CallToolResult.model_validate(said(text, **more))


async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
    tools = {**TOOLS, "late": {"type": "object"}} if State.grown else TOOLS
    return types.ListToolsResult(
        tools=[
            types.Tool(name=name, description=f"Does {name}.", input_schema=schema)
            for name, schema in tools.items()
        ]
    )


async def call_tool(context: Any, params: Any) -> Any:
    given = params.arguments or {}
    if params.name == "count":
        for number in range(1, given["to"] + 1):
            await context.session.report_progress(number, given["to"], f"step {number}")
        return told("counted")
    if params.name == "wait":
        State.waiting += 1
        try:
            await anyio.sleep_forever()
        finally:
            State.waiting -= 1
            State.cancelled += 1
    if params.name == "waited":
        return told(f"{State.waiting} {State.cancelled}")
    if params.name == "fail":
        return told("it cannot", isError=True)
    if params.name == "grow":
        State.grown = True
        await context.session.send_tool_list_changed()
        await BUS.publish(ToolsListChanged())
        return told("grown")
    if params.name == "log":
        for level in ("debug", "error"):
            notice = {"level": level, "logger": "up", "data": {"said": level, "big": BIG}}
            await context.session._request_outbound.notify("notifications/message", notice)
        return told("logged")
    if params.name == "ask":
        return await ask(context, params, given["what"])
    return told(f"said {given.get('text')}")


QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "person": (
        "elicitation/create",
        {
            "mode": "form",
            "message": "Who?",
            "requestedSchema": {"type": "object", "properties": {"name": STRING}},
        },
    ),
    "model": (
        "sampling/createMessage",
        {"messages": [{"role": "user", "content": {"type": "text", "text": "2+2"}}], "maxTokens": 9},
    ),
    "place": ("roots/list", {}),
}


async def ask(context: Any, params: Any, what: str) -> Any:
    """Ask the client: on its stream in the handshake era, by a result in the modern one."""
    method, asked = QUESTIONS[what]
    if context.protocol_version < "2026":
        answer = await context.session._request_outbound.send_raw_request(method, asked)
    elif not params.input_responses:
        request = {"method": method, "params": asked}
        return types.InputRequiredResult.model_validate(
            {"resultType": "input_required", "inputRequests": {"q": request}, "requestState": f"asked {what}"}
        )
    else:
        assert params.request_state == f"asked {what}"
        answer = params.input_responses["q"].model_dump(by_alias=True, mode="json", exclude_none=True)
    return told(json.dumps(answer, sort_keys=True))


async def relay(ctx: Any, call_next: Any) -> Any:
    """`echo` answers in a shape that the SDK does not know."""
    params = ctx.params or {}
    if ctx.method == "tools/call" and params.get("name") == "echo":
        text = (params.get("arguments") or {}).get("text")
        meta = {key: value for key, value in (params.get("_meta") or {}).items() if key.startswith("test/")}
        result = said(
            f"said {text}",
            structuredContent={"text": text, "big": BIG},
            novel={"kept": True},
            _meta={"test/heard": meta},
        )
        return {**result, "resultType": "complete"} if ctx.protocol_version >= "2026" else result
    return await call_next(ctx)


async def list_resources(context: Any, params: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[types.Resource(uri="test://plain", name="plain")])


async def list_templates(context: Any, params: Any) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(
        resource_templates=[types.ResourceTemplate(uri_template="test://item/{id}", name="item")]
    )


async def read(context: Any, params: Any) -> types.ReadResourceResult:
    contents = types.TextResourceContents(uri=params.uri, text=f"read {params.uri}", mime_type="text/plain")
    return types.ReadResourceResult(contents=[contents])


async def list_prompts(context: Any, params: Any) -> types.ListPromptsResult:
    argument = types.PromptArgument(name="who", required=True)
    return types.ListPromptsResult(prompts=[types.Prompt(name="greet", arguments=[argument])])


async def get_prompt(context: Any, params: Any) -> types.GetPromptResult:
    text = types.TextContent(text=f"Hello {(params.arguments or {}).get('who')}")
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text)])


async def complete(context: Any, params: Any) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[f"{params.argument.value}lan"]))


async def main() -> None:
    server: Server[Any] = Server(
        "upstream",
        version="1",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_subscriptions_listen=ListenHandler(BUS),
    )
    server.middleware.append(relay)
    async with stdio_server() as (reads, writes):
        await server.run(
            reads, writes, server.create_initialization_options(NotificationOptions(True, True, True))
        )


if __name__ == "__main__":
    anyio.run(main)
