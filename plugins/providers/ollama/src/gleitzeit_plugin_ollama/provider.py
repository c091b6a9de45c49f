"""The provider: operations to requests, answers to replies."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gleitzeit.errors import (
    AccessError,
    GleitzeitError,
    RequestError,
    SecurityDeniedError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.plugin import Provider
from gleitzeit.values import (
    Chat,
    Completion,
    Embedding,
    Event,
    Health,
    Invoke,
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
from gleitzeit_plugin_ollama.bodies import (
    chat_body,
    completion_body,
    context_of,
    embedding_body,
    state_owner,
)
from gleitzeit_plugin_ollama.config import OllamaConfig
from gleitzeit_plugin_ollama.connection import Connection, encode
from gleitzeit_plugin_ollama.downloads import AfterPull
from gleitzeit_plugin_ollama.listing import decoded, described, full_name, is_remote, rows_of
from gleitzeit_plugin_ollama.methods import Methods
from gleitzeit_plugin_ollama.pulls import Pulls
from gleitzeit_plugin_ollama.reader import AnswerReader
from gleitzeit_plugin_ollama.stream import LineParser, read_whole
from gleitzeit_plugin_ollama.vectors import Vector, read_vectors

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["Ollama"]

#: Seconds for which a call that went well proves health.
_FRESH: Final = 30.0
#: Models that are asked for their details at the same time.
_SHOWN: Final = 4


class Ollama(Provider):
    """Chat, completions and embeddings of a server of Ollama's, and its models."""

    Config: ClassVar[Any] = OllamaConfig
    complete: ClassVar[bool] = False
    manifest: ClassVar[Mapping[str, Any]] = {
        "capabilities": ("chat", "completion", "embedding", "streaming", "thinking", "tools", "vision"),
    }

    def __init__(self, config: OllamaConfig, context: Context) -> None:
        super().__init__(config, context)
        self._settings = config
        self._connection = Connection(config, context)
        self._succeeded: float | None = None
        self._failed: GleitzeitError | None = None
        self._pulls = Pulls(self._connection.pull)
        self._methods = Methods(self._connection, self._pulls)
        #: What `/api/show` said, by digest.
        self._shown: dict[str, Mapping[str, Any]] = {}
        #: Models that have refused `think`.
        self._thoughtless: set[str] = set()
        #: Models whose context has been seen full.
        self._full: set[str] = set()

    def __repr__(self) -> str:
        return f"<Ollama {self.context.name!r} at {self._settings.base_url}>"

    @property
    def local(self) -> bool:
        """True for a server on a loopback address; its cloud models get nothing that is private."""
        return self._settings.loopback

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Ends downloads, and closes the instance's own client, if one was needed."""
        try:
            yield
        finally:
            try:
                await self._pulls.aclose()
            finally:
                await self._connection.aclose()

    async def provide_models(self) -> list[Model]:
        """The models that the server has, with what it says of each."""
        rows = rows_of((await self._connection.send("GET", "/api/tags")).body)
        gate = asyncio.Semaphore(_SHOWN)

        async def describe(row: Mapping[str, Any]) -> Model:
            if not self._settings.show:
                return described(row, None)
            async with gate:
                return described(row, await self._details(row))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(describe(row)) for row in rows]
        kept = {str(row.get("digest")) for row in rows}
        self._shown = {digest: shown for digest, shown in self._shown.items() if digest in kept}
        return list({(model := task.result()).name: model for task in tasks}.values())

    async def health(self, deep: bool = False) -> Health:
        """Judges by the last call, else by the server's version; `deep` also counts models. Costs nothing."""
        if not deep and self._succeeded is not None and time.monotonic() - self._succeeded < _FRESH:
            return Health("ok", detail="the last call went well")
        begun = time.monotonic()
        data: dict[str, Any] = {}
        try:
            if deep:
                data["models"] = len(rows_of((await self._connection.send("GET", "/api/tags")).body))
            version = decoded((await self._connection.send("GET", "/api/version")).body, "the version").get(
                "version"
            )
        except GleitzeitError as error:
            return Health("error", detail=str(error))
        data["version"] = version
        if isinstance(self._failed, AccessError):
            return Health("error", detail=f"the server answers, but calls are refused: {self._failed.code}")
        return Health("ok", detail=f"Ollama {version}", latency=time.monotonic() - begun, data=data)

    async def call(self, request: Request) -> Reply | Stream:
        """Answer a chat, a completion, an embedding, or a method such as `pull`."""
        try:
            answer = await self._answer(request)
        except GleitzeitError as error:
            error.provider = error.provider or self.context.name
            if not isinstance(error, RequestError):  # those say nothing of the server's health
                self._failed, self._succeeded = error, None
            raise
        self._failed, self._succeeded = None, time.monotonic()
        return answer

    async def _answer(self, request: Request) -> Reply | Stream:
        operation, settings, model = request.operation, self._settings, request.name
        if isinstance(operation, Chat):
            names = WireNames()
            body = chat_body(operation, model, request.stream, settings, names)
            return await self._adapted(request, "/api/chat", body, names)
        if isinstance(operation, Completion):
            body = completion_body(operation, model, request.stream, settings)
            return await self._adapted(request, "/api/generate", body, WireNames())
        if isinstance(operation, Embedding):
            return await self._embed(request, operation)
        if isinstance(operation, Invoke):
            return await self._methods.call(operation, request.stream)
        raise UnsupportedError(
            f"{self.context.name}: {operation.kind} is not what this API offers",
            hint="ask for chat, completion, embedding or invoke",
            provider=self.context.name,
            sent=False,
        )

    async def _adapted(
        self, request: Request, path: str, body: dict[str, Any], names: WireNames
    ) -> Reply | Stream:
        """The answer; with `adapt`, without `think` for a model that has refused it."""
        key = full_name(request.name)
        if key in self._thoughtless:
            body.pop("think", None)
        try:
            return await self._generate(request, path, body, names)
        except UnsupportedError as error:
            if not self._settings.adapt or "think" not in body or "think" not in error.message:
                raise
        self._thoughtless.add(key)
        del body["think"]
        return await self._generate(request, path, body, names)

    async def _generate(
        self, request: Request, path: str, body: dict[str, Any], names: WireNames
    ) -> Reply | Stream:
        settings, size = self._settings, context_of(body)
        owner = state_owner(settings, request.name) if settings.return_thinking else None
        reader = AnswerReader(names, owner)
        content = encode(body)
        if not request.stream:
            answer = await self._fetch(request, path, content)
            reader.limits = answer.limits
            events: deque[Event] = deque()
            read_whole(answer.body, reader, self._connection.exchange.error, events)
            self._measure(request.name, size, reader.usage)
            return fold(events).evolve(raw=answer.body)

        async def ask() -> ResponseEvents:
            await self._keep_private(request)
            response = await self._connection.open(path, content)
            reader.limits = rate_limits(response.headers)
            return ResponseEvents(
                self._connection.exchange, response, LineParser(reader, self._connection.exchange.error)
            )

        try:
            stream = Stream(await ask())
        except UnknownModelError as error:
            if not self._pulls_for(request, error):
                raise
            stream = Stream(AfterPull(self._pulls.follow(request.name), ask))
        return stream.tap(on_end=lambda end: self._measure(request.name, size, reader.usage))

    async def _fetch(self, request: Request, path: str, content: bytes) -> Answer:
        """The whole answer, after a download where that is wanted."""
        try:
            await self._keep_private(request)
            return await self._connection.send("POST", path, content)
        except UnknownModelError as error:
            if not self._pulls_for(request, error):
                raise
        follower = self._pulls.follow(request.name)
        try:
            await follower.wait()
        finally:
            await follower.aclose()
        await self._keep_private(request)
        return await self._connection.send("POST", path, content)

    async def _embed(self, request: Request, embedding: Embedding) -> Reply:
        vectors: list[Vector] = []
        usage: Usage | None = None
        model: str | None = None
        limits: RateLimits | None = None  # of the last batch, as they are the newest
        for start in range(0, len(embedding.inputs), self._settings.embedding_batch):
            inputs = embedding.inputs[start : start + self._settings.embedding_batch]
            body = embedding_body(embedding, inputs, request.name, self._settings)
            answer = await self._fetch(request, "/api/embed", encode(body))
            batch = read_vectors(answer.body, len(inputs), self._connection.exchange.error)
            vectors += batch.vectors
            limits, model = answer.limits, batch.model or model
            usage = batch.usage if usage is None else usage if batch.usage is None else usage + batch.usage
        return Reply(vectors=tuple(vectors), usage=usage, model=model, limits=limits)

    def _pulls_for(self, request: Request, error: UnknownModelError) -> bool:
        """May the model that is not there be downloaded?"""
        pull = self._settings.pull
        if error.status != 404:
            return False  # the name itself was refused
        if pull == "always" or (pull == "ask" and request.metadata.get("pull") is True):
            return True
        error.hint = (
            'the request may agree with metadata={"pull": True}'
            if pull == "ask"
            else f"run `ollama pull {request.name}`, or set `pull` in [providers.{self.context.name}]"
        )
        return False

    async def _keep_private(self, request: Request) -> None:
        """Refuse to hand what is private to a model that the server only passes on to a cloud."""
        if request.data_class != "private":
            return
        shown = decoded(
            (await self._connection.send("POST", "/api/show", {"model": request.name})).body, "the model"
        )
        if is_remote(shown):
            raise SecurityDeniedError(
                f"{self.context.name}: {request.name!r} runs elsewhere, and the request is private",
                hint="take a model that runs on this machine",
                provider=self.context.name,
                sent=False,
            )

    async def _details(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What `/api/show` says of a listed model; None where it says nothing. Kept by digest."""
        digest = str(row.get("digest"))
        found = self._shown.get(digest)
        if found is None:
            try:
                answer = await self._connection.send("POST", "/api/show", {"model": row["name"]})
                found = decoded(answer.body, "the model")
            except GleitzeitError:
                return None  # the list is worth having without
            if row.get("digest"):
                self._shown[digest] = found
        return found

    def _measure(self, model: str, size: int | None, usage: Usage | None) -> None:
        """Say once for each model that its context was full: the server cuts without a word."""
        key = full_name(model)
        if size is None or usage is None or (usage.input or 0) < size or key in self._full:
            return
        self._full.add(key)
        self.context.logger.warning(
            "model %s: the prompt fills the context of %d tokens, and what was over is cut; raise num_ctx",
            model,
            size,
        )
