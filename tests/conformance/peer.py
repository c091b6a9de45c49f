"""A client that others wrote, asking a server: `python peer.py sdk|fastmcp ERA URL|COMMAND...`.

It runs in the environment of that client, where nothing of ours is. The last line of its output is JSON.
"""

import asyncio
import base64
import importlib
import json
import sys
from typing import Any


def connect(kind: str, era: str, target: list[str], heard: list[float]) -> Any:
    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    remote = target[0].startswith("http")
    if kind == "sdk":
        mcp = importlib.import_module("mcp")
        where = target[0] if remote else mcp.StdioServerParameters(command=target[0], args=target[1:])
        return mcp.Client(where, mode=era), {"progress_callback": progress}
    fastmcp = importlib.import_module("fastmcp")
    transports = importlib.import_module("fastmcp.client.transports")
    where = target[0] if remote else transports.StdioTransport(target[0], target[1:], keep_alive=False)
    return fastmcp.Client(where, mode=era), {"progress_handler": progress}


def items(found: Any, name: str) -> list[Any]:
    """A list, whether the client gives it bare or in a result."""
    return list(found if isinstance(found, list) else getattr(found, name))


def named(tools: list[Any], name: str) -> str:
    return next(str(tool.name) for tool in tools if tool.name.endswith(name))


def text(result: Any) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


async def main(kind: str, era: str, target: list[str]) -> dict[str, Any]:
    heard: list[float] = []
    client, watching = connect(kind, era, target, heard)
    async with client:
        tools = items(await client.list_tools(), "tools")
        simple = await client.call_tool(named(tools, "test_simple_text"), {})
        assert text(simple) == "This is a simple text response for testing.", simple
        await client.call_tool(named(tools, "test_tool_with_progress"), {}, **watching)
        assert heard == sorted(heard), heard
        image = await client.call_tool(named(tools, "test_image_content"), {})
        assert base64.b64decode(image.content[0].data).startswith(b"\x89PNG"), image
        tokyo = await client.call_tool(named(tools, "get_current_time"), {"timezone": "Asia/Tokyo"})
        assert "Asia/Tokyo" in text(tokyo), tokyo
        said = await client.call_tool(
            "chat", {"model": "scripted/echo", "messages": [{"role": "user", "content": "forty-two"}]}
        )
        assert "forty-two" in text(said), said
        resources = items(await client.list_resources(), "resources")
        uri = next(str(each.uri) for each in resources if "static-text" in str(each.uri))
        contents = items(await client.read_resource(uri), "contents")
        assert "static text resource" in contents[0].text, contents
        prompts = items(await client.list_prompts(), "prompts")
        prompt = await client.get_prompt(
            named(prompts, "test_prompt_with_arguments"), {"arg1": "a", "arg2": "b"}
        )
        assert "arg2='b'" in prompt.messages[0].content.text, prompt
        try:
            await client.call_tool("no_such_tool", {})
        except Exception as error:
            refused = str(error)
        else:
            refused = ""
        assert "no_such_tool" in refused, refused
        return {"protocol": client.protocol_version, "tools": len(tools), "progress": len(heard)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))))
