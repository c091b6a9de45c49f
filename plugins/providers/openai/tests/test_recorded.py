"""Traffic that others recorded, read by us and by the vendor's SDK: the same text, calls, usage, finish.

The recordings lie beside the repository and are no part of it; without them these tests are
skipped. Differences by design, told apart below, beside those that `test_oracle` lists:

| where | the SDK | ours | why |
|---|---|---|---|
| content as a list (Mistral) | passes the list on | text and thinking parts | one shape for all vendors |
| usage in `x_groq` | does not look there | used where `usage` is absent | otherwise it would be lost |
| a call without `arguments` | None | "" | an absent text is an empty one, read as {} |
| cache hits in DeepSeek's own field | does not look there | counted as cache reads | otherwise lost |
"""

from __future__ import annotations

import importlib.util
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import openai
import pytest
from gleitzeit_plugin_openai import OpenAI
from gleitzeit_plugin_openai.reader import AnswerReader
from gleitzeit_plugin_openai.stream import ChatParser
from openai import AsyncOpenAI

from gleitzeit.errors import GleitzeitError
from gleitzeit.testing import FakeContext
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.values import Chat, Embedding, Event, Reply, Stream
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

pytestmark = pytest.mark.shared

PROVIDERS = ("openai", "groq", "openrouter", "mistral", "deepseek", "huggingface", "ollama", "cerebras")
MESSAGES: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def replay(shared: Path) -> ModuleType:
    """The recipe that reads and serves recordings."""
    spec = importlib.util.spec_from_file_location("replay", shared / "recipes" / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recorded(shared: Path, replay: ModuleType) -> Callable[..., Iterator[dict[str, Any]]]:
    """The recorded interactions of an operation."""
    index = json.loads((shared / "recorded" / "INDEX.json").read_text("utf-8"))
    files: dict[str, list[dict[str, Any]]] = {}

    def find(op: str, *, stream: bool, providers: tuple[str, ...] = PROVIDERS) -> Iterator[dict[str, Any]]:
        for row in index:
            if row["op"] == op and row["stream"] is stream and row["provider"] in providers:
                path = shared / "recorded" / row["file"]
                if row["file"] not in files:
                    files[row["file"]] = replay.load(path)
                yield {**files[row["file"]][row["n"]], "row": row, "file": path}

    return find


class Both:
    """Two clients of one server that answers everything with `answer`."""

    def __init__(self, provider: OpenAI, sdk: AsyncOpenAI) -> None:
        self.provider, self.sdk = provider, sdk
        self.answer: dict[str, Any] = {}

    async def serve(self, call: Call) -> None:
        kind = str(self.answer["headers"].get("content-type", "application/json"))
        await call.send(self.answer["status"], {"content-type": kind}, self.answer["body"])


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async def handler(call: Call) -> None:
        await pair.serve(call)

    async with (
        LoopbackServer(handler) as server,
        FakeContext("p") as context,
        AsyncOpenAI(base_url=server.address, api_key="x", max_retries=0) as sdk,
    ):
        pair = Both(OpenAI(OpenAI.Config(base_url=server.address), context), sdk)
        yield pair


def text_of(content: Any) -> str:
    """The text in a message's content as the SDK passes it on."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def usage_of(usage: Any) -> Any:
    if usage is None or (not usage.prompt_tokens and not usage.completion_tokens):
        return None
    read, written = usage.prompt_tokens_details, usage.completion_tokens_details
    return (
        usage.prompt_tokens,
        usage.completion_tokens,
        read.cached_tokens if read else None,
        written.reasoning_tokens if written else None,
    )


def our_usage(reply: Reply) -> Any:
    usage = reply.usage
    return usage and (usage.input, usage.output, usage.cache_read, usage.reasoning)


def same(reply: Reply, text: str, calls: list[Any], finish: Any, usage: Any, file: Path) -> None:
    assert reply.text == text, file
    assert [(call.name, call.raw) for call in reply.tool_calls] == [
        (name, raw or "") for _, name, raw in calls
    ], file
    for call, (id, _, _) in zip(reply.tool_calls, calls, strict=True):
        assert call.id == id or (not id and call.id), file
    assert reply.raw_finish_reason == finish, file
    if usage is not None:
        ours = our_usage(reply)
        assert ours is not None, file
        # What the SDK has no field for (DeepSeek's cache hits) we may know beyond it.
        assert all(mine == their for mine, their in zip(ours, usage, strict=True) if their is not None), file


@pytest.mark.feature("S004-04")
@pytest.mark.parametrize("vendor", PROVIDERS)
async def test_whole_answers(both: Both, recorded: Callable[..., Any], vendor: str) -> None:
    count = 0
    for interaction in recorded("chat", stream=False, providers=(vendor,)):
        count += 1
        both.answer, file = interaction, interaction["file"]
        if interaction["status"] >= 400:
            with pytest.raises(GleitzeitError) as mine:
                await both.provider.call(Chat("hi").to("m"))
            with pytest.raises(openai.APIStatusError) as their:
                await both.sdk.chat.completions.create(model="m", messages=MESSAGES)
            assert mine.value.status == their.value.status_code == interaction["status"], file
            continue
        reply = await both.provider.call(Chat("hi").to("m"))
        assert isinstance(reply, Reply)
        expected = await both.sdk.chat.completions.create(model="m", messages=MESSAGES)
        message = expected.choices[0].message
        calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]  # type: ignore[union-attr]
        text = text_of(message.content) + (message.refusal or "")
        same(reply, text, calls, expected.choices[0].finish_reason, usage_of(expected.usage), file)
        assert (reply.model, reply.id) == (expected.model, expected.id), file
        if interaction["row"].get("reasoning") and message.model_extra:
            spoken = message.model_extra.get("reasoning_content") or message.model_extra.get("reasoning")
            assert not spoken or reply.thinking == spoken, file
    assert count, "the recordings have whole answers of every one of these vendors"


def parsed(pieces: list[bytes]) -> list[Event]:
    events: deque[Event] = deque()
    parser = ChatParser(AnswerReader(WireNames(), "openai:x:m"), answer_error)
    for piece in pieces:
        if not parser.complete:
            parser.feed(piece, events)
    if not parser.complete:
        parser.close(events)
    return list(events)


def outcome(pieces: list[bytes]) -> list[Event] | str:
    """The events, but for made-up ids; or the kind of error."""
    try:
        return parsed(pieces)
    except GleitzeitError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.feature("S004-03")
async def test_streams(both: Both, recorded: Callable[..., Any]) -> None:
    """Whole through both clients; then in pieces of 1 to 7 bytes with CRLF, which must change nothing."""
    count = failed = 0
    for interaction in recorded("chat", stream=True):
        count += 1
        both.answer, body, file = interaction, interaction["body"], interaction["file"]
        stream = await both.provider.call(Chat("hi").to("m", stream=True))
        assert isinstance(stream, Stream)
        text, finish, usage = "", None, None
        calls: dict[int, list[Any]] = {}
        try:
            async for chunk in await both.sdk.chat.completions.create(
                model="m", messages=MESSAGES, stream=True
            ):
                usage = usage_of(chunk.usage) or usage
                for choice in chunk.choices[:1]:
                    text += text_of(choice.delta.content) + (choice.delta.refusal or "")
                    finish = choice.finish_reason or finish
                    for call in choice.delta.tool_calls or ():
                        slot = calls.setdefault(call.index, [None, None, ""])
                        assert call.function is not None
                        slot[0], slot[1] = call.id or slot[0], call.function.name or slot[1]
                        slot[2] += call.function.arguments or ""
        except openai.APIError:
            failed += 1
            with pytest.raises(GleitzeitError) as mine:
                await stream.collect()
            assert mine.value.partial.text == text, file
        else:
            same(await stream.collect(), text, list(calls.values()), finish, usage, file)
        expected = outcome([body])
        crlf = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for size in range(1, 8):
            found = outcome([crlf[i : i + size] for i in range(0, len(crlf), size)])
            assert found == expected, (file, size)
        # A cut at any event border before the mark is an error, never a shorter success.
        borders = [i + 2 for i in range(len(body)) if body[i : i + 2] == b"\n\n"]
        mark = body.find(b'"finish_reason":"') % (len(body) + 1)
        for border in borders[:: max(1, len(borders) // 8)]:
            if border < mark and isinstance(expected, list):
                assert isinstance(outcome([body[:border]]), str), (file, border)
    assert (count >= 20, failed >= 1) == (True, True)


async def test_streams_over_the_wire_in_awkward_pieces(
    both: Both, recorded: Callable[..., Any], replay: ModuleType
) -> None:
    """The recipe's own server: pieces of three bytes with CRLF, and a clean cut."""
    files = [found["file"] for found in recorded("chat", stream=True, providers=("openai",))][:2]
    for file in files:
        expected = None
        for options in ({}, {"chunk": 3, "crlf": True}):
            server = replay.serve(0, file, **options)
            try:
                async with FakeContext("p") as context:
                    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
                    stream = await OpenAI(OpenAI.Config(base_url=url), context).call(
                        Chat("hi").to("m", stream=True)
                    )
                    assert isinstance(stream, Stream)
                    reply = await stream.collect()
            finally:
                server.shutdown()
                server.server_close()
            assert expected is None or reply == expected
            expected = reply


async def test_embeddings(both: Both, recorded: Callable[..., Any]) -> None:
    count = 0
    for interaction in recorded("embeddings", stream=False, providers=("openai",)):
        count += 1
        both.answer, file = interaction, interaction["file"]
        asked = interaction["req"]["input"]
        inputs = [asked] if isinstance(asked, str) else asked
        if interaction["status"] >= 400:
            with pytest.raises(GleitzeitError) as mine:
                await both.provider.call(Embedding(inputs).to("m"))
            assert mine.value.status == interaction["status"], file
            continue
        reply = await both.provider.call(Embedding(inputs).to("m"))
        assert isinstance(reply, Reply)
        expected = await both.sdk.embeddings.create(model="m", input=inputs)
        assert reply.vectors == tuple(tuple(item.embedding) for item in expected.data), file
        assert reply.usage is not None
        assert (reply.usage.input, reply.model) == (expected.usage.prompt_tokens, expected.model), file
    assert count


def test_the_text_of_a_stream_only_ever_grows(recorded: Callable[..., Any]) -> None:
    """What was shown is never taken back: each prefix of the events is a prefix of the answer."""
    for interaction in recorded("chat", stream=True, providers=("openai",)):
        events = parsed([interaction["body"]])
        texts = [fold(events[:end]).text for end in range(len(events) + 1)]
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
