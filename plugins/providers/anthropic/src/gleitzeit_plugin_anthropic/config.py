"""Configuration of an instance."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, field_validator

from gleitzeit.wire.connection import ConnectionConfig

__all__ = ["AnthropicConfig"]

_AZURE: Final = ".services.ai.azure.com"
_LEAST_BUDGET: Final = 1024


class AnthropicConfig(ConnectionConfig):
    """Where the server is, and what it is asked for where a request says nothing."""

    base_url: Annotated[str, Field(description="Address of the API, with or without /v1.")] = (
        "https://api.anthropic.com"
    )
    api_key: Annotated[SecretStr | None, Field(description="Key, sent as x-api-key.")] = None
    auth_token: Annotated[
        SecretStr | None, Field(description="Token, sent as a bearer token in place of a key.")
    ] = None
    version: Annotated[str, Field(description="Sent as anthropic-version.")] = "2023-06-01"
    betas: Annotated[tuple[str, ...], Field(description="Sent as anthropic-beta.")] = ()
    max_tokens: Annotated[
        int, Field(ge=1, description="Output limit of requests that give none; the API demands one.")
    ] = 8192
    thinking: Annotated[
        Literal["auto", "adaptive", "budget", "effort"],
        Field(description="How reasoning is asked for; auto: as the model list says, else adaptive."),
    ] = "auto"
    thinking_budgets: dict[str, int] = Field(
        default={"low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768},
        description="Tokens to think with, by effort, where a budget is sent.",
    )
    prompt_caching: Annotated[
        Literal["5m", "1h"] | None,
        Field(description="Let the server cache the longest prefix of every request for that long."),
    ] = None
    system_turns: Annotated[
        bool,
        Field(description="Send later system turns where they stand; else they go to the top."),
    ] = False
    adapt: Annotated[
        bool,
        Field(description="Ask once more without a sampling parameter that the model refuses, and remember."),
    ] = True
    omit: dict[str, tuple[Literal["temperature", "top_p", "top_k"], ...]] = Field(
        default={}, description="Sampling parameters never sent, by pattern of model names."
    )
    options: dict[str, Any] = Field(
        default={}, description="Options of every request; those of a request win."
    )

    @field_validator("base_url")
    @classmethod
    def _unversioned(cls, value: str) -> str:
        return value.removesuffix("/v1")

    @field_validator("version", "betas")
    @classmethod
    def _word(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for word in (value,) if isinstance(value, str) else value:
            if not word or not word.isascii() or not word.isprintable() or "," in word:
                raise ValueError("expected words of printable ASCII without commas")
        return value

    @field_validator("thinking_budgets")
    @classmethod
    def _budgets(cls, value: dict[str, int]) -> dict[str, int]:
        if any(tokens < _LEAST_BUDGET for tokens in value.values()):
            raise ValueError(f"a budget is at least {_LEAST_BUDGET} tokens")
        return value

    @property
    def official(self) -> bool:
        """Is it Anthropic itself, or Azure's service of the same models, which takes the same state?"""
        return self.host == "api.anthropic.com" or self.host.endswith(_AZURE)
