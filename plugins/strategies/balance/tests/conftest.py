"""Strategies without a host: the clock is turned by hand, luck has a seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat, Request, Route, Target


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Callable[..., Any]:
    """Builds a strategy from its class and the keys of its configuration."""

    def build(cls: Any, name: str = "under-test", **values: Any) -> Any:
        config = cls.Config.model_validate(values)
        return cls(config, FakeContext(name), clock=clock, chance=Random(7))

    return build


@pytest.fixture
def route() -> Callable[..., Route]:
    """Builds a route to the model `m` of instances with these names."""

    def build(*names: str | Target | Route, name: str = "r", **fields: Any) -> Route:
        targets = tuple(Target(each, name="m") if isinstance(each, str) else each for each in names)
        return Route(name, operation="chat", targets=targets, **fields)

    return build


@pytest.fixture
def ask() -> Callable[..., Request]:
    """Builds a request."""

    def build(**fields: Any) -> Request:
        return Request(Chat("hi"), target="r", **fields)

    return build
