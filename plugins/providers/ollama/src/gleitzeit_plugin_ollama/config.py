"""Configuration of an instance."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

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


class OllamaConfig(BaseModel):
    """Where the server is, and how its models are used."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[str, Field(description="Address of the server, without /api.")] = (
        "http://127.0.0.1:11434"
    )
    api_key: Annotated[
        SecretStr | None, Field(description="Key, sent as a bearer token; a server of one's own wants none.")
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
    options: Annotated[
        dict[str, Any], Field(description="Model options of every call, such as top_k or num_gpu.")
    ] = {}
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
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as http://127.0.0.1:11434")
        if parts.username or parts.password or parts.query:
            raise ValueError("an address holds no key: use api_key or headers")
        value = value.rstrip("/")
        if value.endswith(("/api", "/v1")):
            raise ValueError(
                "give the address without /api or /v1; for the latter there is the plugin openai"
            )
        return value

    @field_validator("headers")
    @classmethod
    def _plain(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            secret = text.get_secret_value()
            if not (name + secret).isascii() or not (name + secret).isprintable() or not name:
                raise ValueError(f"header {name!r}: only printable ASCII can be sent")
        return value

    @field_validator("keep_alive")
    @classmethod
    def _time(cls, value: str | float | None) -> str | None:
        return None if value is None else duration(value)

    @property
    def host(self) -> str:
        """The host of `base_url`."""
        return urlsplit(self.base_url).hostname or ""

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
