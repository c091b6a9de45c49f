"""Whatever is asked: what goes out holds to the specification and the SDK's types, or nothing goes out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gleitzeit.errors import GleitzeitError, RequestError
from gleitzeit.testing import FakeContext
from gleitzeit.testing import strategies as some
from gleitzeit.values import Chat, Completion, Embedding, Operation, Stream
from tests.strict import sdks, specs
from tests.strict.served import Sent, Served
from tests.strict.wires import PLAIN, WIRES, Wire, schema_of


def quiet(examples: int) -> settings:
    """The same examples at every run; `--hypothesis-profile=search` looks for others, and for more."""
    search = settings.get_current_profile_name() == "search"
    return settings(
        max_examples=50 * examples if search else examples,
        derandomize=not search,
        database=None,
        suppress_health_check=list(HealthCheck),
        deadline=None,
        phases=(Phase.explicit, Phase.generate),  # the complaint names the place; shrinking takes minutes
    )


async def ask(
    wire: Wire, config: Mapping[str, Any], operation: Operation, *, stream: bool
) -> tuple[GleitzeitError | None, list[Sent]]:
    """What was sent for an operation, and the error that it ended in."""
    served = Served(wire.fake())
    async with httpx2.AsyncClient(transport=served) as http, FakeContext("under-test", http=http) as context:
        provider = wire.plugin(wire.plugin.Config(**config), context)
        async with provider.lifespan():
            try:
                answer = await provider.call(operation.to(wire.model, stream=stream))
                if isinstance(answer, Stream):
                    await answer.collect()
            except GleitzeitError as error:
                return error, served.sent
    return None, served.sent


def complaints(sent: Sent) -> list[str]:
    """What the specification and the SDK find in a request."""
    found = [f"the fake: {sent.answer.body}"] if sent.answer.status != 200 else []
    return found + published(sent)


def published(sent: Sent) -> list[str]:
    """What the published schema, and the SDK's types, find in a request."""
    if sent.body is None:
        return []
    schema = schema_of(sent.path)
    return [
        *(f"specification: {each}" for each in (specs.problems(*schema, sent.body) if schema else ())),
        *(f"SDK: {each}" for each in sdks.problems(sent.path, sent.body)),
    ]


def refused_here(error: GleitzeitError | None) -> bool:
    return isinstance(error, RequestError) and error.sent is not True


@pytest.mark.feature("S004-04", "S004-06", "S004-07", "S004-10")
@pytest.mark.parametrize("name", WIRES)
def test_what_makes_sense_is_sent_as_published_or_refused_here(name: str) -> None:
    wire = WIRES[name]

    @quiet(14)
    @given(operation=wire.operations, config=wire.config(), stream=st.booleans())
    def run(operation: Operation, config: Mapping[str, Any], stream: bool) -> None:
        error, sent = asyncio.run(ask(wire, config, operation, stream=stream))
        assert [each for one in sent for each in complaints(one)] == []
        assert error is None or (refused_here(error) and not sent), repr(error)

    run()


@pytest.mark.parametrize("name", WIRES)
async def test_each_wire_reaches_all_of_its_paths(name: str) -> None:
    wire = WIRES[name]
    reached: set[str] = set()
    for operation, place, stream in itertools.product(PLAIN, (0, -1), (False, True)):
        config = {key: values[place] for key, values in wire.configs.items()}
        error, sent = await ask(wire, config, operation, stream=stream)
        assert [each for one in sent for each in complaints(one)] == []
        assert error is None or (refused_here(error) and not sent), repr(error)
        reached.update(one.path.rpartition(":")[2] for one in sent)
    assert reached >= set(wire.paths)


@pytest.mark.parametrize(
    "name",
    [
        "openai-chat",
        "openai-responses",
        "anthropic-messages",
        "gemini-generate",
        "ollama-chat",
    ],
)
def test_anything_at_all_is_sent_as_published_or_refused_here(name: str) -> None:
    """Calls that nobody answered and the like are the caller's: the vendor may refuse them, by its rules."""
    wire = WIRES[name]

    @quiet(25)
    @given(operation=some.operations(Chat, Completion, Embedding), config=wire.config(), stream=st.booleans())
    def run(operation: Operation, config: Mapping[str, Any], stream: bool) -> None:
        error, sent = asyncio.run(ask(wire, config, operation, stream=stream))
        assert [each for one in sent for each in published(one)] == []
        assert error is None or sent or refused_here(error), repr(error)

    run()
