"""Configuration of an instance."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

__all__ = ["EmbeddingApi", "GeminiConfig"]

EmbeddingApi = Literal["batchEmbedContents", "embedContent", "predict"]

_PLACE: Final = re.compile(r"[a-z0-9][a-z0-9:.-]{0,62}")


class GeminiConfig(BaseModel):
    """Where the models are, and how requests are written for them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

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
    headers: Annotated[dict[str, SecretStr], Field(description="Further headers.")] = {}
    verify_ssl: Annotated[bool, Field(description="Check the server's certificate.")] = True
    connect_timeout: Annotated[
        float | None, Field(gt=0, description="Seconds to connect; unset: what [host.http] says.")
    ] = None
    read_timeout: Annotated[
        float | None,
        Field(gt=0, description="Seconds without a byte; unset, the deadline of the call decides."),
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
    thinking_budgets: Annotated[
        dict[str, int],
        Field(description="Tokens to think by word of `reasoning`, for models that take no level."),
    ] = {}
    part_resolution: Annotated[bool, Field(description="Send `detail` of images as mediaResolution.")] = False
    tool_media: Annotated[
        Literal["inside", "after"],
        Field(description="Where pictures and files of tool results go: inside the result, or after all."),
    ] = "inside"
    sign_foreign_calls: Annotated[
        bool, Field(description="Mark calls of other models, which carry no signature, as to be accepted.")
    ] = True
    safety: Annotated[
        dict[str, str],
        Field(description="Threshold by harm category, both in the vendor's words."),
    ] = {}
    embedding_api: Annotated[
        EmbeddingApi | None,
        Field(description="Method for embeddings; unset: batchEmbedContents, of Vertex AI predict."),
    ] = None
    embedding_batch: Annotated[int, Field(ge=1, description="Most inputs in one embeddings request.")] = 100
    adapt: Annotated[
        bool, Field(description="Leave out a sampling or thinking field that a model refuses, and remember.")
    ] = False

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as https://generativelanguage.googleapis.com")
        if parts.username or parts.password or parts.query:
            raise ValueError("an address holds no key: use api_key or headers")
        return value.rstrip("/")

    @field_validator("project", "location")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        if value is not None and _PLACE.fullmatch(value) is None:
            raise ValueError("expected the id of a project or region, such as my-project or europe-west4")
        return value

    @field_validator("headers")
    @classmethod
    def _plain(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            secret = text.get_secret_value()
            if not (name + secret).isascii() or not (name + secret).isprintable() or not name:
                raise ValueError(f"header {name!r}: only printable ASCII can be sent")
        return value

    def model_post_init(self, context: Any) -> None:
        """Refuse keys that no header can carry, without showing them."""
        for name in ("api_key", "access_token"):
            secret = getattr(self, name)
            key = secret.get_secret_value() if secret else ""
            if not key.isascii() or not key.isprintable():
                raise ValueError(f"{name}: only printable ASCII can be sent; is there a line break in it?")

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
    def host(self) -> str:
        """The host that calls go to."""
        return urlsplit(self.root).hostname or ""

    @property
    def official(self) -> bool:
        """Is it Google itself?"""
        return self.host.endswith(".googleapis.com")

    @property
    def loopback(self) -> bool:
        """Does the server run on this machine?"""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
