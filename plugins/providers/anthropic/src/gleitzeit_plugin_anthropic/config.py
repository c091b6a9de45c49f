"""Configuration of an instance."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

__all__ = ["AnthropicConfig"]

_AZURE: Final = ".services.ai.azure.com"
_LEAST_BUDGET: Final = 1024


class AnthropicConfig(BaseModel):
    """Where the server is, and what it is asked for where a request says nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[str, Field(description="Address of the API, with or without /v1.")] = (
        "https://api.anthropic.com"
    )
    api_key: Annotated[SecretStr | None, Field(description="Key, sent as x-api-key.")] = None
    auth_token: Annotated[
        SecretStr | None, Field(description="Token, sent as a bearer token in place of a key.")
    ] = None
    version: Annotated[str, Field(description="Sent as anthropic-version.")] = "2023-06-01"
    betas: Annotated[tuple[str, ...], Field(description="Sent as anthropic-beta.")] = ()
    headers: Annotated[dict[str, SecretStr], Field(description="Further headers.")] = {}
    verify_ssl: Annotated[bool, Field(description="Check the server's certificate.")] = True
    connect_timeout: Annotated[
        float | None, Field(gt=0, description="Seconds to connect; unset: what [host.http] says.")
    ] = None
    read_timeout: Annotated[
        float | None,
        Field(gt=0, description="Seconds without a byte; unset, the deadline of the call decides."),
    ] = None
    max_tokens: Annotated[
        int, Field(ge=1, description="Output limit of requests that give none; the API demands one.")
    ] = 8192
    thinking: Annotated[
        Literal["auto", "adaptive", "budget", "effort"],
        Field(description="How reasoning is asked for; auto: as the model list says, else adaptive."),
    ] = "auto"
    thinking_budgets: Annotated[
        dict[str, int], Field(description="Tokens to think with, by effort, where a budget is sent.")
    ] = {"low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
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
    omit: Annotated[
        dict[str, tuple[Literal["temperature", "top_p", "top_k"], ...]],
        Field(description="Sampling parameters never sent, by pattern of model names."),
    ] = {}
    options: Annotated[
        dict[str, Any], Field(description="Options of every request; those of a request win.")
    ] = {}

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as https://api.anthropic.com")
        if parts.username or parts.password or parts.query:
            raise ValueError("an address holds no key: use api_key or headers")
        return value.rstrip("/").removesuffix("/v1")

    @field_validator("headers")
    @classmethod
    def _plain(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            secret = text.get_secret_value()
            if not (name + secret).isascii() or not (name + secret).isprintable() or not name:
                raise ValueError(f"header {name!r}: only printable ASCII can be sent")
        return value

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
    def host(self) -> str:
        """The host of `base_url`."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def official(self) -> bool:
        """Is it Anthropic itself, or Azure's service of the same models, which takes the same state?"""
        return self.host == "api.anthropic.com" or self.host.endswith(_AZURE)

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
        for name, secret in (("api_key", self.api_key), ("auth_token", self.auth_token)):
            text = secret.get_secret_value() if secret else ""
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"{name}: only printable ASCII can be sent; is there a line break in it?")
