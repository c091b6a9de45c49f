"""The contract suite passes a good provider, and finds and names every fault planted in one."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, SecretStr

from gleitzeit.errors import OverloadedError, UnknownModelError, UnsupportedError
from gleitzeit.kinds import Context
from gleitzeit.plugin import Provider
from gleitzeit.testing import ContractBroken, ProviderCase, ProviderContract, verify
from gleitzeit.testing.suite import RULES, check
from gleitzeit.values import (
    Chat,
    Event,
    Finished,
    Health,
    Model,
    Reply,
    Request,
    Started,
    Stream,
    TextDelta,
    Usage,
    UsageUpdate,
)

SECRET = "canary-7f3a+/="
#: Rules that the toy has nothing for.
ELSEWHERE = {
    "retry_after_is_told",
    "error_in_a_stream_is_raised",
    "connections_are_given_back",
    "ragged_answer_is_the_same",
    "unknown_fields_survive",
}
END = None


class Upstream:
    """A model server in miniature: words, then END; it counts what it gets and who leaves early."""

    def __init__(self) -> None:
        self.sent = self.left = 0

    async def answer(self, prompt: str) -> AsyncIterator[str | None]:
        self.sent += 1
        if prompt == "refused":
            raise ConnectionError("busy")
        whole = False
        try:
            if prompt == "silent":
                await asyncio.Event().wait()
            for word in ("you ", "said ", prompt):
                await asyncio.sleep(0)
                yield word
                if prompt == "halting":
                    await asyncio.Event().wait()
            whole = True
            if prompt != "cut":
                yield END
        finally:
            self.left += not whole


class ToyConfig(BaseModel):
    key: SecretStr


class Good(Provider):
    """Keeps the contract; each planted fault is a subclass."""

    Config: ClassVar = ToyConfig

    def __init__(self, upstream: Upstream, config: ToyConfig, context: Context) -> None:
        super().__init__(config, context)
        self.upstream = upstream

    def provide_models(self) -> Any:
        return [Model("toy", operations={Chat}, context_tokens=100)]

    async def health(self, deep: bool = False) -> Health:
        return Health("ok")

    async def call(self, request: Request) -> Reply | Stream:
        name = self.context.name
        if not isinstance(request.operation, Chat):
            raise UnsupportedError("the toy only chats", provider=name, sent=False)
        if request.name != "toy":
            raise UnknownModelError("there is only one toy", provider=name)
        stream = Stream(self.events(request.operation.messages[-1].text))
        return stream if request.stream else await stream.collect()

    async def events(self, prompt: str) -> AsyncIterator[Event]:
        yield Started(model="toy")
        async with contextlib.aclosing(self.upstream.answer(prompt)) as words:  # type: ignore[type-var]
            try:
                async for word in words:
                    if word is END:
                        yield Finished(usage=Usage(input=1, output=3))
                    else:
                        yield TextDelta(word)
            except ConnectionError:
                raise OverloadedError("the upstream is busy", provider=self.context.name) from None


def case_of(plugin: type[Good], **changes: Any) -> ProviderCase:
    upstream = Upstream()
    values: dict[str, Any] = {
        "config": ToyConfig(key=SecretStr(SECRET)),
        "request": Chat("hi").to("toy"),
        "text": "you said hi",
        "others": ((Chat("ho").to("toy"), "you said ho"), (Chat("hu").to("toy"), "you said hu")),
        "silent": Chat("silent").to("toy"),
        "halting": Chat("halting").to("toy"),
        "truncated": Chat("cut").to("toy"),
        "failing": Chat("refused").to("toy"),
        "failure": OverloadedError,
        "sent": lambda _: upstream.sent,
        "left": lambda _: upstream.left,
        "secret": SECRET,
        "patience": 0.2,
    }

    def build(config: ToyConfig, context: Context) -> Good:
        return plugin(upstream, config, context)

    return ProviderCase(build, **{**values, **changes})


@pytest.mark.feature("S002-23")
class TestGood(ProviderContract):
    @pytest.fixture
    def case(self) -> ProviderCase:
        return case_of(Good)


async def test_a_good_provider_passes_every_rule() -> None:
    report = await verify(case_of(Good))
    assert report.faults == ()
    assert {rule for rule, _ in report.skipped} == ELSEWHERE
    assert list(report.passed) == [rule.name for rule in RULES if rule.name not in ELSEWHERE]


def planted(**methods: Any) -> type[Good]:
    return type("Planted", (Good,), methods)


def lists(*models: Any) -> type[Good]:
    return planted(provide_models=lambda self: models)


def health(what: Callable[[], Awaitable[Any]]) -> type[Good]:
    async def health(self: Good, deep: bool = False) -> Any:
        return await what()

    return planted(health=health)


def whole(change: Callable[[Reply], Any]) -> type[Good]:
    """A fault in whole answers alone."""

    async def call(self: Good, request: Request) -> Any:
        answer = await Good.call(self, request)
        return change(answer) if isinstance(answer, Reply) else answer

    return planted(call=call)


def streamed(change: Callable[[Event], list[Event]]) -> type[Good]:
    """A fault in the events of streams alone."""

    async def changed(self: Good, prompt: str) -> AsyncIterator[Event]:
        async with contextlib.aclosing(Good.events(self, prompt)) as events:  # type: ignore[type-var]
            async for event in events:
                for new in change(event):
                    yield new

    async def call(self: Good, request: Request) -> Reply | Stream:
        answer = await Good.call(self, request)
        operation = request.operation
        if isinstance(answer, Stream) and isinstance(operation, Chat):
            return Stream(changed(self, operation.messages[-1].text))
        return answer

    return planted(call=call)


def at_end(*events: Event) -> type[Good]:
    return streamed(lambda event: list(events) if isinstance(event, Finished) else [event])


def around(wrap: Callable[[Good, AsyncIterator[Event]], AsyncIterator[Event]]) -> type[Good]:
    """A fault in how the events are handed on, streamed or whole."""
    return planted(events=lambda self, prompt: wrap(self, Good.events(self, prompt)))


def refused(change: Callable[[Good, OverloadedError], BaseException]) -> type[Good]:
    """A fault in the error for a refused request."""

    async def wrap(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        try:
            async for event in events:
                yield event
        except OverloadedError as error:
            new = change(self, error)
            raise new from new.__cause__

    return around(wrap)


def calling(call: Callable[[Good, Request], Awaitable[Any]]) -> type[Good]:
    async def wrapped(self: Good, request: Request) -> Any:
        return await call(self, request)

    return planted(call=wrapped)


class CallIsNoCoroutine(Good):
    def call(self, request: Request) -> Any:
        return super().call(request)


class CallTakesMore(Good):
    async def call(self, request: Request, retries: int = 0) -> Reply | Stream:
        return await super().call(request)


async def hang() -> None:
    await asyncio.Event().wait()


async def give_text() -> str:
    return "ok"


async def dial() -> Health:
    sys.audit("socket.getaddrinfo", "models.example", 443, 0, 0, 0)
    return Health("ok")


async def dial_in_secret() -> Health:
    with contextlib.suppress(RuntimeError):
        await dial()
    return Health("ok")


async def gather_first(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    for event in [event async for event in events]:
        yield event


async def swallow(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    try:
        async for event in events:
            yield event
    except asyncio.CancelledError:
        yield Finished()


async def refuse_to_close(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    try:
        async for event in events:
            yield event
    except GeneratorExit:
        raise RuntimeError("not yet") from None


async def take_any_end(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    async for event in events:
        if not isinstance(event, Finished):
            yield event
    yield Finished(usage=Usage(input=1, output=3))


async def miss_the_end(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    ended = False
    async for event in events:
        ended = isinstance(event, Finished)
        yield event
    if not ended:
        raise OverloadedError("where is the rest?", provider=self.context.name)


async def pump(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """Read ahead in a task of its own that nobody ends."""
    queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

    async def fill() -> None:
        try:
            async for event in events:
                queue.put_nowait(event)
        except Exception as error:
            queue.put_nowait(error)
        queue.put_nowait(None)

    TASKS.append(asyncio.create_task(fill()))
    while (event := await queue.get()) is not None:
        if isinstance(event, Exception):
            raise event
        yield event


TASKS: list[asyncio.Task[None]] = []


async def leave_a_task(self: Good, request: Request) -> Any:
    TASKS.append(asyncio.create_task(hang()))
    return await Good.call(self, request)


async def never_stream(self: Good, request: Request) -> Any:
    return await Good.call(self, request.evolve(stream=False))


async def cancel_late(self: Good, request: Request) -> Any:
    try:
        return await Good.call(self, request)
    except asyncio.CancelledError:
        await asyncio.sleep(0.4)
        raise


async def rename_cancellation(self: Good, request: Request) -> Any:
    try:
        return await Good.call(self, request)
    except asyncio.CancelledError:
        raise OverloadedError("cancelled", provider="x") from None


async def take_any_model(self: Good, request: Request) -> Any:
    known = isinstance(request.operation, Chat)
    return await Good.call(self, request.evolve(target="toy") if known else request)


async def misname_unknown_models(self: Good, request: Request) -> Any:
    try:
        return await Good.call(self, request)
    except UnknownModelError:
        raise UnsupportedError("no", provider=self.context.name) from None


async def take_any_operation(self: Good, request: Request) -> Any:
    known = isinstance(request.operation, Chat)
    return await Good.call(self, request if known else request.evolve(operation=Chat("what?")))


async def send_first(self: Good, request: Request) -> Any:
    if not isinstance(request.operation, Chat):
        await Stream(self.events("what?")).collect()
    return await Good.call(self, request)


async def say_sent(self: Good, request: Request) -> Any:
    try:
        return await Good.call(self, request)
    except UnsupportedError as error:
        error.sent = True
        raise


async def keep_the_request(self: Any, request: Request) -> Any:
    self.request = request
    await asyncio.sleep(0)
    return await Good.call(self, self.request)


async def log_the_key(self: Good, request: Request) -> Any:
    self.context.logger.debug("calling with %s", key(self))
    return await Good.call(self, request)


def key(self: Good) -> str:
    return str(self.config.key.get_secret_value())


def tell(self: Good, error: OverloadedError) -> OverloadedError:
    error.hint = f"is {key(self)} right?"
    return error


def caused(self: Good, error: OverloadedError) -> OverloadedError:
    error.__cause__ = ValueError(key(self))
    return error


def forget_provider(self: Good, error: OverloadedError) -> OverloadedError:
    error.provider = None
    return error


def iterate_once() -> type[Good]:
    models = iter([Model("toy")])
    return planted(provide_models=lambda self: models)


MORE = Usage(input=2, output=6)
END_WELL = Finished(usage=Usage(input=1, output=3))

PLANTED: list[tuple[Any, str, str]] = [
    (CallIsNoCoroutine, "hooks_fit_the_contract", "`call` is not a coroutine function"),
    (CallTakesMore, "hooks_fit_the_contract", r"write `async def call\(self, request\)`"),
    (lists(Model("toy"), Model("toy")), "models_are_listed", "lists twice: toy"),
    (lists("toy"), "models_are_listed", "gave str"),
    (lists(Model("doll")), "models_are_listed", "does not list 'toy'"),
    (lists(Model("toy", context_tokens=0)), "models_are_listed", "context_tokens = 0"),
    (iterate_once, "models_are_listed", "gave 1 models, then 0"),
    (health(give_text), "health_is_told", "gave str"),
    (health(hang), "health_is_told", "hangs for"),
    (health(dial), "health_is_told", "look up models.example"),
    (health(dial_in_secret), "health_is_told", "look up models.example"),
    (whole(lambda r: r.evolve(finish_reason=None)), "whole_answer_is_complete", "finish_reason None"),
    (
        whole(lambda r: r.evolve(finish_reason="end_turn")),
        "whole_answer_is_complete",
        "'end_turn'.*raw_finish",
    ),
    (whole(lambda r: r.evolve(parts=())), "whole_answer_is_complete", "expected 'you said hi'"),
    (whole(lambda r: {"text": r.text}), "whole_answer_is_complete", "answered with dict"),
    (
        streamed(lambda e: [TextDelta(e.text.strip()) if isinstance(e, TextDelta) else e]),
        "stream_gives_the_whole_answer",
        "the stream is 'yousaidhi'",
    ),
    (at_end(Finished("length")), "stream_gives_the_whole_answer", "finish_reason of the stream is 'length'"),
    (calling(never_stream), "stream_gives_the_whole_answer", "answered with a Reply"),
    (at_end(END_WELL, END_WELL), "stream_ends_once", "has 2 `Finished`"),
    (at_end(END_WELL, TextDelta("!")), "stream_ends_once", "after `Finished` comes TextDelta"),
    (at_end(), "stream_ends_once", "has 0 `Finished`"),
    (at_end(Finished(usage=MORE)), "usage_is_told_once", "they never add"),
    (at_end(UsageUpdate(MORE), END_WELL), "usage_is_told_once", "differs from the last `UsageUpdate`"),
    (at_end(Finished(usage=Usage(output=3, reasoning=9))), "usage_is_told_once", "9 > 3"),
    (calling(keep_the_request), "concurrent_calls_do_not_mix", "instead of 'you said h"),
    (calling(take_any_operation), "unknown_operation_is_refused_unsent", "was answered"),
    (calling(send_first), "unknown_operation_is_refused_unsent", "was sent to the upstream"),
    (calling(say_sent), "unknown_operation_is_refused_unsent", "says that something was sent"),
    (calling(take_any_model), "unknown_model_is_refused", "was answered; raise UnknownModelError"),
    (calling(misname_unknown_models), "unknown_model_is_refused", "raised UnsupportedError"),
    (refused(lambda s, e: ConnectionError("busy")), "errors_are_typed", "a bare ConnectionError"),
    (
        refused(lambda s, e: UnsupportedError("busy", provider="x")),
        "errors_are_typed",
        "raised UnsupportedError; raise OverloadedError",
    ),
    (refused(forget_provider), "errors_are_typed", "has no `provider`"),
    (around(take_any_end), "cut_stream_is_an_error", "passed for a whole answer"),
    (around(miss_the_end), "cut_stream_is_an_error", "raised OverloadedError"),
    (around(swallow), "cancelled_before_first_token", "cancellation became an answer"),
    (around(swallow), "cancelled_in_mid_stream", "cancellation became an answer"),
    (calling(cancel_late), "cancelled_whole_answer", "still ran after"),
    (calling(rename_cancellation), "cancelled_whole_answer", "cancellation became OverloadedError"),
    (around(pump), "cancelled_in_mid_stream", "had not noticed"),
    (around(pump), "closing_early_is_idempotent", "had not noticed"),
    (around(gather_first), "cancelled_in_mid_stream", "no content arrived"),
    (around(refuse_to_close), "closing_early_is_idempotent", "raised RuntimeError"),
    (calling(leave_a_task), "nothing_is_left_behind", "a task still runs: hang"),
    (calling(leave_a_task), "cancelled_whole_answer", "after a call was cancelled, a task still runs"),
    (planted(__repr__=key), "secrets_stay_secret", "the repr of the provider"),
    (calling(log_the_key), "secrets_stay_secret", "a log record"),
    (refused(tell), "secrets_stay_secret", r"an error \(OverloadedError\)"),
    (refused(caused), "secrets_stay_secret", r"an error \(ValueError\)"),
]


@pytest.fixture
def planted_tasks() -> Iterator[None]:
    yield
    for task in TASKS:
        task.cancel()
    TASKS.clear()


@pytest.mark.feature("S002-23")
@pytest.mark.usefixtures("planted_tasks")
@pytest.mark.parametrize("plugin, rule, says", PLANTED, ids=lambda value: value if type(value) is str else "")
async def test_a_planted_fault_is_found_and_named(plugin: Any, rule: str, says: str) -> None:
    if not isinstance(plugin, type):
        plugin = plugin()  # one that is used up
    chosen = next(one for one in RULES if one.name == rule)
    with pytest.raises(ContractBroken, match=f"(?s){rule}: .*{says}"):
        await check(chosen, case_of(plugin))
    await check(chosen, case_of(Good))


def test_every_rule_has_a_planted_fault() -> None:
    """Those for what is unusual on the wire have theirs in test_provider_framing.py."""
    assert {rule for _, rule, _ in PLANTED} == {rule.name for rule in RULES} - ELSEWHERE
