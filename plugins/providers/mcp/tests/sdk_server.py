"""A server on the protocol's own SDK, in both eras: what the scripted one is, as others understand it."""

from typing import Any

import anyio
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import NoBackChannelError, UrlElicitationRequiredError
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
NAMES = ("form", "visit", "roots", "sample", "write", "speak", "count", "grow", "toll", "pay")
bus = InMemorySubscriptionBus()
more: list[str] = []
paid: list[str] = []
subscribed: set[str] = set()


def text(said: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=said)])


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    names = (*NAMES, *more)
    return types.ListToolsResult(
        tools=[types.Tool(name=name, input_schema={"type": "object"}) for name in names]
    )


def question(name: str) -> Any:
    if name == "form":
        return types.ElicitRequest(
            params=types.ElicitRequestFormParams(message="Who are you?", requested_schema=FORM)
        )
    if name == "visit":
        return types.ElicitRequest(
            params=types.ElicitRequestURLParams(message="Sign in.", url="https://example.org/in")
        )
    if name == "roots":
        return types.ListRootsRequest()
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="2+2?"))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=7)
    )


async def push(ctx: Any, name: str) -> Any:
    """Ask in the way of the handshake era."""
    if name == "form":
        return await ctx.session.elicit_form("Who are you?", FORM, related_request_id=ctx.request_id)
    if name == "visit":
        return await ctx.session.elicit_url("Sign in.", "https://example.org/in", "e1", ctx.request_id)
    if name == "roots":
        return await ctx.session.list_roots()
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="2+2?"))
    return await ctx.session.create_message([message], max_tokens=7)


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> Any:
    name, given = params.name, params.arguments or {}
    if name in ("form", "visit", "roots", "sample"):
        if params.input_responses:
            return text(answered(params.input_responses["a"]))
        try:
            return text(answered(await push(ctx, name)))
        except NoBackChannelError:
            return types.InputRequiredResult(input_requests={"a": question(name)}, request_state="s")
    if name == "write":
        if given["uri"] in subscribed:
            await ctx.session.send_resource_updated(given["uri"])
        await bus.publish(ResourceUpdated(given["uri"]))
    elif name == "speak":
        await ctx.session.send_log_message(given["level"], given["data"], "engine", ctx.request_id)
    elif name == "count":
        for number in range(3):
            await ctx.session.report_progress(number + 1, 3, f"step {number + 1}")
    elif name == "toll" and not paid:
        visit = types.ElicitRequestURLParams(
            message="Pay first.", url="https://example.org/pay", elicitation_id="e1"
        )
        raise UrlElicitationRequiredError([visit])
    elif name == "pay":
        paid.append("e1")
        await ctx.session.send_elicit_complete("e1")
    elif name == "grow":
        more.append(given["name"])
        await ctx.session.send_tool_list_changed()
        await bus.publish(ToolsListChanged())
    return text("done")


def answered(result: Any) -> str:
    return str(result.model_dump_json(by_alias=True, exclude_none=True))


async def read(ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text="content")])


async def listed(ctx: Any, params: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[types.Resource(uri="file:///a", name="a")])


async def subscribe(ctx: Any, params: types.SubscribeRequestParams) -> types.EmptyResult:
    subscribed.add(params.uri)
    return types.EmptyResult()


async def unsubscribe(ctx: Any, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    subscribed.discard(params.uri)
    return types.EmptyResult()


async def complete(ctx: Any, params: types.CompleteRequestParams) -> types.CompleteResult:
    found = [name for name in ("Ada", "Alan", "Grace") if name.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=found))


async def set_level(ctx: Any, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


async def main() -> None:
    server: Server[Any] = Server(  # type: ignore[deprecated]  # servers still take log levels
        "sdk",
        version="1",
        cache_hints={"resources/read": CacheHint(ttl_ms=3_600_000, scope="public")},
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=listed,
        on_read_resource=read,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_completion=complete,
        on_set_logging_level=set_level,
        on_subscriptions_listen=ListenHandler(bus),
    )
    options = server.create_initialization_options(NotificationOptions(True, True, True))
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, options)


if __name__ == "__main__":
    anyio.run(main)
