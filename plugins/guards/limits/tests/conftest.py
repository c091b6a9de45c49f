"""A guard without a host."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gleitzeit_plugin_guard_limits import Limits, LimitsConfig


@pytest.fixture
def guard() -> Callable[..., Limits]:
    """Builds a guard named `limits` from the keys of its configuration."""

    def build(**values: Any) -> Limits:
        context: Any = SimpleNamespace(name="limits")
        return Limits(LimitsConfig.model_validate(values), context)

    return build
