"""Configuration of an instance."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, field_validator

from gleitzeit.wire.connection import ConnectionConfig

__all__ = ["OllamaConfig", "Think", "duration"]

Think = bool | Literal["low", "medium", "high", "max"]

_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_DURATION: Final = re.compile(
    r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))*"
)


def duration(value: str | float) -> str:
    """A time as Ollama reads it: `"5m"` as it is, a number as seconds. Raises `ValueError`."""
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    if _NUMBER.fullmatch(text):
        return f"{text}s"  # the server refuses "-1", though it takes -1
    if not _DURATION.fullmatch(text):
        raise ValueError(
            f"{text[:40]!r} is no time: give seconds, or a text such as 5m or 1h30m; -1 is for ever"
        )
    return text


class OllamaConfig(ConnectionConfig):
    """Where the server is, and how its models are used."""

    base_url: Annotated[str, Field(description="Address of the server, without /api.")] = (
        "http://127.0.0.1:11434"
    )
    api_key: Annotated[
        SecretStr | None, Field(description="Key, sent as a bearer token; a server of one's own wants none.")
    ] = None
    pull: Annotated[
        Literal["never", "ask", "always"],
        Field(description="Download a model that is not there: never, where the request agrees, or always."),
    ] = "never"
    keep_alive: Annotated[
        str | float | None,
        Field(description="How long a model stays loaded after a call: seconds, 5m, 0, or -1 for ever."),
    ] = None
    num_ctx: Annotated[
        int | None, Field(ge=1, description="Size of the context in tokens; the server cuts what is longer.")
    ] = None
    think: Annotated[
        Think | None, Field(description="Thinking where a request does not say; unset: the model's default.")
    ] = None
    adapt: Annotated[
        bool, Field(description="Ask a model that refuses to think once more, without, and remember it.")
    ] = False
    options: dict[str, Any] = Field(
        default={}, description="Model options of every call, such as top_k or num_gpu."
    )
    embedding_batch: Annotated[int, Field(ge=1, description="Most inputs in one embeddings request.")] = 512
    truncate: Annotated[
        bool, Field(description="Let the server cut texts to embed that are too long, without a word.")
    ] = False
    return_thinking: Annotated[
        bool, Field(description="Send thinking back to the model that it came from.")
    ] = True
    show: Annotated[
        bool, Field(description="Ask for each model's capabilities and context when listing models.")
    ] = True

    @field_validator("base_url")
    @classmethod
    def _bare(cls, value: str) -> str:
        if value.endswith(("/api", "/v1")):
            raise ValueError(
                "give the address without /api or /v1; for the latter there is the plugin openai"
            )
        return value

    @field_validator("keep_alive")
    @classmethod
    def _time(cls, value: str | float | None) -> str | None:
        return None if value is None else duration(value)
