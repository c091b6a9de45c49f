"""Configuration of an instance."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

__all__ = ["OpenAIConfig"]


_AZURE: Final = (".openai.azure.com", ".services.ai.azure.com")


class OpenAIConfig(BaseModel):
    """Where the server is, and which variant of the API it speaks."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[str, Field(description="Address of the API, usually with /v1.")] = (
        "https://api.openai.com/v1"
    )
    api_key: Annotated[SecretStr | None, Field(description="Key, sent as a bearer token.")] = None
    organization: Annotated[str | None, Field(description="Sent as OpenAI-Organization.")] = None
    project: Annotated[str | None, Field(description="Sent as OpenAI-Project.")] = None
    headers: Annotated[dict[str, SecretStr], Field(description="Further headers.")] = {}
    verify_ssl: Annotated[bool, Field(description="Check the server's certificate.")] = True
    connect_timeout: Annotated[
        float | None, Field(gt=0, description="Seconds to connect; unset: what [host.http] says.")
    ] = None
    read_timeout: Annotated[
        float | None,
        Field(gt=0, description="Seconds without a byte; unset, the deadline of the call decides."),
    ] = None
    api: Annotated[
        Literal["chat", "responses", "auto"],
        Field(
            description="What a chat is sent to; auto: Responses of OpenAI and Azure where they can carry it."
        ),
    ] = "chat"
    adapt: Annotated[
        bool,
        Field(description="Leave out a field that the server refuses by name, from then on for that model."),
    ] = False
    max_tokens_field: Annotated[
        Literal["max_completion_tokens", "max_tokens"] | None,
        Field(
            description="Name of the output limit; unset: max_completion_tokens for OpenAI, else max_tokens."
        ),
    ] = None
    system_role: Annotated[
        Literal["system", "developer"], Field(description="Role that system turns are sent as.")
    ] = "system"
    merge_system: Annotated[bool, Field(description="Send all system turns as one, before the others.")] = (
        False
    )
    completion_api: Annotated[
        Literal["chat", "completions"],
        Field(description="What a Completion is sent to: chat works with every chat model."),
    ] = "chat"
    embedding_format: Annotated[
        Literal["base64", "float"] | None,
        Field(description="Encoding of vectors to ask for; unset: base64 of OpenAI, float of others."),
    ] = None
    embedding_batch: Annotated[int, Field(ge=1, description="Most inputs in one embeddings request.")] = 2048
    stream_usage: Annotated[bool, Field(description="Ask for usage in streams (stream_options).")] = True
    thinking: Annotated[
        Literal["fields", "tags", "open"],
        Field(description="How thinking arrives: in fields, in <think> tags, or in tags without the first."),
    ] = "fields"
    tool_calls: Annotated[
        Literal["fields", "hermes", "mistral"],
        Field(description="How tool calls arrive: in fields, in <tool_call> tags, or after [TOOL_CALLS]."),
    ] = "fields"
    return_reasoning: Annotated[
        bool, Field(description="Send reasoning back to the model that it came from.")
    ] = True

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as https://api.openai.com/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("an address holds no key: use api_key or headers")
        return value.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _plain(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            secret = text.get_secret_value()
            if not (name + secret).isascii() or not (name + secret).isprintable() or not name:
                raise ValueError(f"header {name!r}: only printable ASCII can be sent")
        return value

    @property
    def host(self) -> str:
        """The host of `base_url`."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def official(self) -> bool:
        """Is it OpenAI itself, or Azure's copy, which follow the published API to the letter?"""
        return self.host == "api.openai.com" or self.host.endswith(_AZURE)

    @property
    def loopback(self) -> bool:
        """Does the server run on this machine?"""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def model_post_init(self, context: Any) -> None:
        """Refuse keys that no header can carry, without showing them."""
        key = self.api_key.get_secret_value() if self.api_key else ""
        if not key.isascii() or not key.isprintable():
            raise ValueError("api_key: only printable ASCII can be sent; is there a line break in it?")
