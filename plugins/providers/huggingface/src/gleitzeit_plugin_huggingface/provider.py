"""The provider of models on this machine: operations to jobs of the worker, its frames to replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gleitzeit.errors import GleitzeitError, InvalidRequestError, RequestError, UnsupportedError
from gleitzeit.plugin import Provider
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    Event,
    Health,
    Invoke,
    Model,
    Reply,
    Request,
    Stream,
)
from gleitzeit.values.fold import fold
from gleitzeit.wire.names import WireNames
from gleitzeit_plugin_huggingface.config import HuggingFaceConfig
from gleitzeit_plugin_huggingface.jobs import (
    chat_job,
    classification_job,
    completion_job,
    embedding_job,
    state_owner,
)
from gleitzeit_plugin_huggingface.launch import ENGINE, launch_of, missing
from gleitzeit_plugin_huggingface.models import Models
from gleitzeit_plugin_huggingface.process import Exchange, Worker
from gleitzeit_plugin_huggingface.reader import Answer, labelled, vectors_of

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["METHODS", "HuggingFace"]

#: Methods with the arguments that they take; `task` is what the model is loaded for.
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "load": ("model", "task"),
    "loaded": (),
    "unload": ("model", "task"),
}
_TASKS: Final[Mapping[str, str]] = {
    "chat": "text",
    "classification": "classification",
    "completion": "text",
    "embedding": "embedding",
}


class HuggingFace(Provider):
    """Models of transformers and sentence-transformers in a process of their own."""

    Config: ClassVar[Any] = HuggingFaceConfig
    complete: ClassVar[bool] = False
    manifest: ClassVar[Mapping[str, Any]] = {
        "capabilities": (
            "chat",
            "classification",
            "completion",
            "embedding",
            "streaming",
            "thinking",
            "tools",
        ),
    }
    #: What loads models in the worker, as `module:Class`; tests put another in its place.
    engine: ClassVar[str] = ENGINE

    def __init__(self, config: HuggingFaceConfig, context: Context) -> None:
        super().__init__(config, context)
        self._settings = config
        self._models = Models(context.name, config)
        #: The process with the models.
        self.worker = Worker(context.name, launch_of(config, self.engine))
        self._failed: GleitzeitError | None = None

    def __repr__(self) -> str:
        return f"<HuggingFace {self.context.name!r}>"

    @property
    def local(self) -> bool:
        """True: no byte of a call leaves this machine."""
        return True

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Loads what is to be loaded at once, beside the calls; ends the worker."""
        preloading = None
        if self._settings.preload:
            await self._running()
            preloading = asyncio.create_task(
                self._preload(), name=f"huggingface: preload {self.context.name}"
            )
        try:
            yield
        finally:
            if preloading is not None:
                preloading.cancel()
                await asyncio.wait({preloading})
            await self.worker.aclose()

    async def provide_models(self) -> list[Model]:
        """The models on this machine that can be asked; others are downloaded where that is allowed."""
        return await asyncio.to_thread(self._models.listing)

    async def health(self, deep: bool = False) -> Health:
        """Tells of the worker; starts nothing and loads nothing. `deep` also tells what is loaded."""
        absent = missing(self._settings)
        if absent is not None and self.engine == ENGINE:
            return Health("error", detail=str(absent))
        if self._failed is not None:
            return Health("error", detail=str(self._failed))
        pid = self.worker.pid
        if pid is None:
            return Health("ok", detail="the worker starts at the first call")
        data: dict[str, Any] = {"pid": pid, "starts": self.worker.starts}
        if deep:
            try:
                data |= await self._told({"do": "loaded"})
            except GleitzeitError as error:
                return Health("error", detail=str(error))
        return Health("ok", detail=f"worker {pid} runs", data=data)

    async def call(self, request: Request) -> Reply | Stream:
        """Answer a chat, a completion, an embedding, a classification, or one of `METHODS`."""
        try:
            answer = await self._answer(request)
        except GleitzeitError as error:
            error.provider = error.provider or self.context.name
            if not isinstance(error, RequestError):  # those say nothing of the worker's health
                self._failed = error
            raise
        self._failed = None
        return answer

    async def _answer(self, request: Request) -> Reply | Stream:
        operation, model = request.operation, request.name
        if isinstance(operation, Chat):
            names = WireNames()
            job = chat_job(operation, model, self._settings, names)
            return await self._generate(request, job, names)
        if isinstance(operation, Completion):
            return await self._generate(request, completion_job(operation, self._settings), WireNames())
        if isinstance(operation, Embedding):
            frame = await self._asked("embed", "embedding", model, embedding_job(operation, self._settings))
            return vectors_of(frame, len(operation.inputs), model)
        if isinstance(operation, Classification):
            job = classification_job(operation)
            return labelled(await self._asked("classify", "classification", model, job), model)
        if isinstance(operation, Invoke):
            return await self._method(operation)
        raise UnsupportedError(
            f"{self.context.name}: {operation.kind} is not what models here do",
            hint="ask for chat, completion, embedding, classification or invoke",
            provider=self.context.name,
            sent=False,
        )

    async def _generate(self, request: Request, job: dict[str, Any], names: WireNames) -> Reply | Stream:
        chat, model = "messages" in job, request.name
        exchange = await self._open("generate", "text", model, job)
        try:
            began = await exchange.next()
        except BaseException:
            exchange.leave()
            raise
        answer = Answer(
            exchange,
            model,
            began,
            chat=chat,
            tools=bool(job.get("tools")),
            names=names,
            owner=state_owner(model) if self._settings.return_thinking else None,
        )
        if request.stream:
            return Stream(answer)
        events: list[Event] = []
        try:
            async for event in answer:
                events.append(event)  # noqa: PERF401 - what came is kept whatever happens
        finally:
            await answer.aclose()
        return fold(events)

    async def _asked(self, do: str, task: str, model: str, job: Mapping[str, Any]) -> dict[str, Any]:
        return await (await self._open(do, task, model, job)).done()

    async def _open(self, do: str, task: str, model: str, job: Mapping[str, Any]) -> Exchange:
        source = self._models.source(model)
        await self._running()
        return await self.worker.ask({"do": do, "task": task, "model": model, "source": source, **job})

    async def _told(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to what concerns the worker itself, without what frames carry."""
        frame = await (await self.worker.ask(job)).done()
        return {name: value for name, value in frame.items() if name not in ("id", "is")}

    async def _running(self) -> None:
        if self.engine == ENGINE and self.worker.pid is None:
            absent = missing(self._settings)
            if absent is not None:
                raise absent
        await self.worker.start()

    async def _method(self, operation: Invoke) -> Reply:
        method, given = operation.method, _arguments(operation)
        if method == "loaded":
            if self.worker.pid is None:  # nothing is loaded, and nothing is started to say so
                empty = {
                    "models": [],
                    "bytes": 0,
                    "budget": self._settings.budget,
                    "resident": 0,
                    "pid": None,
                }
                return Reply(data=empty, finish_reason="stop")
            return Reply(data=await self._told({"do": "loaded"}), finish_reason="stop")
        model = given["model"]
        source = self._models.source(model)
        task = given.get("task") or self._task(model, source)
        job = {"do": method, "task": _TASKS.get(task, task), "model": model, "source": source}
        if method == "unload" and self.worker.pid is None:
            return Reply(data={"unloaded": False}, finish_reason="stop")
        await self._running()
        return Reply(data=await self._told(job), finish_reason="stop")

    def _task(self, model: str, source: Mapping[str, Any]) -> str:
        """What a model is for, by its files; text where they do not tell."""
        from pathlib import Path

        from gleitzeit_plugin_huggingface.models import describe

        path = source.get("path")
        operations = describe(model, Path(path)).operations if path is not None else frozenset()
        return next((_TASKS[kind] for kind in sorted(operations)), "text")

    async def _preload(self) -> None:
        for model in self._settings.preload:
            try:
                await self._method(Invoke("load", arguments={"model": model}))
            except GleitzeitError as error:
                self._failed = error
                self.context.logger.warning("%s: %s is not loaded: %s", self.context.name, model, error)


def _arguments(operation: Invoke) -> dict[str, Any]:
    """The arguments by name; refuses what the method does not take."""
    method = operation.method
    if method not in METHODS:
        raise UnsupportedError(
            f"there is no method {method!r} here", hint=f"take one of {', '.join(METHODS)}", sent=False
        )
    takes = METHODS[method]
    given = {**dict(zip(takes, operation.args, strict=False)), **operation.arguments}
    unknown = sorted(map(str, set(given) - set(takes)))
    if unknown or len(operation.args) > len(takes):
        raise InvalidRequestError(f"{method} takes {', '.join(takes) or 'no arguments'}", sent=False)
    if "model" in takes and (not isinstance(given.get("model"), str) or not given["model"]):
        raise InvalidRequestError(f"{method} needs the name of a `model`", sent=False)
    task = given.get("task")
    if task is not None and task not in {*_TASKS, *_TASKS.values()}:
        raise InvalidRequestError(
            f"there is no task {task!r}", hint=f"take one of {', '.join(sorted(_TASKS))}", sent=False
        )
    return given
