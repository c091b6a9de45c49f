"""Gemini, by the Gemini API and by Vertex AI: answers, streams, embeddings and counts of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from gleitzeit_plugin_gemini import Gemini
from google import genai
from google.genai import errors, types

from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Embedding, Invoke, Message, Reply, Stream, ToolResultPart
from gleitzeit.wire.codec import dumps, loads
from tests.replay.playback import Playback
from tests.replay.recordings import Interaction
from tests.replay.strict import problems
from tests.replay.vendor import Difference, Seen, Vendor

__all__ = ["VENDORS"]

URL: Final = "http://127.0.0.1:9"
MODEL: Final = "gemini-x"


class Both(Vendor):
    """A provider and the SDK over one transport."""

    oracle = f"google-genai {genai.__version__}"
    providers: ClassVar[tuple[str, ...]] = ("gemini",)
    vertex = False

    def __init__(self, play: Playback) -> None:
        super().__init__(play)
        place = {"project": "p"} if self.vertex else {}
        config = Gemini.Config(base_url=URL, api_key="x", **place)
        self.provider = Gemini(config, FakeContext("p", play.client))
        options = types.HttpOptions(base_url=URL, httpx_async_client=play.client)
        self.sdk = genai.Client(vertexai=self.vertex, api_key="x", http_options=options)


class GeminiAnswers(Both):
    """Whole answers and streams."""

    name = "gemini"
    providers: ClassVar[tuple[str, ...]] = ("gemini", "gateway:8787")
    ops = ("generate", "streamGenerate")
    differences = (
        Difference(
            "a blocked prompt",
            reason="the SDK gives an empty answer; we raise ContentRefusedError",
            fields=("error", "text"),
            holds=lambda interaction, ours, theirs: (
                b'"blockReason"' in interaction.body and ours.error == 0 and theirs.text == ""
            ),
        ),
    )

    async def ours(self, interaction: Interaction) -> Reply:
        answer = await self.provider.call(Chat("hi").to(MODEL, stream=interaction.stream))
        return await answer.collect() if isinstance(answer, Stream) else answer

    async def theirs(self, interaction: Interaction) -> Seen:
        models = self.sdk.aio.models
        try:
            if interaction.stream:
                stream = await models.generate_content_stream(model=MODEL, contents="hi")
                return _seen([piece async for piece in stream])
            return _seen([await models.generate_content(model=MODEL, contents="hi")])
        except errors.APIError as error:
            return Seen(error=error.code)

    async def further(self, interaction: Interaction, reply: Reply) -> Iterable[str]:
        """The reply as history: valid by the published schema, and every part of it as it came."""
        stored = loads(Message, dumps(reply.message))
        results = [ToolResultPart(call.id, parts="y") for call in stored.tool_calls]
        after = Message.tool(*results) if results else Message.user("go on")
        answer = await self.provider.call(
            Chat([Message.user("hi"), stored, after]).to(MODEL, stream=interaction.stream)
        )
        if isinstance(answer, Stream):
            await answer.aclose()
        body = self.play.requests[-1]
        found = problems("gemini.openapi.json", "GenerateContentRequest", body)
        came = [part for answer in _answers(interaction) for part in _parts(answer)]
        sent = [content for content in body["contents"] if content["role"] == "model"]
        if _normal(came) != _normal(sent[0]["parts"] if sent else []):
            found.append(
                f"state: {_normal(came)!r} went back as {_normal(sent[0]['parts'] if sent else [])!r}"
            )
        ids = [part["functionCall"].get("id") for part in came if "functionCall" in part]
        back = [part["functionResponse"].get("id") for part in body["contents"][-1]["parts"]] if ids else []
        return [*found, *([] if ids == back else [f"ids {ids} came back as {back}"])]


class VertexAnswers(GeminiAnswers):
    """Whole answers and streams of Vertex AI."""

    name = "vertex"
    providers = ("vertex",)
    vertex = True


def _answers(interaction: Interaction) -> list[Any]:
    if not interaction.stream:
        return [interaction.json]
    lines = interaction.body.replace(b"\r", b"").split(b"\n")
    return [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]


def _parts(answer: Any) -> list[Any]:
    candidates = answer.get("candidates") or [{}]
    return (candidates[0].get("content") or {}).get("parts") or []


def _normal(parts: list[Any]) -> list[Any]:
    """Parts without thoughts that carry nothing to send back, plain texts in a row joined."""
    made: list[Any] = []
    for part in parts:
        if set(part) == {"text", "thought"} or part == {"text": ""}:
            continue
        if set(part) == {"text"} and made and set(made[-1]) == {"text"}:
            made[-1] = {"text": made[-1]["text"] + part["text"]}
        elif "functionCall" in part:
            made.append({**part, "functionCall": {"args": {}, **part["functionCall"]}})
        else:
            made.append(part)
    return made


def _seen(pieces: list[types.GenerateContentResponse]) -> Seen:
    text = thinking = ""
    calls: list[tuple[str | None, str, Any]] = []
    finish = usage = None
    for piece in pieces:
        candidate = piece.candidates[0] if piece.candidates else None
        content = candidate.content if candidate else None
        for part in (content.parts if content else None) or ():
            if part.function_call is not None:
                call = part.function_call
                calls.append((call.id, call.name or "", call.args or {}))
            elif part.thought:
                thinking += part.text or ""
            else:
                text += part.text or ""
        if candidate is not None and candidate.finish_reason is not None:
            finish = candidate.finish_reason.value
        usage = piece.usage_metadata or usage
    return Seen(
        text=text,
        thinking=thinking,
        calls=tuple(calls),
        finish=finish,
        usage=_usage(usage),
        model=pieces[0].model_version,
        id=pieces[0].response_id,
    )


def _usage(usage: Any) -> dict[str, int | None] | None:
    if usage is None or usage.prompt_token_count is None:
        return None
    read = usage.prompt_token_count + (usage.tool_use_prompt_token_count or 0)
    return {
        "input": read,
        # Their total is an independent sum of all four counts.
        "output": (usage.total_token_count - read) or None,
        "cache_read": usage.cached_content_token_count,
        "reasoning": usage.thoughts_token_count,
    }


class GeminiEmbeddings(Both):
    """Embeddings of the Gemini API."""

    name = "gemini embeddings"
    ops = ("embeddings",)

    async def ours(self, interaction: Interaction) -> Reply:
        reply = await self.provider.call(Embedding(_inputs(interaction)).to(MODEL))
        assert isinstance(reply, Reply)
        return reply

    async def theirs(self, interaction: Interaction) -> Seen:
        try:
            found = await self.sdk.aio.models.embed_content(model=MODEL, contents=_inputs(interaction))
        except errors.APIError as error:
            return Seen(error=error.code)
        return Seen(vectors=tuple(tuple(item.values or ()) for item in found.embeddings or ()))


def _inputs(interaction: Interaction) -> Any:
    return [asked["content"]["parts"][0]["text"] for asked in interaction.sent["requests"]]


class VertexEmbeddings(Both):
    """Embeddings of Vertex AI, whose method depends on the model."""

    name = "vertex embeddings"
    providers = ("vertex",)
    ops = ("embeddings", "models")
    vertex = True

    async def ours(self, interaction: Interaction) -> Reply:
        method = interaction.path.rpartition(":")[2]
        config = Gemini.Config(base_url=URL, api_key="x", project="p", embedding_api=method)
        provider = Gemini(config, FakeContext("p", self.play.client))
        reply = await provider.call(Embedding("hi").to(MODEL))
        assert isinstance(reply, Reply)
        return reply

    async def theirs(self, interaction: Interaction) -> Seen:
        model = interaction.path.rpartition("/")[2].partition(":")[0]  # by which the SDK chooses the method
        found = await self.sdk.aio.models.embed_content(model=model, contents="hi")
        return Seen(vectors=tuple(tuple(item.values or ()) for item in found.embeddings or ()))


class GeminiCounts(Both):
    """Counts of tokens of the Gemini API and of Vertex AI."""

    name = "gemini token counts"
    providers = ("gemini", "vertex")
    ops = ("count_tokens",)

    async def ours(self, interaction: Interaction) -> Reply:
        asked = Invoke("count_tokens", arguments={"model": MODEL, "messages": "hi"})
        reply = await self.provider.call(asked.to("p"))
        assert isinstance(reply, Reply)
        return reply.evolve(data={"input_tokens": reply.data["input_tokens"]})

    async def theirs(self, interaction: Interaction) -> Seen:
        try:
            found = await self.sdk.aio.models.count_tokens(model=MODEL, contents="hi")
        except errors.APIError as error:
            return Seen(error=error.code)
        return Seen(data={"input_tokens": found.total_tokens})


VENDORS: Final = (GeminiAnswers, VertexAnswers, GeminiEmbeddings, VertexEmbeddings, GeminiCounts)
