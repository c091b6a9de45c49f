"""The vendors' published schemas, closed: what we send must have no problem with them."""

from __future__ import annotations

from typing import Any

from tests.strict.specs import raw_problems

__all__ = ["problems"]


def problems(spec: str, schema: str, body: Any) -> list[str]:
    """What `body` violates of a schema of `shared/specs/SPEC`; unknown fields count."""
    return [f"history: {problem}" for problem in raw_problems(spec.partition(".")[0], schema, body)]
