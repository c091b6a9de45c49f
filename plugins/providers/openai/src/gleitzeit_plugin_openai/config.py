"""Configuration of an instance."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from gleitzeit.wire.connection import ConnectionConfig

__all__ = ["OpenAIConfig"]

_AZURE: Final = (".openai.azure.com", ".services.ai.azure.com")


class OpenAIConfig(ConnectionConfig):
    """Where the server is, and which variant of the API it speaks."""

    base_url: Annotated[str, Field(description="Address of the API, usually with /v1.")] = (
        "https://api.openai.com/v1"
    )
    organization: Annotated[str | None, Field(description="Sent as OpenAI-Organization.")] = None
    project: Annotated[str | None, Field(description="Sent as OpenAI-Project.")] = None
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

    @property
    def official(self) -> bool:
        """Is it OpenAI itself, or Azure's copy, which follow the published API to the letter?"""
        return self.host == "api.openai.com" or self.host.endswith(_AZURE)
