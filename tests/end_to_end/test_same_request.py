"""One request to every provider: what each server receives, by whom, and that none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Final

import pytest

from gleitzeit import Chat, Host, TextDelta
from gleitzeit.errors import AuthenticationError, UnknownModelError
from gleitzeit.testing import faulty
from gleitzeit.testing.loopback import Call
from gleitzeit.testing.openai_server import OpenAIServer
from tests.end_to_end.dialects.words import KEY, SENTENCE
from tests.end_to_end.talk import EACH, WAYS, ask, good, opening, talking, wire
from tests.end_to_end.voices import NAMES, VOICES

#: What the server gets, by wire; a dot goes down.
SENT: Final[Mapping[str, Mapping[str, Any]]] = {
    "chat": {"model": "m-7", "temperature": 0.5, "top_p": 0.9, "stop": ["END"]},
    "responses": {"model": "m-7", "max_output_tokens": 32, "temperature": 0.5, "top_p": 0.9},
    "messages": {
        "model": "m-7",
        "max_tokens": 32,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
    },
    "generate": {
        "generationConfig.maxOutputTokens": 32,
        "generationConfig.temperature": 0.5,
        "generationConfig.topP": 0.9,
        "generationConfig.stopSequences": ["END"],
    },
    "lines": {
        "model": "m-7",
        "options.num_predict": 32,
        "options.temperature": 0.5,
        "options.top_p": 0.9,
        "options.stop": ["END"],
    },
}
#: Servers that only imitate OpenAI know the older name.
LIMITS: Final = {"chat": "max_tokens", "azure": "max_completion_tokens", "router": "max_tokens"}


def _at(body: Any, place: str) -> Any:
    for step in place.split("."):
        body = body.get(step)
    return body


@pytest.mark.feature("S001-03")
@WAYS
@EACH
async def test_the_server_gets_model_limit_and_sampling(name: str, stream: bool) -> None:
    stop = [] if wire(name) == "responses" else ["END"]  # that wire has no such field
    chat = Chat("hi", max_tokens=32, temperature=0.5, top_p=0.9, stop=stop).to(f"{name}/m-7")
    async with talking(name) as (host, server):
        server.answers.append(VOICES[name].answer(VOICES[name].dialect.sentence(), stream))
        reply = await (host.stream(chat).collect() if stream else host.call(chat))
        (call,) = server.requests
    assert reply.text == SENTENCE
    wanted = dict(SENT[wire(name)])
    if name in LIMITS:
        wanted[LIMITS[name]] = 32
    assert {place: _at(call.json, place) for place in wanted} == wanted
    if wire(name) == "generate":
        assert "/models/m-7:" in call.path


@pytest.mark.feature("S002-22")
@EACH
async def test_a_provider_that_is_held_delays_no_other(name: str) -> None:
    """All others are in the middle of an answer that does not go on."""
    held: dict[str, asyncio.Event] = {other: asyncio.Event() for other in NAMES if other != name}
    async with AsyncExitStack() as stack:
        servers = {other: await stack.enter_async_context(VOICES[other].server()) for other in NAMES}
        config = {other: VOICES[other].configure(server.url) for other, server in servers.items()}
        host = await stack.enter_async_context(Host({"providers": config}, environ={}))

        async def hold(other: str) -> None:
            frames = opening(good(other))
            stalled = VOICES[other].says(frames=(*frames, b""), fault="stall", after=len(frames))
            servers[other].answers.append(stalled)
            async with host.stream(Chat("hi").to(f"{other}/m-1")) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        held[other].set()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(hold(other)) for other in held]
            for event in held.values():
                await event.wait()
            for stream in (False, True):
                answer = VOICES[name].answer(VOICES[name].dialect.sentence(), stream)
                servers[name].answers.append(answer)
                assert (await ask(host, name, stream=stream)).text == SENTENCE
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()


class Door(OpenAIServer):
    """A compatible server that lets in who has what it wants, by header."""

    def __init__(self, header: str, value: str) -> None:
        super().__init__()
        self._header, self._value = header, value

    def refuse(self, call: Call) -> Any:
        """The refusal of who has not."""
        if not self._header or call.headers.get(self._header) == self._value:
            return None
        return faulty.Answer(status=401, body={"error": "who are you?"})


@pytest.mark.feature("S002-13")
@WAYS
@pytest.mark.parametrize(
    "header, value, config",
    [
        ("", "", {}),
        ("authorization", f"Bearer {KEY}", {"api_key": KEY}),
        ("x-pass", KEY, {"headers": {"X-Pass": KEY}}),
        ("authorization", f"Basic {KEY}", {"headers": {"Authorization": f"Basic {KEY}"}}),
    ],
    ids=["none", "bearer", "a-header-of-its-own", "another-scheme"],
)
async def test_ways_to_be_let_in(header: str, value: str, config: Mapping[str, Any], stream: bool) -> None:
    async with Door(header, value) as server:
        known = {"plugin": "openai", "base_url": server.url}
        providers = {"good": {**known, **config}, "bad": {**known, "api_key": "wrong-0123456789"}}
        async with Host({"providers": providers}, environ={}) as host:
            assert (await ask(host, "good", stream=stream, model="scripted-echo")).text.endswith("hi")
            if header:
                with pytest.raises(AuthenticationError) as caught:
                    await ask(host, "bad", stream=stream, model="scripted-echo")
                assert "wrong-0123456789" not in str(caught.value)


class Azure(OpenAIServer):
    """Azure's addresses, keys and deployments before the API that the fake knows."""

    prefix: ClassVar[str] = ""
    version: ClassVar[str] = "2024-10-21"

    def refuse(self, call: Call) -> Any:
        """Azure's credentials only, and not OpenAI's in their place."""
        if call.headers.get("api-key") == KEY and "authorization" not in call.headers:
            return None
        return faulty.Answer(status=401, body={"error": {"code": "401", "message": "Access denied."}})

    def respond(self, call: Call) -> Any:
        """What the API says to a deployment that is there."""
        missing = {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}
        place = call.path.removeprefix("/openai/v1")
        if place == call.path:
            place = call.path.removeprefix("/openai/deployments/prod")
            if place == call.path or call.query != f"api-version={self.version}":
                return faulty.Answer(status=404, body={"error": missing})
        elif call.query or call.json["model"] != "prod":
            return faulty.Answer(status=404, body={"error": missing})
        call.path = f"/v1{place}"
        return super().respond(call)


