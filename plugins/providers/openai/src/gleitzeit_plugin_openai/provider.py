"""The provider: operations to requests, answers to replies."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httpx2
import msgspec

from gleitzeit.errors import (
    AccessError,
    GleitzeitError,
    RequestError,
    UnsupportedError,
    WireError,
)
from gleitzeit.values import (
    Chat,
    Completion,
    Embedding,
    Event,
    Health,
    Model,
    RateLimits,
    Reply,
    Request,
    Stream,
    Usage,
)
from gleitzeit.values.fold import fold
from gleitzeit.wire.exchange import Answer
from gleitzeit.wire.limits import rate_limits
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.source import ResponseEvents
from gleitzeit_plugin_openai.adapt import Adaptations
from gleitzeit_plugin_openai.bodies import (
    chat_body,
    completion_body,
    embedding_body,
    sound_type,
    state_owner,
)
from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.connection import Connected
from gleitzeit_plugin_openai.filters import Filter, TextCalls, ThinkTags
from gleitzeit_plugin_openai.listing import next_page, read_models
from gleitzeit_plugin_openai.reader import AnswerReader
from gleitzeit_plugin_openai.responses.bodies import needs_chat, response_body, response_owner
from gleitzeit_plugin_openai.responses.reader import ResponseReader
from gleitzeit_plugin_openai.responses.stream import ResponseParser, read_response
from gleitzeit_plugin_openai.stream import ChatParser, read_whole
from gleitzeit_plugin_openai.usage import usage_of
from gleitzeit_plugin_openai.vectors import Vector, read_vectors

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["OpenAI"]

#: Seconds for which a call that went well proves health.
_FRESH: Final = 30.0
_PAGES: Final = 50
#: Most fields of one request that may be changed after refusals.
_CHANGES: Final = 4
_encode: Final = msgspec.json.Encoder().encode


class OpenAI(Connected):
    """Chat, completions and embeddings of OpenAI and of servers that speak its API."""

    Config: ClassVar[Any] = OpenAIConfig
    complete: ClassVar[bool] = False
    manifest: ClassVar[Mapping[str, Any]] = {
        "patterns": ("gpt-*", "o[0-9]*", "text-embedding-*", "chatgpt-*"),
        "capabilities": ("chat", "completion", "embedding", "streaming", "tools", "vision"),
        "secrets": {"api_key": "OPENAI_API_KEY"},
    }

    def __init__(self, config: OpenAIConfig, context: Context) -> None:
        super().__init__(config, context)
        self._adaptations = Adaptations(config)
        self._succeeded: float | None = None
        self._failed: GleitzeitError | None = None

    def __repr__(self) -> str:
        return f"<OpenAI {self.context.name!r} at {self._settings.base_url}>"

    @property
    def local(self) -> bool:
        """True for a server on a loopback address; what it passes on elsewhere cannot be seen from here."""
        return self._settings.loopback

    async def provide_models(self) -> list[Model]:
        """The models that the server lists."""
        models: dict[str, Model] = {}
        url = self._url("/models")
        for _ in range(_PAGES):
            answer = await self._exchange.fetch("GET", url, self._headers(None))
            found, page = read_models(answer.body)
            models.update((model.name, model) for model in found)
            after = next_page(page)
            if after is None:
                break
            url = self._url("/models").copy_merge_params({"after": after})
        return list(models.values())

    async def health(self, deep: bool = False) -> Health:
        """Judges by the last call, else by the list of models; neither costs anything.

        A server without a good list is healthy as long as calls go well.
        """
        if not deep and self._succeeded is not None and time.monotonic() - self._succeeded < _FRESH:
            return Health("ok", detail="the last call went well")
        begun = time.monotonic()
        try:
            models = await self.provide_models()
        except GleitzeitError as error:
            return self._without_list(error)
        if isinstance(self._failed, AccessError):
            return Health("error", detail=f"models are listed, but calls are refused: {self._failed.code}")
        return Health("ok", detail=f"{len(models)} models", latency=time.monotonic() - begun)

    def _without_list(self, error: GleitzeitError) -> Health:
        if isinstance(error, AccessError | WireError):
            return Health("error", detail=str(error))
        what = f"the server answers, but lists no models ({error.code})"
        if self._succeeded is not None:
            return Health("ok", detail=f"calls go well; {what}")
        if self._failed is not None:
            return Health("error", detail=f"{what}, and the last call failed: {self._failed.code}")
        return Health("unknown", detail=f"{what}, and nothing was called yet")

    async def call(self, request: Request) -> Reply | Stream:
        """Answer a chat, a completion or an embedding."""
        operation, model = request.operation, self._model(request.name)
        try:
            if isinstance(operation, Completion) and self._settings.completion_api == "chat":
                operation = _as_chat(operation)
            if isinstance(operation, Chat):
                answer = await self._chat(request, operation)
            elif isinstance(operation, Completion):
                body = completion_body(operation, model, request.stream, self._settings)
                answer = await self._generate(request, "/completions", body, WireNames(), tools=False)
            elif isinstance(operation, Embedding):
                answer = await self._embed(request, operation)
            else:
                raise UnsupportedError(
                    f"{self.context.name}: {operation.kind} is not what this API offers",
                    hint="ask for chat, completion or embedding",
                    provider=self.context.name,
                    sent=False,
                )
        except GleitzeitError as error:
            error.provider = error.provider or self.context.name
            if not isinstance(error, RequestError):  # those say nothing of the server's health
                self._failed, self._succeeded = error, None
            raise
        self._failed, self._succeeded = None, time.monotonic()
        return answer

    async def _chat(self, request: Request, chat: Chat) -> Reply | Stream:
        names, model, settings = WireNames(), self._model(request.name), self._settings
        api = settings.api
        if api == "auto":
            api = "responses" if settings.official and not needs_chat(chat) else "chat"
        if api == "responses":
            body = response_body(chat, model, request.stream, settings, names)
            return await self._respond(request, body, names)
        body = chat_body(chat, model, request.stream, settings, names)
        return await self._generate(request, "/chat/completions", body, names, tools=bool(chat.tools))

    async def _respond(self, request: Request, body: dict[str, Any], names: WireNames) -> Reply | Stream:
        reader = ResponseReader(names, response_owner(self._settings, body["model"]))
        error = self._exchange.error
        answer = await self._send(request, "/responses", body)
        if isinstance(answer, httpx2.Response):
            reader.limits = rate_limits(answer.headers)
            return Stream(ResponseEvents(self._exchange, answer, ResponseParser(reader, error)))
        reader.limits = answer.limits
        events: deque[Event] = deque()
        read_response(answer.body, reader, error, events)
        return fold(events).evolve(raw=answer.body)

    async def _generate(
        self, request: Request, path: str, body: dict[str, Any], names: WireNames, *, tools: bool
    ) -> Reply | Stream:
        sound = sound_type(body) if "audio" in (body.get("modalities") or ()) else None
        owner = state_owner(self._settings, body["model"])
        reader = AnswerReader(names, owner, self._filters(tools), sound=sound)
        error = self._exchange.error
        answer = await self._send(request, path, body)
        if isinstance(answer, httpx2.Response):
            reader.limits = rate_limits(answer.headers)
            return Stream(ResponseEvents(self._exchange, answer, ChatParser(reader, error)))
        reader.limits = answer.limits
        events: deque[Event] = deque()
        read_whole(answer.body, reader, error, events)
        return fold(events).evolve(raw=answer.body)

    async def _send(self, request: Request, path: str, body: dict[str, Any]) -> Answer | httpx2.Response:
        """Send a body: the whole answer, or the open one of a stream.

        A field that is refused by name may be changed and the rest sent again, as nothing was done.
        """
        model, url = body["model"], self._url(path, body["model"])
        headers = self._headers(request.idempotency_key)
        changed = self._adaptations.apply(model, body)
        for _ in range(_CHANGES):
            try:
                return await self._sent(request.stream, url, headers, body)
            except RequestError as error:
                if request.idempotency_key is not None:
                    raise  # it stands for one body
                if not self._adaptations.learn(model, error, body, changed):
                    raise
        return await self._sent(request.stream, url, headers, body)

    async def _sent(
        self, stream: bool, url: httpx2.URL, headers: httpx2.Headers, body: dict[str, Any]
    ) -> Answer | httpx2.Response:
        if stream:
            return await self._exchange.open("POST", url, headers, _encode(body))
        return await self._exchange.fetch("POST", url, headers, _encode(body))

    def _model(self, name: str) -> str:
        """What a model is called on the wire."""
        return name

    async def _embed(self, request: Request, embedding: Embedding) -> Reply:
        vectors: list[Vector] = []
        name = self._model(request.name)
        url = self._url("/embeddings", name)
        usage: Usage | None = None
        model: str | None = None
        limits: RateLimits | None = None  # of the last batch, as they are the newest
        for start in range(0, len(embedding.inputs), self._settings.embedding_batch):
            inputs = embedding.inputs[start : start + self._settings.embedding_batch]
            body = embedding_body(embedding, inputs, name, self._settings)
            headers = self._headers(request.idempotency_key)
            answer = await self._exchange.fetch("POST", url, headers, _encode(body))
            whole, batch = read_vectors(answer.body, len(inputs), self._exchange.error)
            vectors += batch
            limits = answer.limits
            model = whole.model if isinstance(whole.model, str) and whole.model else model
            used = usage_of(whole.usage)
            usage = used if usage is None else usage if used is None else usage + used
        return Reply(vectors=tuple(vectors), usage=usage, model=model, limits=limits)

    def _filters(self, tools: bool) -> tuple[Filter, ...]:
        """What takes thinking and calls out of the text, where the configuration says they are in it."""
        filters: list[Filter] = []
        if self._settings.thinking != "fields":
            filters.append(ThinkTags(open=self._settings.thinking == "open"))
        if tools and self._settings.tool_calls != "fields":
            filters.append(TextCalls(self._settings.tool_calls))
        return tuple(filters)


def _as_chat(completion: Completion) -> Chat:
    """A text to continue as a conversation of one turn."""
    return Chat(
        completion.prompt,
        max_tokens=completion.max_tokens,
        temperature=completion.temperature,
        top_p=completion.top_p,
        stop=completion.stop,
        seed=completion.seed,
        options=completion.options,
    )
