"""The model behind a Gleitzeit that serves MCP, asked by a client that nobody here wrote."""

import pytest
from mcp import Client

from gleitzeit import Host
from tests.realserver.talk import HELLO

pytestmark = pytest.mark.realserver


@pytest.mark.feature("S002-17")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_lists_the_models_and_gets_an_answer(server, local, mode):
    arguments = local(real={"plugin": "openai", "base_url": server, "models": ["./tiny"]})
    heard = []

    async def hear(progress, total, message):
        heard.append(message)

    async with (
        Host(**arguments) as host,
        host.mcp_server().http() as url,
        Client(url, mode=mode) as client,
    ):
        assert "chat" in [tool.name for tool in (await client.list_tools()).tools]
        listed = (await client.call_tool("list_models", {})).structured_content["models"]
        assert "real/./tiny" in [model["name"] for model in listed]
        asked = {
            "model": "real/./tiny",
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0.0,
        }
        result = await client.call_tool("chat", asked, progress_callback=hear)
    assert "".join(block.text for block in result.content) == "".join(heard) == HELLO
    assert len(heard) > 1
