"""An agent of a framework, with the tools of a server: `python frameworks.py KIND URL|COMMAND...`.

It runs in the environment of that framework, where nothing of ours is. The agent's model is a script: it
calls the tools in `WANTED`, and then repeats what they said. The last line of its output is JSON.
"""

import asyncio
import importlib
import json
import sys
from typing import Any

#: The end of a tool's name, what it is given, and what it says.
WANTED: list[tuple[str, dict[str, Any], str]] = [
    ("test_simple_text", {}, "This is a simple text response"),
    ("get_current_time", {"timezone": "Asia/Tokyo"}, "Asia/Tokyo"),
    ("chat", {"model": "scripted/echo", "messages": [{"role": "user", "content": "forty-two"}]}, "forty-two"),
]


#: What was said, the tools that were listed, a resource, the messages of a prompt, and the protocol.
Found = tuple[str, list[str], Any, Any, str]


def chosen(names: list[str], end: str) -> str:
    return next(name for name in names if name.endswith(end))


async def pydantic(target: list[str], remote: bool) -> Found:
    """Pydantic AI."""
    ai = importlib.import_module("pydantic_ai")
    messages = importlib.import_module("pydantic_ai.messages")
    function = importlib.import_module("pydantic_ai.models.function")
    toolset = importlib.import_module("pydantic_ai.mcp").MCPToolset
    transports = importlib.import_module("fastmcp.client.transports")
    where = target[0] if remote else transports.StdioTransport(target[0], target[1:], keep_alive=False)
    listed: list[str] = []

    def model(history: Any, info: Any) -> Any:
        listed[:] = [tool.name for tool in info.function_tools]
        answers = [part for part in history[-1].parts if part.part_kind == "tool-return"]
        if not answers:
            calls = [
                messages.ToolCallPart(chosen(listed, end), given, tool_call_id=str(number))
                for number, (end, given, _) in enumerate(WANTED)
            ]
            return messages.ModelResponse(parts=calls)
        return messages.ModelResponse(parts=[messages.TextPart(" ".join(str(a.content) for a in answers))])

    tools = toolset(where)
    async with tools:
        agent = ai.Agent(function.FunctionModel(model), toolsets=[tools])
        said = (await agent.run("Do it.")).output
        resource = await tools.read_resource("test://static-text")
        prompts = [prompt.name for prompt in await tools.list_prompts()]
        prompt = await tools.get_prompt(chosen(prompts, "test_simple_prompt"))
        protocol = tools.client.protocol_version
    return said, listed, resource, prompt.messages, protocol


async def openai(target: list[str], remote: bool) -> Found:
    """The OpenAI Agents SDK."""
    agents = importlib.import_module("agents")
    servers = importlib.import_module("agents.mcp")
    responses = importlib.import_module("openai.types.responses")
    agents.set_tracing_disabled(True)
    listed: list[str] = []

    class Scripted(agents.Model):  # type: ignore[misc, name-defined]
        async def get_response(self, *args: Any, **named: Any) -> Any:
            history = named.get("input", args[1] if len(args) > 1 else None)
            listed[:] = [tool.name for tool in named.get("tools", args[3] if len(args) > 3 else ())]
            answers = [
                str(item["output"])
                for item in (history if isinstance(history, list) else ())
                if item.get("type") == "function_call_output"
            ]
            made: list[Any] = [
                responses.ResponseFunctionToolCall(
                    type="function_call",
                    call_id=str(number),
                    name=chosen(listed, end),
                    arguments=json.dumps(given),
                )
                for number, (end, given, _) in enumerate(WANTED)
            ]
            if answers:
                part = {"type": "output_text", "text": " ".join(answers), "annotations": []}
                about = {"id": "1", "type": "message", "role": "assistant", "status": "completed"}
                made = [responses.ResponseOutputMessage.model_validate({**about, "content": [part]})]
            return agents.ModelResponse(output=made, usage=agents.Usage(), response_id=None)

        def stream_response(self, *args: Any, **named: Any) -> Any:
            raise NotImplementedError

    kind, params = (
        (servers.MCPServerStreamableHttp, {"url": target[0]})
        if remote
        else (servers.MCPServerStdio, {"command": target[0], "args": target[1:]})
    )
    # Its own five seconds are short for a machine under load.
    async with kind(params=params, client_session_timeout_seconds=60) as server:
        agent = agents.Agent(name="one", model=Scripted(), mcp_servers=[server])
        said = (await agents.Runner.run(agent, "Do it.")).final_output
        resource = await server.read_resource("test://static-text")
        prompts = [prompt.name for prompt in (await server.list_prompts()).prompts]
        prompt = await server.get_prompt(chosen(prompts, "test_simple_prompt"))
        protocol = server.session.protocol_version
    return said, listed, resource, prompt.messages, protocol


async def langchain(target: list[str], remote: bool) -> Found:
    """LangChain's adapters: the tools as LangChain's own, which an agent of it would be given."""
    module = importlib.import_module("langchain_mcp_adapters.client")
    prompts = importlib.import_module("langchain_mcp_adapters.prompts")
    resources = importlib.import_module("langchain_mcp_adapters.resources")
    load = importlib.import_module("langchain_mcp_adapters.tools").load_mcp_tools
    entry = (
        {"transport": "streamable_http", "url": target[0]}
        if remote
        else {"transport": "stdio", "command": target[0], "args": target[1:]}
    )
    client = module.MultiServerMCPClient({"one": entry})
    async with client.session("one", auto_initialize=False) as session:
        protocol = (await session.initialize()).protocolVersion
        tools = {tool.name: tool for tool in await load(session)}
        said = [str(await tools[chosen(list(tools), end)].ainvoke(given)) for end, given, _ in WANTED]
        [resource] = await resources.load_mcp_resources(session, uris="test://static-text")
        names = [prompt.name for prompt in (await session.list_prompts()).prompts]
        prompt = await prompts.load_mcp_prompt(session, chosen(names, "test_simple_prompt"))
    return " ".join(said), list(tools), resource.as_string(), prompt, protocol


async def main(kind: str, target: list[str]) -> dict[str, Any]:
    work = {"pydantic": pydantic, "openai": openai, "langchain": langchain}[kind]
    text, tools, resource, prompt, protocol = await work(target, target[0].startswith("http"))
    for _, _, said in WANTED:
        assert said in text, text
    assert "static text resource" in str(resource), resource
    assert "simple prompt" in str(prompt), prompt
    who = "called" if kind == "langchain" else "called by an agent"
    done = f"{len(tools)} tools listed, {len(WANTED)} {who} (one of a model)"
    return {"protocol": protocol, "exercised": f"{done}, a resource read, a prompt rendered"}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2:]))))
