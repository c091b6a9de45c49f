"""Configuration of an instance."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, field_validator

from gleitzeit.wire.connection import ConnectionConfig

__all__ = ["EmbeddingApi", "GeminiConfig"]

EmbeddingApi = Literal["batchEmbedContents", "embedContent", "predict"]

_PLACE: Final = re.compile(r"[a-z0-9][a-z0-9:.-]{0,62}")


class GeminiConfig(ConnectionConfig):
    """Where the models are, and how requests are written for them."""

    api_key: Annotated[SecretStr | None, Field(description="Key, sent as x-goog-api-key.")] = None
    access_token: Annotated[
        SecretStr | None, Field(description="OAuth token for Vertex AI, sent as a bearer token.")
    ] = None
    project: Annotated[str | None, Field(description="Google Cloud project; set, calls go to Vertex AI.")] = (
        None
    )
    location: Annotated[str, Field(description="Region of Vertex AI, or global.")] = "global"
    base_url: Annotated[
        str | None, Field(description="Address without the version; unset: Google's own.")
    ] = None
    api_version: Annotated[
        str | None, Field(pattern=r"^v[0-9a-z]+$", description="Unset: v1beta, of Vertex AI v1beta1.")
    ] = None
    stream_format: Annotated[
        Literal["sse", "array"], Field(description="How streams are asked for: events, or one JSON array.")
    ] = "sse"
    schemas: Annotated[
        Literal["json", "openapi"],
        Field(description="Dialect of schemas: JSON Schema as given, or the API's older subset of OpenAPI."),
    ] = "json"
    thoughts: Annotated[
        bool, Field(description="Ask for summaries of thinking where `reasoning` is set.")
    ] = True
    thinking_budgets: dict[str, int] = Field(
        default={}, description="Tokens to think by word of `reasoning`, for models that take no level."
    )
    part_resolution: Annotated[bool, Field(description="Send `detail` of images as mediaResolution.")] = False
    tool_media: Annotated[
        Literal["inside", "after"],
        Field(description="Where pictures and files of tool results go: inside the result, or after all."),
    ] = "inside"
    sign_foreign_calls: Annotated[
        bool, Field(description="Mark calls of other models, which carry no signature, as to be accepted.")
    ] = True
    safety: dict[str, str] = Field(
        default={}, description="Threshold by harm category, both in the vendor's words."
    )
    embedding_api: Annotated[
        EmbeddingApi | None,
        Field(description="Method for embeddings; unset: batchEmbedContents, of Vertex AI predict."),
    ] = None
    embedding_batch: Annotated[int, Field(ge=1, description="Most inputs in one embeddings request.")] = 100
    adapt: Annotated[
        bool, Field(description="Leave out a sampling or thinking field that a model refuses, and remember.")
    ] = False

    @field_validator("project", "location")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        if value is not None and _PLACE.fullmatch(value) is None:
            raise ValueError("expected the id of a project or region, such as my-project or europe-west4")
        return value

    @property
    def vertex(self) -> bool:
        """Do calls go to Vertex AI?"""
        return self.project is not None

    @property
    def root(self) -> str:
        """The address with the version, below which everything lies."""
        if self.base_url is not None:
            base = self.base_url
        elif not self.vertex:
            base = "https://generativelanguage.googleapis.com"
        else:
            region = "" if self.location == "global" else f"{self.location}-"
            base = f"https://{region}aiplatform.googleapis.com"
        return f"{base}/{self.api_version or ('v1beta1' if self.vertex else 'v1beta')}"

    @property
    def official(self) -> bool:
        """Is it Google itself?"""
        return self.host.endswith(".googleapis.com")
