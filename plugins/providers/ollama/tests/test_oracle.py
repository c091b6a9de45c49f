"""The vendor's own client as an oracle: the same bytes mean the same to both.

`DIFFERENCES` lists where we differ on purpose, each with its reason and its test below.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import ollama
import pytest
from gleitzeit_plugin_ollama import Ollama

from gleitzeit.errors import GleitzeitError, MalformedAnswerError, TruncatedStreamError
from gleitzeit.testing.ollama_server import Answer, OllamaServer
from gleitzeit.values import (
    Chat,
    Completion,
    Embedding,
    ImagePart,
    Invoke,
    Message,
    Progress,
    Reply,
    Stream,
    Tool,
)

KEY = "ollama-canary-0123456789abcdef"
MODEL = "scripted"
PNG = b"\x89PNG\r\n\x1a\n"

DIFFERENCES: Final = {
    "cut stream": "the client takes a stream that is cut cleanly for a success; that is silent truncation",
    "line that is no JSON": "the client raises what its JSON decoder raises; ours is an error of the tree",
    "finish reason": "ours is decided by what came; the client's word is in `raw_finish_reason`",
    "call ids": "the client has no field for them and drops them; ours are kept, and made where none came",
    "null arguments": "the client's model refuses the whole answer; a call without arguments is one",
}


class Seen:
    """What one client made of an answer."""

    def __init__(
        self, text: str, thinking: str, calls: list[tuple[str, Any]], finish: str | None, counts: Any
    ) -> None:
        self.text, self.thinking, self.calls, self.finish, self.counts = text, thinking, calls, finish, counts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"Seen({vars(self)})"


def ours(reply: Reply) -> Seen:
    calls = [(call.name, call.arguments) for call in reply.tool_calls]
    raw = (reply.usage and reply.usage.raw) or {}
    usage = (reply.usage and reply.usage.input, reply.usage and reply.usage.output, raw.get("total_duration"))
    return Seen(reply.text, reply.thinking, calls, reply.raw_finish_reason, usage)


def theirs(parts: list[Any]) -> Seen:
    text, thinking, calls = "", "", []
    for part in parts:
        message = part.message if hasattr(part, "message") else None
        text += (message.content if message else part.response) or ""
        thinking += (message.thinking if message else part.thinking) or ""
        called = (message and message.tool_calls) or ()
        calls += [(call.function.name, dict(call.function.arguments)) for call in called]
    last = parts[-1]
    counts = (last.prompt_eval_count, last.eval_count, last.total_duration)
    return Seen(text, thinking, calls, last.done_reason, counts)


@pytest.fixture
async def client(server: OllamaServer) -> AsyncIterator[ollama.AsyncClient]:
    made = ollama.AsyncClient(server.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    async with made:
        yield made


@pytest.fixture
def both(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient
) -> Callable[..., Any]:
    """Gives the same answer to both clients, and what each made of it."""

    async def run(answer: Answer, *, stream: bool, completion: bool = False) -> tuple[Seen, Seen]:
        server.answers.extend([answer, answer])
        found = ours(await ask(Completion("hi") if completion else Chat("hi"), MODEL, stream=stream))
        asker: Any = client
        answered = await (
            asker.generate(model=MODEL, prompt="hi", stream=stream)
            if completion
            else asker.chat(model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=stream)
        )
        return found, theirs([part async for part in answered] if stream else [answered])

    return run


CALLS = tuple({"name": "get_weather", "arguments": {"city": city, "n": 1.5}} for city in ("Zürich", "Oslo"))
MEASURED = {"prompt_eval_count": 20, "eval_count": 9, "total_duration": 5_000_000_000, "load_duration": 3}
ANSWERS = {
    "text": Answer("Grüße 你好 😀, and so on."),
    "empty": Answer(""),
    "limit": Answer("cut short", done_reason="length", measured=MEASURED),
    "thinking": Answer("yes", thinking="let me see", measured=MEASURED),
    "one call": Answer(calls=CALLS[:1]),
    "text and parallel calls": Answer("Let me look.", calls=CALLS),
    "no counts": Answer("hi", measured=None),
    "no reason": Answer("hi", done_reason=None),
}


@pytest.mark.feature("S002-09")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_text_thinking_calls_counts_and_reason_are_the_clients(
    both: Callable[..., Any], answer: Answer, stream: bool
) -> None:
    found, expected = await both(answer, stream=stream)
    assert found == expected


@pytest.mark.parametrize("answer", [ANSWERS["text"], ANSWERS["thinking"], ANSWERS["limit"]])
@pytest.mark.parametrize("stream", [False, True])
async def test_completions_are_the_clients(both: Callable[..., Any], answer: Answer, stream: bool) -> None:
    found, expected = await both(answer, stream=stream, completion=True)
    assert found == expected


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("gzip", [False, True])
async def test_pieces_of_any_size_with_crlf_change_nothing(
    both: Callable[..., Any], size: int, gzip: bool
) -> None:
    answer = Answer("Grüße 你好 😀", calls=CALLS[:1], chunk=size, newline="\r\n", gzip=gzip)
    found, expected = await both(answer, stream=True)
    assert found == expected
    assert found.text == "Grüße 你好 😀"


async def test_what_we_send_is_what_the_client_sends(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient
) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "where"}},
        "required": ["city"],
    }
    turns = [Message.system("be brief"), Message.user(["what is this?", ImagePart(data=PNG)])]
    tool = Tool("weather", description="Tells.", input_schema=schema)
    extra = {"ollama": {"keep_alive": "5m"}}
    await ask(Chat(turns, tools=[tool], temperature=0.5, max_tokens=9, reasoning="low", options=extra))
    await client.chat(
        model=MODEL,
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "what is this?", "images": [PNG]},
        ],
        tools=[
            {
                "type": "function",
                "function": {"name": "weather", "description": "Tells.", "parameters": schema},
            }
        ],
        options={"temperature": 0.5, "num_predict": 9},
        think="low",
        keep_alive="5m",
    )
    assert server.requests[0].json == server.requests[1].json


async def test_embeddings_are_the_clients(
    ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient
) -> None:
    texts = ["one", "two", "drei"]
    reply = await ask(Embedding(texts), "embed")
    expected = await client.embed(model="embed", input=texts)
    assert reply.vectors == tuple(tuple(row) for row in expected.embeddings)
    assert reply.usage is not None
    assert reply.usage.input == expected.prompt_eval_count


async def test_the_list_of_models_and_what_is_shown_are_the_clients(
    provider: Ollama, client: ollama.AsyncClient, ask: Callable[..., Awaitable[Reply]]
) -> None:
    listed = await client.list()
    models = await provider.provide_models()
    assert [f"{model.name}:latest" for model in models] == [row.model for row in listed.models]
    shown = await client.show("scripted")
    assert (await ask(Invoke("show", args=["scripted"]), "local")).data["capabilities"] == shown.capabilities


async def test_a_download_is_the_clients(
    server: OllamaServer, provider: Ollama, client: ollama.AsyncClient
) -> None:
    server.library["tiny:latest"] = 4000
    stream = await provider.call(Invoke("pull", args=["tiny"]).to("local", stream=True))
    assert isinstance(stream, Stream)
    events = [event async for event in stream if isinstance(event, Progress)]
    parts = [part async for part in await client.pull("tiny", stream=True)]
    assert (parts[-1].status, events[-1].message) == ("success", "pulling tiny: success")
    assert max(part.completed or 0 for part in parts) == events[-1].progress
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        await client.pull("no-such")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
async def test_refusals_have_the_clients_status_and_text(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient, status: int
) -> None:
    answer = Answer.error(status, "This is why.")
    server.answers.extend([answer, answer])
    with pytest.raises(GleitzeitError) as mine:
        await ask("hi")
    with pytest.raises(ollama.ResponseError) as their:
        await client.chat(model=MODEL, messages=[])
    assert mine.value.status == their.value.status_code
    assert their.value.error == "This is why."
    assert "This is why." in str(mine.value)


async def test_an_error_line_is_an_error_to_both(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient
) -> None:
    answer = Answer(frames=[{"model": "m", "message": {"content": "a", "role": "x"}}, {"error": "It broke."}])
    server.answers.extend([answer, answer])
    with pytest.raises(GleitzeitError, match=r"It broke\."):
        await ask("hi", stream=True)
    with pytest.raises(ollama.ResponseError, match=r"It broke\."):
        [part async for part in await client.chat(model=MODEL, messages=[], stream=True)]


# --- the differences


async def test_difference_cut_stream(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient
) -> None:
    answer = Answer("one two three", fault="cut", after=2)
    server.answers.extend([answer, answer])
    parts = [part async for part in await client.chat(model=MODEL, messages=[], stream=True)]
    assert "".join(part.message.content or "" for part in parts) == "one two"
    with pytest.raises(TruncatedStreamError):
        await ask("hi", stream=True)


async def test_difference_line_that_is_no_json(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient
) -> None:
    answer = Answer(frames=[b"<html>bad gateway</html>\n"])
    server.answers.extend([answer, answer])
    with pytest.raises(MalformedAnswerError):
        await ask("hi", stream=True)
    with pytest.raises(json.JSONDecodeError):
        [part async for part in await client.chat(model=MODEL, messages=[], stream=True)]


async def test_difference_finish_reason_and_call_ids(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient
) -> None:
    answer = Answer(calls=({"id": "c1", "name": "f"}, {"name": "f"}))
    server.answers.extend([answer, answer])
    reply = await ask("hi")
    answered = await client.chat(model=MODEL, messages=[])
    assert (reply.finish_reason, reply.raw_finish_reason) == ("tool_calls", answered.done_reason)
    first, second = reply.tool_calls
    assert first.id == "c1"
    assert second.id.startswith("call_")
    assert not hasattr((answered.message.tool_calls or ())[0], "id")


async def test_difference_null_arguments(
    server: OllamaServer, ask: Callable[..., Awaitable[Reply]], client: ollama.AsyncClient
) -> None:
    answer = Answer(calls=({"name": "f", "arguments": None},))
    server.answers.extend([answer, answer])
    assert (await ask("hi")).tool_calls[0].arguments == {}
    with pytest.raises(ValueError, match="arguments"):
        await client.chat(model=MODEL, messages=[])
