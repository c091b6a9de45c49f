"""The configuration of the search."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ToolSearchConfig"]


class ToolSearchConfig(BaseModel):
    """Words are enough; with an embedding model what means the same is found as well."""

    model_config = ConfigDict(extra="forbid")

    embedding_model: Annotated[
        str | None,
        Field(description="A model that embeds texts; needs may_ask = true. Unset: words only."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=100, description="Tools found where nobody says how many.")] = 5
