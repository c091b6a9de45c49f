"""A client that others wrote, asking a server: `python peer.py sdk|fastmcp|old ERA URL|COMMAND...`.

It runs in the environment of that client, where nothing of ours is. ERA is `auto` or `legacy`, or `-` for
clients that know one only. `sdk-that-is-not-asked` leaves the questions out, for bridges that lose them, or
progress. The last line of its output is JSON.
"""

import asyncio
import base64
import importlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

REPLY = "said by the client"
AT_ONCE = 16


def answers(types: Any) -> dict[str, Any]:
    """What the client answers where it is asked, for the SDK."""

    async def sampled(context: Any, params: Any) -> Any:
        content = {"type": "text", "text": REPLY}
        return types.CreateMessageResult.model_validate(
            {"role": "assistant", "content": content, "model": "none"}
        )

    async def elicited(context: Any, params: Any) -> Any:
        return types.ElicitResult(action="accept", content={"username": REPLY, "email": "a@example.org"})

    return {"sampling_callback": sampled, "elicitation_callback": elicited}


def sdk(era: str, target: list[str], remote: bool) -> Any:
    mcp = importlib.import_module("mcp")
    where = target[0] if remote else mcp.StdioServerParameters(command=target[0], args=target[1:])
    return mcp.Client(where, mode=era, **answers(importlib.import_module("mcp_types")))


def fastmcp(era: str, target: list[str], remote: bool) -> Any:
    module = importlib.import_module("fastmcp")
    transports = importlib.import_module("fastmcp.client.transports")
    where = target[0] if remote else transports.StdioTransport(target[0], target[1:], keep_alive=False)

    async def sampled(messages: Any, params: Any, context: Any) -> str:
        return REPLY

    async def elicited(message: str, form: Any, params: Any, context: Any) -> Any:
        return form(username=REPLY, email="a@example.org")

    known = {} if era == "-" else {"mode": era}
    return module.Client(where, sampling_handler=sampled, elicitation_handler=elicited, **known)


@asynccontextmanager
async def old(era: str, target: list[str], remote: bool) -> AsyncIterator[Any]:
    """The SDK's 1.x: a session over the streams of a transport."""
    mcp = importlib.import_module("mcp")
    async with AsyncExitStack() as stack:
        if remote:
            transport = importlib.import_module("mcp.client.streamable_http").streamable_http_client(
                target[0]
            )
        else:
            transport = mcp.stdio_client(mcp.StdioServerParameters(command=target[0], args=target[1:]))
        read, write, *_ = await stack.enter_async_context(transport)
        session = await stack.enter_async_context(mcp.ClientSession(read, write, **answers(mcp.types)))
        session.initialize_result = await session.initialize()
        yield session


def items(found: Any, name: str) -> list[Any]:
    """A list, whether the client gives it bare or in a result."""
    return list(found if isinstance(found, list) else getattr(found, name))


def named(tools: list[Any], name: str) -> str:
    return next(str(tool.name) for tool in tools if tool.name.endswith(name))


def text(result: Any) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


async def main(kind: str, era: str, target: list[str]) -> dict[str, Any]:
    heard: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    kind, asked = kind.removesuffix("-that-is-not-asked"), not kind.endswith("-asked")
    made = {"sdk": sdk, "fastmcp": fastmcp, "old": old}[kind](era, target, target[0].startswith("http"))
    watching = {"progress_handler" if kind == "fastmcp" else "progress_callback": progress}
    async with made as client:
        tools = items(await client.list_tools(), "tools")
        simple = await client.call_tool(named(tools, "test_simple_text"), {})
        assert text(simple) == "This is a simple text response for testing.", simple
        await client.call_tool(named(tools, "test_tool_with_progress"), {}, **watching)
        image = await client.call_tool(named(tools, "test_image_content"), {})
        assert base64.b64decode(image.content[0].data).startswith(b"\x89PNG"), image
        tokyo = await client.call_tool(named(tools, "get_current_time"), {"timezone": "Asia/Tokyo"})
        assert "Asia/Tokyo" in text(tokyo), tokyo

        async def chat(words: str) -> str:
            message = {"role": "user", "content": words}
            return text(await client.call_tool("chat", {"model": "scripted/echo", "messages": [message]}))

        words = [f"forty-two and {number}" for number in range(AT_ONCE)]
        said = await asyncio.gather(*map(chat, words))
        assert all(each in answer for each, answer in zip(words, said, strict=True)), said
        if asked:
            sampled = await client.call_tool(named(tools, "test_sampling"), {"prompt": "Say it."})
            assert REPLY in text(sampled), sampled
            person = await client.call_tool(named(tools, "test_elicitation"), {"message": "Who is it?"})
            assert REPLY in text(person), person
        resources = items(await client.list_resources(), "resources")
        uri = next(each.uri for each in resources if "static-text" in str(each.uri))
        contents = items(await client.read_resource(uri), "contents")
        assert "static text resource" in contents[0].text, contents
        prompts = items(await client.list_prompts(), "prompts")
        prompt = await client.get_prompt(
            named(prompts, "test_prompt_with_arguments"), {"arg1": "a", "arg2": "b"}
        )
        assert "arg2='b'" in prompt.messages[0].content.text, prompt
        try:
            refused = text(await client.call_tool("no_such_tool", {}))
        except Exception as error:
            refused = str(error)
        assert "no_such_tool" in refused, refused
        protocol = getattr(client, "protocol_version", None)
        if protocol is None:
            protocol = client.initialize_result.protocolVersion
        assert heard == [0, 50, 100] or not asked, heard  # by now: it may come after the result
        how = f"one of a model, {AT_ONCE} times at once"
        how += f", one with {len(heard)} progress messages" if heard else ""
        called = f"7 called ({how}, 2 that asked back)" if asked else f"5 called ({how})"
        rest = "a resource read, a prompt rendered, an unknown tool refused"
        return {"protocol": protocol, "exercised": f"{len(tools)} tools listed, {called}, {rest}"}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))))
