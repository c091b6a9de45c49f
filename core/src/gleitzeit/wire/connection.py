"""Configuration of an instance that speaks HTTP to one server: where it is, and what it wants to see."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

__all__ = ["ConnectionConfig", "revealed"]

_PROXIES: Final = ("http", "https", "socks5", "socks5h")


class ConnectionConfig(BaseModel):
    """What every such instance can be told. A provider adds its own settings, and an address:

        class AcmeConfig(ConnectionConfig):
            base_url: str = "https://api.acme.example/v1"

    What no request can carry is refused, and no secret is shown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[str | None, Field(description="Address of the API.")] = None
    api_key: Annotated[SecretStr | None, Field(description="Key, sent as a bearer token.")] = None
    headers: Annotated[dict[str, SecretStr], Field(description="Further headers.")] = {}
    verify_ssl: Annotated[bool, Field(description="Check the server's certificate.")] = True
    ca_file: Annotated[
        str | None, Field(description="File of the certificates to trust; unset: what [host.http] says.")
    ] = None
    proxy: Annotated[
        SecretStr | None,
        Field(description="URL of a proxy, never used for loopback; unset: what [host.http] says."),
    ] = None
    connect_timeout: Annotated[
        float | None, Field(gt=0, description="Seconds to connect; unset: what [host.http] says.")
    ] = None
    read_timeout: Annotated[
        float | None,
        Field(gt=0, description="Seconds without a byte; unset, the deadline of the call decides."),
    ] = None

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if not value:
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected an address such as https://api.example.org/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("an address holds no key: use api_key or headers")
        return value.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _plain(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            if not name or not _sendable(name + text.get_secret_value()):
                raise ValueError(f"header {name!r}: only printable ASCII can be sent")
        return value

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(revealed(value))
        if value is not None and (parts.scheme not in _PROXIES or not parts.hostname):
            raise ValueError("expected the URL of a proxy, such as http://127.0.0.1:3128")
        return value

    def model_post_init(self, context: Any) -> None:
        """Refuse secrets that no header can carry, without showing them."""
        for name, value in self:
            if isinstance(value, SecretStr) and not _sendable(value.get_secret_value()):
                raise ValueError(f"{name}: only printable ASCII can be sent; is there a line break in it?")

    @property
    def root(self) -> str:
        """The address below which everything lies."""
        return self.base_url or ""

    @property
    def host(self) -> str:
        """The host that calls go to."""
        return urlsplit(self.root).hostname or ""

    @property
    def site(self) -> str:
        """Host and port, as what a server gave to keep belongs to it alone."""
        return urlsplit(self.root).netloc

    @property
    def official(self) -> bool:
        """Is it the vendor's own server, which answers nobody without a key?"""
        return False

    @property
    def loopback(self) -> bool:
        """Does the server run on this machine?"""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear in no text; what is shorter than four characters is no secret."""
        given = [value for _, value in self if isinstance(value, SecretStr)]
        texts = [secret.get_secret_value() for secret in (*given, *self.headers.values())]
        return tuple(text for text in texts if len(text) >= 4)


def revealed(secret: SecretStr | None) -> str:
    """The text of a secret; empty where there is none."""
    return "" if secret is None else secret.get_secret_value()


def _sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()
