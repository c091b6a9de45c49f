"""The provider with a real worker process whose models are made up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from gleitzeit_plugin_huggingface import HuggingFace

from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Operation, Reply, Stream

TOKEN = "hf_canary0123456789abcdef"


class Fake(HuggingFace):
    """The provider; any name without a slash is a model."""

    engine: ClassVar[str] = f"{Path(__file__).with_name('engine.py')}:Fake"

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        async with super().lifespan():
            await self.worker.start()
            yield


NAMES = [
    "good",
    "silent",
    "halting",
    "breaking",
    "dying",
    "endless",
    "echo",
    "full",
    "faulty",
    "long",
    "think",
    "inside",
    "call",
    "mistral",
    "unloadable",
    "packageless",
    "exiting",
    "a-300",
    "b-300",
    "c-300",
    "d-900",
]


@pytest.fixture
def fake() -> type[HuggingFace]:
    """The provider's class."""
    return Fake


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A configuration that knows all made up models."""
    return {"paths": {name: f"/models/{name}" for name in NAMES}, "cache": str(tmp_path), "token": TOKEN}


@pytest.fixture
async def make(settings: dict[str, Any]) -> AsyncIterator[Callable[..., Awaitable[Fake]]]:
    """Builds and starts providers; keyword arguments are configuration."""
    async with AsyncExitStack() as stack:

        async def build(**config: Any) -> Fake:
            context = FakeContext("here")
            provider = Fake(Fake.Config(**{**settings, **config}), context)
            await stack.enter_async_context(provider.lifespan())
            return provider

        yield build


@pytest.fixture
async def provider(make: Callable[..., Awaitable[Fake]]) -> Fake:
    """A provider with the default configuration."""
    return await make()


@pytest.fixture
def ask(provider: Fake) -> Callable[..., Awaitable[Reply]]:
    """Asks for an operation, and gives the reply."""

    async def run(
        operation: Operation | str, model: str = "good", *, by: Fake | None = None, **fields: Any
    ) -> Reply:
        operation = Chat(operation) if isinstance(operation, str) else operation
        answer = await (by or provider).call(operation.to(model, **fields))
        return await answer.collect() if isinstance(answer, Stream) else answer

    return run


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], list[str]]:
    """What the engine has noted."""

    def read() -> list[str]:
        try:
            return (tmp_path / "log").read_text().splitlines()
        except FileNotFoundError:
            return []

    return read
