"""The vendors' published schemas, closed: what we send must have no problem with them."""

from __future__ import annotations

import functools
import importlib.util
from types import ModuleType
from typing import Any

from tests.harness import SHARED

__all__ = ["problems"]


def problems(spec: str, schema: str, body: Any) -> list[str]:
    """What `body` violates of a schema of `shared/specs/SPEC`; unknown fields count."""
    return [f"history: {problem}" for problem in _spec(spec).problems(schema, body)]


@functools.cache
def _spec(spec: str) -> Any:
    return _recipe("strict_spec").Spec(str(SHARED / "specs" / spec), closed=True)


@functools.cache
def _recipe(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, SHARED / "recipes" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
