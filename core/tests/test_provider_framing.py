"""The rules of the contract for what is unusual on the wire find and name what is planted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from gleitzeit.errors import OverloadedError, RateLimitedError, TruncatedStreamError, UnknownModelError
from gleitzeit.plugin import Provider
from gleitzeit.testing import ContractBroken, ProviderCase, ProviderContract
from gleitzeit.testing.suite import RULES, check
from gleitzeit.values import Chat, Event, Finished, Model, Reply, Request, Started, Stream, TextDelta

WORDS = {"hi": "well said", "ragged": "well said", "strange": "well said"}
RULES_HERE = (
    "retry_after_is_told",
    "error_in_a_stream_is_raised",
    "connections_are_given_back",
    "ragged_answer_is_the_same",
    "unknown_fields_survive",
)


class Config(BaseModel):
    pass


class Good(Provider):
    """Keeps the rules; each planted fault overrides one method."""

    Config: ClassVar = Config
    opened = 1

    def provide_models(self) -> Any:
        return [Model("toy")]

    async def call(self, request: Request) -> Reply | Stream:
        assert isinstance(request.operation, Chat)
        if request.name != "toy":
            raise UnknownModelError("there is one toy", provider=self.context.name)
        prompt = request.operation.messages[-1].text
        stream = Stream(self.events(prompt))
        if request.stream:
            return stream
        return (await stream.collect()).evolve(raw=self.raw(prompt))

    async def events(self, prompt: str) -> AsyncIterator[Event]:
        yield Started(model="toy")
        if prompt == "busy":
            raise self.refusal()
        for word in self.words(prompt).split(" "):
            yield TextDelta(word if word == "well" else f" {word}")
            if prompt == "breaking":
                raise self.failure()
        yield Finished("stop")

    def words(self, prompt: str) -> str:
        return WORDS.get(prompt, "well said")

    def raw(self, prompt: str) -> bytes | None:
        return b'{"x": "unheard of"}'

    def refusal(self) -> Exception:
        return RateLimitedError("slow down", provider=self.context.name, retry_after=7)

    def failure(self) -> Exception:
        return OverloadedError("overloaded", provider=self.context.name)


def case_of(plugin: Any, **changes: Any) -> ProviderCase:
    values: dict[str, Any] = {
        "request": Chat("hi").to("toy"),
        "text": "well said",
        "failing": Chat("busy").to("toy"),
        "failure": RateLimitedError,
        "retry_after": 7,
        "breaking": Chat("breaking").to("toy"),
        "broken": OverloadedError,
        "ragged": Chat("ragged").to("toy"),
        "strange": Chat("strange").to("toy"),
        "strange_text": "unheard of",
        "connections": lambda provider: provider.opened,
    }
    return ProviderCase(plugin, **{**values, **changes})


def planted(**methods: Any) -> type[Good]:
    return type("Planted", (Good,), methods)


def speaking(prompt: str, words: str) -> type[Good]:
    return planted(words=lambda self, asked: words if asked == prompt else Good.words(self, asked))


def around(change: Callable[[Good, AsyncIterator[Event]], AsyncIterator[Event]]) -> type[Good]:
    return planted(events=lambda self, prompt: change(self, Good.events(self, prompt)))


async def end_well(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    try:
        async for event in events:
            yield event
    except OverloadedError:
        yield Finished("stop")


async def gather_first(self: Good, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    for event in [event async for event in events]:
        yield event


class Leaky(Good):
    """Opens a connection for every call."""

    async def call(self, request: Request) -> Reply | Stream:
        self.opened += 1
        return await super().call(request)


class Choosy(Good):
    """Breaks over what it does not know."""

    async def events(self, prompt: str) -> AsyncIterator[Event]:
        if prompt == "strange":
            raise TruncatedStreamError("what is this?", provider=self.context.name)
        async for event in super().events(prompt):
            yield event


PLANTED: list[tuple[Any, str, str]] = [
    (
        planted(refusal=lambda self: RateLimitedError("slow", provider="x")),
        "retry_after_is_told",
        "the error None",
    ),
    (
        planted(refusal=lambda self: RateLimitedError("slow", provider="x", retry_after=7000)),
        "retry_after_is_told",
        "the error 7000",
    ),
    (
        planted(refusal=lambda self: RateLimitedError("slow", provider="x", retry_after=7, retryable=False)),
        "retry_after_is_told",
        "not retryable",
    ),
    (around(end_well), "error_in_a_stream_is_raised", "passed for a whole answer"),
    (around(gather_first), "error_in_a_stream_is_raised", "was lost"),
    (
        planted(failure=lambda self: ConnectionError("gone")),
        "error_in_a_stream_is_raised",
        "raised ConnectionError; raise OverloadedError",
    ),
    (
        planted(failure=lambda self: OverloadedError("overloaded")),
        "error_in_a_stream_is_raised",
        "has no `provider`",
    ),
    (Leaky, "connections_are_given_back", "opened 9 more connections"),
    (speaking("ragged", "well said\r"), "ragged_answer_is_the_same", r"'well said\\r' instead"),
    (speaking("strange", "well"), "unknown_fields_survive", "'well' instead"),
    (Choosy, "unknown_fields_survive", "raised TruncatedStreamError"),
    (planted(raw=lambda self, prompt: b"{}"), "unknown_fields_survive", "not in `reply.raw`"),
]


def rule(name: str) -> Any:
    return next(one for one in RULES if one.name == name)


@pytest.mark.parametrize("name", RULES_HERE)
async def test_a_good_provider_passes(name: str) -> None:
    await check(rule(name), case_of(Good))


@pytest.mark.parametrize("plugin, name, says", PLANTED, ids=lambda value: value if type(value) is str else "")
async def test_a_planted_fault_is_found_and_named(plugin: Any, name: str, says: str) -> None:
    with pytest.raises(ContractBroken, match=f"(?s){name}: .*{says}"):
        await check(rule(name), case_of(plugin))


def test_every_rule_here_has_a_planted_fault() -> None:
    assert {name for _, name, _ in PLANTED} == set(RULES_HERE)


async def test_a_reply_without_a_raw_body_need_not_hold_anything() -> None:
    await check(rule("unknown_fields_survive"), case_of(planted(raw=lambda self, prompt: None)))


def test_what_cannot_be_checked_is_declared_with_its_reason() -> None:
    case = case_of(Good, without={"retry_after_is_told": "toys are never busy"})
    assert rule("retry_after_is_told").missing(case) == "toys are never busy"
    assert rule("cancelled_whole_answer").missing(case) == "the case has no `silent`"


def test_a_thorough_suite_fails_where_a_case_is_silent_about_something() -> None:
    class Thorough(ProviderContract):
        thorough = True

    run = Thorough.test_cancelled_whole_answer  # type: ignore[attr-defined]
    with pytest.raises(pytest.fail.Exception, match="the case has no `silent`; give it, or say in `without`"):
        asyncio.run(run(Thorough(), case_of(Good)))
    declared = case_of(Good, without={"cancelled_whole_answer": "toys answer at once"})
    with pytest.raises(pytest.skip.Exception, match="toys answer at once"):
        asyncio.run(run(Thorough(), declared))