@pytest.fixture
async def azure() -> AsyncIterator[Azure]:
    async with Azure() as server:
        yield server


@pytest.mark.feature("S004-06")
@WAYS
@pytest.mark.parametrize(
    "config",
    [{}, {"api_version": Azure.version}, {"api": "responses"}],
    ids=["v1", "dated", "responses"],
)
async def test_azure_by_address_version_deployment_and_key(
    azure: Azure, config: Mapping[str, Any], stream: bool
) -> None:
    """The bodies are checked by the fake as OpenAI's are."""
    voice = VOICES["azure-responses" if config.get("api") else "azure"]
    given = {"plugin": "azure-openai", "endpoint": azure.url, "api_key": KEY, "deployments": {"gpt": "prod"}}
    async with Host({"providers": {"az": {**given, **config}}}, environ={}) as host:
        said: Any = voice.answer(voice.dialect.sentence(), stream)
        azure.answers.append(said)
        assert (await ask(host, "az", stream=stream, model="gpt")).text == SENTENCE
        with pytest.raises(UnknownModelError, match="deployment"):
            await ask(host, "az", stream=stream, model="other")
    providers = {"az": {**given, **config, "api_key": "wrong-0123456789"}}
    async with Host({"providers": providers}, environ={}) as host:
        with pytest.raises(AuthenticationError, match="AZURE_OPENAI_API_KEY"):
            await ask(host, "az", stream=stream, model="gpt")
