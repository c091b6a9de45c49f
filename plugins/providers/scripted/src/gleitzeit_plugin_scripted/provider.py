"""The provider whose models answer from a script."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from gleitzeit.errors import InvalidRequestError, TruncatedStreamError, UnknownModelError, UnsupportedError
from gleitzeit.kinds import Context
from gleitzeit.plugin import Provider
from gleitzeit.values import Classification, Embedding, Health, Model, Reply, Request, Stream, Usage
from gleitzeit_plugin_scripted.config import ModelScript, Rule, ScriptedConfig
from gleitzeit_plugin_scripted.measure import labels_of, vector_of
from gleitzeit_plugin_scripted.play import compose, count_words, failure, forever, perform
from gleitzeit_plugin_scripted.rules import Asked, Rules, asked
from gleitzeit_plugin_scripted.script import builtin, read
from gleitzeit_plugin_scripted.seen import Seen

__all__ = ["Scripted"]

_HONEST = "scripted, not a language model"


def describe(name: str, script: ModelScript) -> Model:
    """A scripted model as the catalogue shows it; its description always says what it is."""
    capabilities = {*script.capabilities}
    capabilities |= {"tools"} if any(rule.calls for rule in script.rules) else set()
    thinks = any(
        rule.thinking or any(not isinstance(p, str) and p.thinking for p in rule.pieces)
        for rule in script.rules
    )
    return Model(
        name,
        operations=script.operations,
        capabilities=capabilities | ({"thinking"} if thinks else set()),
        description=f"{script.description} ({_HONEST})" if script.description else _HONEST,
        context_tokens=script.context_tokens,
        metadata={"scripted": True},
    )


class Scripted(Provider):
    """Models that answer from a script, and say so.

    Sampling settings are noted in `seen.requests` and not followed. Nothing leaves the process.
    """

    Config: ClassVar = ScriptedConfig
    #: For the manifest: the models of an instance without a script of its own.
    manifest: ClassVar[Mapping[str, Any]] = {
        "models": [describe(name, model) for name, model in builtin().items()],
        "models_unless": ["script", "answers"],
    }

    def __init__(self, config: ScriptedConfig, context: Context) -> None:
        super().__init__(config, context)
        self._where, self._models = read(config)
        self._rules = {name: Rules(model) for name, model in self._models.items()}
        #: What happened so far, for tests.
        self.seen = Seen(config.remember)

    @property
    def local(self) -> bool:
        """True: nothing leaves the process."""
        return True

    def provide_models(self) -> Iterator[Model]:
        """The models of the script."""
        for name, script in self._models.items():
            yield describe(name, script)

    async def health(self, deep: bool = False) -> Health:
        """Always well; says where the script is from."""
        return Health("ok", detail=f"{len(self._models)} models from {self._where}; {_HONEST}")

    async def call(self, request: Request) -> Reply | Stream:
        """Answer by the first rule that fits; raises what the script says.

        `InvalidRequestError` where no rule fits. A streamed and a whole answer take equally long.
        """
        script, question = self._find(request)
        self.seen.begin(request)
        try:
            answer = await self._answer(script, request, question)
        except BaseException as error:
            self.seen.end("cancelled" if isinstance(error, asyncio.CancelledError) else "failed")
            raise
        if isinstance(answer, Reply):
            self.seen.end("finished")
            return answer
        answer.tap(on_end=lambda end: self.seen.end(end.outcome))
        return answer if request.stream else await answer.collect()

    async def _answer(self, script: ModelScript, request: Request, question: Asked) -> Reply | Stream:
        chosen = self._rules[request.name].choose(question)
        for choice in chosen:
            if choice is not None:
                await self._fail_at_once(choice[0])
        if isinstance(request.operation, (Embedding, Classification)):
            return await self._measure(script, request, question, chosen)
        if chosen[0] is None:
            raise self._no_rule(request)
        rule, groups = chosen[0]
        words = {
            "model": request.name,
            "call": str(self.seen.calls),
            "system": question.system,
            "prompt": question.prompts[0],
            "result": "\n".join(text for _, text in question.results),
            **groups,
        }
        return Stream(perform(compose(rule, request, words, rule.usage or script.usage, self.context.name)))

    def _find(self, request: Request) -> tuple[ModelScript, Asked]:
        script = self._models.get(request.name)
        if script is None:
            raise UnknownModelError(
                f"the instance {self.context.name} has no model {request.name!r}",
                near=tuple(difflib.get_close_matches(request.name, self._models)),
                provider=self.context.name,
                sent=False,
            )
        question = asked(request.operation)
        if question is None or question.operation not in script.operations:
            raise UnsupportedError(
                f"the model {request.name!r} of {self.context.name} does not do {request.operation.kind}",
                hint=f"it does {', '.join(script.operations) or 'nothing'}",
                provider=self.context.name,
                sent=False,
            )
        return script, question

    async def _fail_at_once(self, rule: Rule) -> None:
        """Commit the errors and faults that come before any answer."""
        if rule.error is not None and rule.error.after is None:
            await asyncio.sleep(rule.delay_ms / 1000)
            raise failure(rule.error, self.context.name)
        if rule.fault is not None and rule.fault.kind == "hang":
            await forever()
        if rule.fault is not None and rule.fault.kind == "raise" and rule.fault.after is None:
            raise RuntimeError("a scripted bare exception")

    async def _measure(
        self,
        script: ModelScript,
        request: Request,
        question: Asked,
        chosen: list[tuple[Rule, Mapping[str, str]] | None],
    ) -> Reply:
        """Vectors or labels, one an input; a fault that belongs to streams breaks the whole answer."""
        rules = [choice[0] if choice is not None else None for choice in chosen]
        await asyncio.sleep(max((rule.delay_ms for rule in rules if rule is not None), default=0) / 1000)
        for rule in rules:
            if rule is not None and rule.error is not None:
                raise failure(rule.error, self.context.name)
            if rule is not None and rule.fault is not None:
                if rule.fault.kind == "stall":
                    await forever()
                if rule.fault.kind == "raise":
                    raise RuntimeError("a scripted bare exception")
                raise TruncatedStreamError(
                    "the script cuts the answer short", provider=self.context.name, sent=True
                )
        usage = Usage(input=sum(map(count_words, question.prompts))) if script.usage == "words" else None
        operation = request.operation
        if isinstance(operation, Embedding):
            dimensions = operation.dimensions or script.dimensions
            vectors = (
                rule.vector if rule is not None else vector_of(text, dimensions)
                for rule, text in zip(rules, question.prompts, strict=True)
            )
            return Reply(vectors=tuple(vectors), model=request.name, usage=usage, finish_reason="stop")
        allowed = operation.labels if isinstance(operation, Classification) else ()
        labels = []
        for rule in rules:
            if rule is None:
                raise self._no_rule(request)
            labels.append(labels_of(rule, allowed, self.context.name))
        return Reply(labels=tuple(labels), model=request.name, usage=usage, finish_reason="stop")

    def _no_rule(self, request: Request) -> InvalidRequestError:
        return InvalidRequestError(
            f"no rule of scripted model {request.name!r} in {self._where} fits this {request.operation.kind}",
            hint="ask as the script expects, or end its rules with one without conditions",
            provider=self.context.name,
            sent=False,
        )
