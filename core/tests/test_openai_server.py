"""The scripted OpenAI-shaped server: what it answers, refuses and breaks, and what it notices."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gleitzeit.testing.openai_server import BUILTIN, Answer, OpenAIServer, Rule, Script
from gleitzeit.testing.openai_server.check import problem
from gleitzeit.wire.client import make_client
from gleitzeit.wire.sse import SSEDecoder

USER = [{"role": "user", "content": "hi"}]


async def post(server: OpenAIServer, path: str = "/chat/completions", **body: Any) -> httpx2.Response:
    async with make_client() as client:
        return await client.post(server.url + path, json=body)


def frames(response: httpx2.Response) -> list[str]:
    decoder = SSEDecoder()
    return [event.data.decode() for event in decoder.feed(response.content) + decoder.close()]


async def test_it_says_that_it_is_a_fake() -> None:
    async with OpenAIServer() as server:
        reply = (await post(server, model="scripted-echo", messages=USER)).json()
    assert reply["choices"][0]["message"]["content"].startswith("I am a scripted fake")
    assert all(name.startswith("scripted-") for name in BUILTIN.models)


async def test_a_stream_joins_to_the_whole_answer() -> None:
    async with OpenAIServer() as server:
        whole = (await post(server, model="scripted-echo", messages=USER)).json()
        options = {"include_usage": True}
        stream = await post(server, model="scripted-echo", messages=USER, stream=True, stream_options=options)
    *chunks, done = frames(stream)
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    text = "".join(choice["delta"].get("content", "") for chunk in parsed for choice in chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert (parsed[-1]["choices"], parsed[-1]["usage"]) == ([], whole["usage"])


async def test_it_asks_for_a_tool_and_answers_from_the_result() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema}} for name in ("a", "git__log")
    ]
    turns: list[Any] = [{"role": "user", "content": "please run git__log"}]
    async with OpenAIServer() as server:
        first = (await post(server, model="scripted-tools", messages=turns, tools=tools)).json()
        message = first["choices"][0]["message"]
        (call,) = message["tool_calls"]
        assert call["function"] == {"name": "git__log", "arguments": '{"n": 1}'}
        turns += [message, {"role": "tool", "tool_call_id": call["id"], "content": "three commits"}]
        last = (await post(server, model="scripted-tools", messages=turns, tools=tools)).json()
    assert last["choices"][0]["message"]["content"].endswith("the tool answered three commits")


async def test_arguments_may_stand_in_the_users_text() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    turns = [{"role": "user", "content": 'with {"city": "Oslo"} please'}]
    async with OpenAIServer() as server:
        reply = (await post(server, model="scripted-tools", messages=turns, tools=tools)).json()
    assert reply["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Oslo"}'


async def test_vectors_depend_on_the_text_alone() -> None:
    async with OpenAIServer() as server:
        first = (await post(server, "/embeddings", model="scripted-embedding", input=["a", "b"])).json()
        again = (
            await post(server, "/embeddings", model="scripted-embedding", input="b", dimensions=8)
        ).json()
    assert first["data"][1]["embedding"] == again["data"][0]["embedding"]
    assert first["data"][0]["embedding"] != first["data"][1]["embedding"]
    assert sum(x * x for x in first["data"][0]["embedding"]) == pytest.approx(1)


async def test_unknown_models_and_paths_are_refused_as_openai_does() -> None:
    async with OpenAIServer() as server:
        model = await post(server, model="gpt-9", messages=USER)
        path = await post(server, "/nothing")
    assert (model.status_code, model.json()["error"]["code"]) == (404, "model_not_found")
    assert path.status_code == 404


async def test_a_key_is_wanted_where_one_is_set() -> None:
    async with OpenAIServer(api_key="k") as server, make_client() as client:
        bad = await client.get(f"{server.url}/models", headers={"Authorization": "Bearer x"})
        good = await client.get(f"{server.url}/models", headers={"Authorization": "Bearer k"})
    assert (bad.status_code, bad.json()["error"]["code"]) == (401, "invalid_api_key")
    assert len(good.json()["data"]) == len(BUILTIN.models)


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASSISTANT = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "x"}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "m"},
        {"model": 3, "messages": USER},
        {"model": "m", "messages": []},
        {"model": "m", "messages": USER, "bogus": 1},
        {"model": "m", "messages": USER, "temperature": 3},
        {"model": "m", "messages": USER, "max_tokens": 0},
        {"model": "m", "messages": USER, "max_tokens": True},
        {"model": "m", "messages": USER, "stream": "yes"},
        {"model": "m", "messages": [{"role": "robot", "content": "x"}]},
        {"model": "m", "messages": [{"role": "user"}]},
        {"model": "m", "messages": [{"role": "user", "content": 3}]},
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "smell"}]}]},
        {"model": "m", "messages": [{"role": "system", "content": [{"type": "image_url"}]}]},
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        {"model": "m", "messages": [RESULT]},
        {"model": "m", "messages": [*USER, ASSISTANT]},
        {"model": "m", "messages": [*USER, ASSISTANT, *USER]},
        {"model": "m", "messages": [*USER, {**ASSISTANT, "tool_calls": [{**CALL, "id": ""}]}, RESULT]},
        {"model": "m", "messages": [{"role": "user", "content": "x", "tool_calls": [CALL]}]},
        {"model": "m", "messages": USER, "tools": [{"name": "f"}]},
        {"model": "m", "messages": USER, "tools": [{"type": "function", "function": {"name": "a/b"}}]},
        {"model": "m", "messages": USER, "tool_choice": "auto"},
        {"model": "m", "messages": USER, "tools": [TOOL], "tool_choice": "sometimes"},
        {"model": "m", "messages": USER, "tools": [TOOL], "tool_choice": {"function": {"name": "g"}}},
    ],
)
async def test_malformed_bodies_are_refused(body: dict[str, Any]) -> None:
    assert problem("chat", body)
    async with OpenAIServer() as server:
        response = await post(server, **body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_good_bodies_are_not() -> None:
    assert problem("chat", {"model": "m", "messages": [*USER, ASSISTANT, RESULT], "tools": [TOOL]}) is None
    assert problem("completion", {"model": "m", "prompt": "x"}) is None
    assert problem("embedding", {"model": "m", "input": ["x"], "encoding_format": "base64"}) is None


@pytest.mark.parametrize("fault", ["reset", "close", "garbage"])
@pytest.mark.parametrize("at", [None, 0, 10])
async def test_faults_break_the_answer(fault: Any, at: int | None) -> None:
    async with OpenAIServer() as server:
        server.answers.append(Answer("x", fault=fault, at=at))
        with pytest.raises(httpx2.TransportError):
            await post(server, model="scripted-echo", messages=USER)


async def test_a_cut_ends_the_body_as_if_it_were_whole() -> None:
    async with OpenAIServer() as server:
        server.answers.extend([Answer("a b c", fault="cut", after=2), Answer("a b c", fault="cut", at=30)])
        two = await post(server, model="scripted-echo", messages=USER, stream=True)
        half = await post(server, model="scripted-echo", messages=USER)
    assert len(frames(two)) == 2
    assert len(half.content) == 30


async def test_a_client_that_goes_is_noticed() -> None:
    async with OpenAIServer() as server, make_client() as client:
        server.answers.append(Answer("a b c", fault="stall", after=1))
        body = {"model": "scripted-echo", "messages": USER, "stream": True}
        async with client.stream("POST", f"{server.url}/chat/completions", json=body):
            call = await server.request()
            assert not call.closed.is_set()
        await asyncio.wait_for(call.closed.wait(), 30)
        assert not call.done.is_set()


async def test_paths_can_be_made_to_fail() -> None:
    async with OpenAIServer() as server, make_client() as client:
        server.faults["/v1/models"] = Answer(status=500, body="down")
        response = await client.get(f"{server.url}/models")
    assert (response.status_code, response.text) == (500, "down")


async def test_a_script_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    rules = [
        {"when": "weather", "calls": [{"name": "f", "arguments": {"a": 1}}], "turn": "user"},
        {"turn": "tool", "text": "so: {result}"},
        {"text": "hello from {model}", "frames": None},
    ]
    path.write_text(json.dumps({"models": {"mine": rules}, "default": [{"text": "any"}], "dimensions": 3}))
    script = Script.read(str(path))
    assert script.models["mine"][0] == Rule(
        Answer(calls=({"name": "f", "arguments": {"a": 1}},)), when="weather", turn="user"
    )
    async with OpenAIServer(script) as server:
        mine = (await post(server, model="mine", messages=USER)).json()
        other = (await post(server, model="whatever", messages=USER)).json()
    assert mine["choices"][0]["message"]["content"] == "hello from mine"
    assert other["choices"][0]["message"]["content"] == "any"


async def test_it_runs_in_a_process_of_its_own_and_ends_with_its_parent() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gleitzeit.testing.openai_server", "--port", "0", "--script", "builtin"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(await process.stdout.readline())
        assert told["models"] == sorted(BUILTIN.models)
        async with make_client() as client:
            assert (await client.get(f"{told['url']}/models")).status_code == 200
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
