"""The provider: operations to requests, answers to replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

import httpx2

from gleitzeit.errors import GleitzeitError, SecurityDeniedError, UnknownModelError, UnsupportedError
from gleitzeit.values import (
    Chat,
    Completion,
    Embedding,
    Health,
    Invoke,
    Model,
    Reply,
    Request,
    Stream,
    Usage,
)
from gleitzeit.wire.exchange import Answer, shut
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.provider import HttpProvider, read_reply
from gleitzeit.wire.source import ResponseEvents
from gleitzeit.wire.vectors import collected
from gleitzeit_plugin_ollama.bodies import (
    chat_body,
    completion_body,
    context_of,
    embedding_bodies,
    state_owner,
)
from gleitzeit_plugin_ollama.config import OllamaConfig
from gleitzeit_plugin_ollama.downloads import AfterPull, read_pull, refused
from gleitzeit_plugin_ollama.listing import described, full_name, is_remote, record, rows_of
from gleitzeit_plugin_ollama.methods import Methods
from gleitzeit_plugin_ollama.pulls import Pulls, Tell
from gleitzeit_plugin_ollama.reader import AnswerReader
from gleitzeit_plugin_ollama.stream import LineParser
from gleitzeit_plugin_ollama.vectors import read_vectors

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["Ollama"]

#: Models that are asked for their details at the same time.
_SHOWN: Final = 4


class Ollama(HttpProvider):
    """Chat, completions and embeddings of a server of Ollama's, and its models.

    What is private goes to no model that the server only passes on to a cloud.
    """

    Config: ClassVar[Any] = OllamaConfig
    config: OllamaConfig
    complete: ClassVar[bool] = False
    offers: ClassVar[str] = "chat, completion, embedding or invoke"
    accepts: ClassVar[str] = "application/json, application/x-ndjson"
    manifest: ClassVar[Mapping[str, Any]] = {
        "capabilities": (
            "chat",
            "completion",
            "embedding",
            "pull",
            "streaming",
            "thinking",
            "tools",
            "vision",
        ),
    }

    def __init__(self, config: OllamaConfig, context: Context) -> None:
        super().__init__(config, context)
        self._pulls = Pulls(self._pull)
        self._methods = Methods(self._send, self._pulls)
        #: What `/api/show` said, by digest.
        self._shown: dict[str, Mapping[str, Any]] = {}
        #: Models that have refused `think`.
        self._thoughtless: set[str] = set()
        #: Models whose context has been seen full.
        self._full: set[str] = set()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Ends downloads, and closes the instance's own client, if one was needed."""
        async with super().lifespan():
            try:
                yield
            finally:
                await self._pulls.aclose()

    async def provide_models(self) -> list[Model]:
        """The models that the server has, with what it says of each."""
        rows = rows_of((await self._send("GET", "/api/tags")).body)
        gate = asyncio.Semaphore(_SHOWN)

        async def describe(row: Mapping[str, Any]) -> Model:
            if not self.config.show:
                return described(row, None)
            async with gate:
                return described(row, await self._details(row))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(describe(row)) for row in rows]
        kept = {str(row.get("digest")) for row in rows}
        self._shown = {digest: shown for digest, shown in self._shown.items() if digest in kept}
        return list({(model := task.result()).name: model for task in tasks}.values())

    async def probe(self, deep: bool) -> Health:
        """Asks for the server's version; `deep` also counts models."""
        data: dict[str, Any] = {}
        try:
            if deep:
                data["models"] = len(rows_of((await self._send("GET", "/api/tags")).body))
            version = record((await self._send("GET", "/api/version")).body, "the version").get("version")
        except GleitzeitError as error:
            return Health("error", detail=str(error))
        return Health("ok", detail=f"Ollama {version}", data={**data, "version": version})

    async def chat(self, request: Request, chat: Chat) -> Reply | Stream:
        """Answer a chat."""
        names = WireNames()
        body = chat_body(chat, request.name, request.stream, self.config, names)
        return await self._adapted(request, "/api/chat", body, names)

    async def completion(self, request: Request, completion: Completion) -> Reply | Stream:
        """Continue a text."""
        body = completion_body(completion, request.name, request.stream, self.config)
        return await self._adapted(request, "/api/generate", body, WireNames())

    async def embedding(self, request: Request, embedding: Embedding) -> Reply:
        """Give vectors."""
        return await collected(
            embedding_bodies(embedding, request.name, self.config),
            lambda body: self._fetch(request, "/api/embed", body),
            lambda body, count: read_vectors(body, count, self.exchange.error),
        )

    async def invoke(self, request: Request, invoke: Invoke) -> Reply | Stream:
        """Run a method such as `pull`."""
        return await self._methods.call(invoke, request.stream)

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
            if not self.config.adapt or "think" not in body or "think" not in error.message:
                raise
        self._thoughtless.add(key)
        del body["think"]
        return await self._generate(request, path, body, names)

    async def _generate(
        self, request: Request, path: str, body: dict[str, Any], names: WireNames
    ) -> Reply | Stream:
        config, size = self.config, context_of(body)
        owner = state_owner(config, request.name) if config.return_thinking else None
        reader = AnswerReader(names, owner)
        dialect = LineParser(reader, self.exchange.error)
        if not request.stream:
            reply = read_reply(await self._fetch(request, path, body), dialect)
            self._measure(request.name, size, reader.usage)
            return reply

        async def ask() -> ResponseEvents:
            await self._keep_private(request)
            return await self.events(self.url(path), body, dialect)

        try:
            stream = Stream(await ask())
        except UnknownModelError as error:
            if not self._pulls_for(request, error):
                raise
            stream = Stream(AfterPull(self._pulls.follow(request.name), ask))
        return stream.tap(on_end=lambda end: self._measure(request.name, size, reader.usage))

    async def _fetch(self, request: Request, path: str, body: object) -> Answer:
        """The whole answer, after a download where that is wanted."""
        try:
            await self._keep_private(request)
            return await self._send("POST", path, body)
        except UnknownModelError as error:
            if not self._pulls_for(request, error):
                raise
        follower = self._pulls.follow(request.name)
        try:
            await follower.wait()
        finally:
            await follower.aclose()
        await self._keep_private(request)
        return await self._send("POST", path, body)

    async def _send(self, method: str, path: str, body: object = None) -> Answer:
        return await self.fetch(method, self.url(path), body)

    async def _pull(self, model: str, tell: Tell) -> None:
        """Download a model, and close the connection whatever comes."""
        self.context.logger.info("pulling model %s", model)
        try:
            response = await self.open("POST", self.url("/api/pull"), {"model": model, "stream": True})
        except GleitzeitError as error:
            raise refused(model, error) from None
        chunks = self.exchange.chunks(response)
        try:
            await read_pull(model, chunks, self.exchange.error, tell)
        except (httpx2.HTTPError, OSError) as error:
            raise self.exchange.broken(error, response.request.url) from None
        finally:
            await shut(response, chunks)
        self.context.logger.info("model %s is there", model)
        self.context.changed()

    def _pulls_for(self, request: Request, error: UnknownModelError) -> bool:
        """May the model that is not there be downloaded?"""
        pull = self.config.pull
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
        shown = record((await self._send("POST", "/api/show", {"model": request.name})).body, "the model")
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
                answer = await self._send("POST", "/api/show", {"model": row["name"]})
                found = record(answer.body, "the model")
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
