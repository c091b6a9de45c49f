"""The Gemini-shaped fake answers as Gemini does, and refuses what Gemini refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from gleitzeit.testing.gemini_server import Answer, GeminiServer, problem
from gleitzeit.wire.client import make_client

HI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
CALL = {"functionCall": {"name": "f", "args": {}}}
RESULT = {"functionResponse": {"name": "f", "response": {"output": "y"}}}


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    async with GeminiServer() as running:
        yield running


@pytest.fixture
async def client(server: GeminiServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with make_client() as made:
        yield made


async def ask(
    server: GeminiServer, client: httpx2.AsyncClient, method: str, body: Any = HI
) -> httpx2.Response:
    return await client.post(f"{server.url}/v1beta/models/m:{method}", json=body)


def text(answers: list[Any]) -> str:
    parts = (part for answer in answers for part in answer["candidates"][0]["content"]["parts"])
    return "".join(part["text"] for part in parts)


async def test_it_says_that_it_is_a_fake(server: GeminiServer, client: httpx2.AsyncClient) -> None:
    answer = (await ask(server, client, "generateContent")).json()
    assert text([answer]) == "I am a scripted fake, not a language model. You said: hi"


@pytest.mark.parametrize("gzip", [False, True])
async def test_both_streams_join_to_the_whole_answer(
    server: GeminiServer, client: httpx2.AsyncClient, gzip: bool
) -> None:
    server.models["m"] = Answer("one two", gzip=gzip)
    lines = (await ask(server, client, "streamGenerateContent?alt=sse")).text.splitlines()
    events = [json.loads(line[5:]) for line in lines if line]
    listed = (await ask(server, client, "streamGenerateContent")).json()
    assert events == listed
    assert text(events) == "one two"
    assert [event["candidates"][0].get("finishReason") for event in events] == [None, "STOP"]


async def test_a_key_is_wanted_where_one_is_set(client: httpx2.AsyncClient) -> None:
    async with GeminiServer(api_key="k") as server:
        url = f"{server.url}/v1beta/models"
        assert (await client.get(url)).json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
        assert (await client.get(url, headers={"x-goog-api-key": "k"})).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"contents": []},
        {"messages": []},
        {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]},
        {"contents": [{"role": "user", "parts": []}]},
        {"contents": [{"role": "user", "parts": [{"text": "x", "inlineData": {}}]}]},
        {"contents": [{"role": "user", "parts": [{"thoughtSignature": "!!!"}]}]},
        {"contents": [{"role": "model", "parts": [CALL]}, {"role": "user", "parts": [{"text": "x"}]}]},
        {"contents": [{"role": "user", "parts": [RESULT]}]},
        {"contents": [{"role": "user", "parts": [CALL]}]},
        {**HI, "generationConfig": {"temperature": "hot"}},
        {**HI, "toolConfig": {"functionCallingConfig": {"mode": "required"}}},
        {**HI, "tools": [{"functionDeclarations": [{"name": "a/b"}]}]},
        {**HI, "tools": [{"functionDeclarations": [{"name": "a", "parameters": {"type": "object"}}]}]},
        {**HI, "tools": [{"functionDeclarations": [{"name": "a", "parameters": {"$ref": "#"}}]}]},
    ],
)
async def test_malformed_bodies_are_refused(
    server: GeminiServer, client: httpx2.AsyncClient, body: dict[str, Any]
) -> None:
    assert problem("generateContent", body) is not None
    found = await ask(server, client, "generateContent", body)
    assert (found.status_code, found.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_good_bodies_are_not() -> None:
    turns = [*HI["contents"], {"role": "model", "parts": [CALL]}, {"role": "user", "parts": [RESULT]}]
    assert problem("generateContent", {"contents": turns}) is None
    assert problem("countTokens", {"generateContentRequest": {"model": "models/m", **HI}}) is None


async def test_unknown_models_and_paths_are_not_found(
    server: GeminiServer, client: httpx2.AsyncClient
) -> None:
    for path in ("/v1beta/models/no-model:generateContent", "/elsewhere"):
        assert (await client.post(f"{server.url}{path}", json=HI)).status_code == 404
