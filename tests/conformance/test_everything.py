"""The server that the conformance suite is run against, behind a host, in both eras."""

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gleitzeit import Host
from gleitzeit.errors import GleitzeitError, InvalidRequestError, ServerFaultError
from gleitzeit.values import AudioPart, GetPrompt, ImagePart, Progress, ReadResource, ToolCall
from tests.conformance import material, parts
from tests.conformance.client import elicited

ASKED = {"test_sampling": {"prompt": "forty-two"}, "test_elicitation": {"message": "Who?"}}
#: What needs HTTP, and what breaks down.
OTHER = ("test_reconnection", "protocol_error_job")


@pytest.fixture(params=["legacy", "modern"])
async def host(request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    """A host with the everything-server, in one era."""
    # Another command for each era: the host remembers which one a server was met in.
    apart = ["-B"] if request.param == "legacy" else []
    entry = {
        "command": sys.executable,
        "args": [*apart, "-W", "ignore", "-m", "tests.conformance.everything"],
        "cwd": str(parts.ROOT),
        "sandbox": "none",
        # Left to find out: a greeting has ten seconds, which a loaded machine may need to import a server.
        "mode": "legacy" if request.param == "legacy" else "auto",
        "may_ask": True,
        "sampling_model": "scripted/echo",
        "roots": [str(parts.ROOT)],
        "timeout": 120.0,
    }
    config = {"host": {"hook_timeout": 120.0}, "servers": {"all": entry}}
    async with Host(config, environ={}, on_elicit=elicited) as host:
        [offer] = [each for each in await host.offers("tools") if each.instance == "all"]
        assert offer.error is None
        [health] = [each.health for each in await host.health() if each.name == "all"]
        assert health.data["era"] == request.param
        yield host


async def call(host: Host, name: str, **arguments: Any) -> Any:
    return await host.call(ToolCall(arguments).to(f"all/{name}", timeout=60))


@pytest.mark.feature("S004-19")
async def test_every_tool_answers_and_every_question_finds_its_answer(host: Host) -> None:
    [offer] = [each for each in await host.offers("tools") if each.instance == "all"]
    names = [tool.name for tool in offer.items]
    assert sorted(names) == sorted(tool["name"] for tool in material.TOOLS)
    answers = {name: await call(host, name, **ASKED.get(name, {})) for name in names if name not in OTHER}
    failed = sorted(name for name, answer in answers.items() if answer.is_error)
    assert failed == ["failing_job", "test_error_handling"]
    assert answers["test_sampling"].text == "LLM response: forty-two"
    assert answers["test_elicitation"].text.startswith("User response: action=accept")
    assert '"age": 30' in answers["test_elicitation_sep1034_defaults"].text
    assert answers["test_input_required_result_elicitation"].text == "Hello, yes!"
    assert parts.ROOT.as_uri() in answers["test_input_required_result_list_roots"].text
    assert "user_name={'name': 'yes'}" in answers["test_tool_with_task"].text
    assert "consent={'confirm': True}, name={'name': 'yes'}" in answers["multi_input"].text
    with pytest.raises(ServerFaultError, match="the job has broken down"):
        await call(host, "protocol_error_job")
    assert '"step2"' in answers["test_input_required_result_multi_round"].text


async def test_contents_of_all_kinds_arrive(host: Host) -> None:
    [image] = (await call(host, "test_image_content")).parts
    [audio] = (await call(host, "test_audio_content")).parts
    assert isinstance(image, ImagePart)
    assert isinstance(audio, AudioPart)
    resource = await host.call(ReadResource("test://template/7/data").to("all"))
    assert '"id": "7"' in resource.text
    with pytest.raises(InvalidRequestError):
        await host.call(ReadResource("test://nothing").to("all"))
    prompt = await host.call(GetPrompt({"arg1": "a", "arg2": "b"}).to("all/test_prompt_with_arguments"))
    assert prompt.messages[0].text == "Prompt with arguments: arg1='a', arg2='b'"
    with pytest.raises(GleitzeitError):
        await call(host, "no_such_tool")


async def test_progress_arrives_in_order(host: Host) -> None:
    async with host.stream(ToolCall({}).to("all/test_tool_with_progress", timeout=60)) as stream:
        heard = [event.progress async for event in stream if isinstance(event, Progress)]
    assert heard == sorted(heard)
    assert set(heard) <= {0, 50, 100}
