"""What the contract suite has to know of a provider, and the bench that it is tested on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from attrs import field, frozen

from gleitzeit.errors import GleitzeitError
from gleitzeit.kinds import Context
from gleitzeit.testing.context import FakeContext
from gleitzeit.values import Reply, Request, Stream, Target

__all__ = ["Bench", "CaseError", "ContractBroken", "ProviderCase", "built", "drain", "on_bench"]


class ContractBroken(AssertionError):
    """A provider breaks a rule of the contract; the text names rule, fault and next step."""


class CaseError(Exception):
    """The case itself does not hold: a request does not do what its field says."""


@frozen(kw_only=True)
class ProviderCase:
    """A provider under test: how to build it, and requests whose outcome is known.

    Requests are addressed to the provider's own model names: `Chat("ping").to("acme-large")`. What
    is left at None is not tested, and the tests that need it are skipped with that reason.
    """

    #: The class, as in the entry point.
    plugin: Callable[[Any, Context], Any] = field(kw_only=False)
    #: A chat that is answered with text, and that text where it is known.
    request: Request
    text: str | None = None
    #: The configuration: a mapping goes through the plugin's `Config`.
    config: Any = field(factory=dict, repr=False)
    #: Further requests with their texts, asked at the same time as `request`.
    others: tuple[tuple[Request, str], ...] = field(default=())
    #: Does the same request give the same answer twice? False where a real model is asked.
    stable: bool = True
    #: Does the provider stream?
    streams: bool = True
    #: A request that the upstream never begins to answer.
    silent: Request | None = None
    #: A request that the upstream answers with some content, and then goes silent.
    halting: Request | None = None
    #: A request whose streamed answer the upstream cuts cleanly before the terminal mark.
    truncated: Request | None = None
    #: A request that the upstream refuses, and the error expected for it.
    failing: Request | None = None
    failure: type[GleitzeitError] = GleitzeitError
    #: Seconds that the upstream names in its refusal of `failing`, after which it may be asked again.
    retry_after: float | None = None
    #: A request whose streamed answer the upstream breaks off after some content with an error of its
    #: own, inside of a stream that began well; and the error expected for it.
    breaking: Request | None = None
    broken: type[GleitzeitError] = GleitzeitError
    #: A request that is answered as `request` is, in bytes of another look: CR LF, small pieces, comments.
    ragged: Request | None = None
    #: A request that is answered as `request` is, with fields that nobody knows, and a text in them:
    #: a reply that keeps the raw answer must hold it.
    strange: Request | None = None
    strange_text: str = ""
    #: The name of a model that the upstream does not have.
    unknown: str = "no-such-model"
    #: How many requests the upstream has got so far.
    sent: Callable[[Any], int] | None = None
    #: How many requests the upstream has seen left by their caller before the end.
    left: Callable[[Any], int] | None = None
    #: How many connections the upstream has seen opened so far.
    connections: Callable[[Any], int] | None = None
    #: Rules that cannot be checked with this provider, by name, each with the reason.
    without: Mapping[str, str] = field(factory=dict)
    #: A secret that stands in `config` and must never be seen elsewhere.
    secret: str | None = field(default=None, repr=False)
    #: Builds what the host would give to the instance.
    context: Callable[[], Context] | None = None
    #: Seconds within which the provider must react, to cancellation above all.
    patience: float = 2.0
    #: May the tests reach beyond this machine?
    online: bool = False


class Bench:
    """A provider, built and started, with what tests do to it."""

    def __init__(self, case: ProviderCase, provider: Any, context: Context) -> None:
        self.case = case
        self.provider = provider
        self.context = context

    def aim(self, request: Request, model: str | None = None) -> Request:
        """The request as the corridor hands it over: with a target instead of a name."""
        local = bool(getattr(self.provider, "local", False))
        return request.evolve(target=Target(self.context.name, name=model or request.name, local=local))

    async def reply(self, request: Request, model: str | None = None) -> Reply:
        """The whole answer."""
        answer = await self.provider.call(self.aim(request.evolve(stream=False), model))
        return await answer.collect() if isinstance(answer, Stream) else _checked(answer)

    async def open(self, request: Request, model: str | None = None) -> Stream:
        """The answer as a stream."""
        answer = await self.provider.call(self.aim(request.evolve(stream=True), model))
        if isinstance(answer, Stream):
            return answer
        if self.case.streams:
            raise ContractBroken(
                f"a request with `stream` set was answered with a {type(answer).__name__}; "
                "return a Stream, or set `streams=False` in the case"
            )
        return Stream.of(_checked(answer))

    def counted(self, counter: Callable[[Any], int] | None) -> int:
        """What a counter of the case says now."""
        return 0 if counter is None else counter(self.provider)

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Wait until `condition` holds; False where it still does not after the case's patience."""
        end = time.monotonic() + self.case.patience
        while not condition():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.001)
        return True


def _checked(answer: object) -> Reply:
    if isinstance(answer, Reply):
        return answer
    raise ContractBroken(f"`call` answered with {type(answer).__name__}; return a Reply or a Stream")


@asynccontextmanager
async def on_bench(case: ProviderCase) -> AsyncIterator[Bench]:
    """The provider of `case`, within its lifespan."""
    async with built(case) as (provider, context):
        yield Bench(case, provider, context)


@asynccontextmanager
async def built(case: Any) -> AsyncIterator[tuple[Any, Context]]:
    """The plugin of a case with the context that it got, within its lifespan."""
    async with AsyncExitStack() as stack:
        context = FakeContext("under-test") if case.context is None else case.context()
        if isinstance(context, AbstractAsyncContextManager):
            await stack.enter_async_context(context)
        config = case.config
        schema = getattr(case.plugin, "Config", None)
        if schema is not None and isinstance(config, Mapping):
            config = schema.model_validate(config) if hasattr(schema, "model_validate") else schema(**config)
        plugin = case.plugin(config, context)
        if hasattr(plugin, "lifespan"):
            await stack.enter_async_context(plugin.lifespan())
        yield plugin, context


async def drain(offers: Any) -> tuple[Any, ...]:
    """What an offering hook gave, whichever way it gave it."""
    if isinstance(offers, Awaitable):
        offers = await offers
    if isinstance(offers, Iterable):
        return tuple(offers)
    return tuple([item async for item in offers])
