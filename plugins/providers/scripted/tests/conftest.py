"""A scripted provider without a host."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gleitzeit_plugin_scripted import Scripted, ScriptedConfig


@pytest.fixture
def make() -> Callable[..., Scripted]:
    """Builds an instance; keyword arguments are models: `make(helper={"rules": [...]})`."""

    def build(config: dict[str, Any] | None = None, **models: Any) -> Scripted:
        values = config if config is not None else {"answers": models} if models else {}
        context: Any = SimpleNamespace(name="scripted", logger=logging.getLogger("test"))
        return Scripted(ScriptedConfig.model_validate(values), context)

    return build
