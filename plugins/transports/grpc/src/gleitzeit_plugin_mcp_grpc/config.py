"""What the gRPC transport may be told, for all servers or by the `options` of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from gleitzeit.errors import ConfigError

__all__ = ["DoorConfig", "GrpcConfig", "settled"]


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    max_message_bytes: int = Field(
        default=64 * 2**20, gt=0, lt=2**31, description="A longer message ends the stream."
    )
    cert_file: str | None = Field(default=None, description="PEM file with our own certificate chain.")
    key_file: str | None = Field(default=None, description="PEM file with the key of `cert_file`.")
    insecure: bool = Field(
        default=False,
        description="Credentials may travel, and strangers may come in, without TLS beyond this machine.",
    )


class GrpcConfig(_Limits):
    """The connecting side; a server's `options` overrule each of these."""

    use_tls: bool | None = Field(
        default=None, description="TLS or not; by default what `grpcs://` or `grpc://` in the address says."
    )
    ca_file: str | None = Field(
        default=None, description="PEM file of the authorities to trust instead of gRPC's own list."
    )
    server_name: str | None = Field(
        default=None, description="The name that the server's certificate must have, if not the address's."
    )
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds for the connection to stand.")
    keepalive: float = Field(
        default=300.0,
        ge=10,
        description="Seconds of silence before gRPC asks whether the server is alive. Servers of other "
        "makers may end connections that ask more often than every five minutes.",
    )


class DoorConfig(_Limits):
    """The accepting side, as `options` of `listen`."""

    token: SecretStr | None = Field(
        default=None, min_length=1, description="What clients must bring as a bearer token."
    )
    client_ca_file: str | None = Field(
        default=None, description="PEM file of the authorities whose certificates clients must have."
    )
    max_sessions: int = Field(default=1000, gt=0, description="Most streams at a time; others are refused.")


def settled(kind: type[BaseModel], where: str, *layers: Mapping[str, Any]) -> Any:
    """A configuration from layers, later ones first; raises `ConfigError` naming `where` and the key."""
    try:
        return kind(**{key: value for layer in layers for key, value in layer.items()})
    except ValidationError as errors:
        first = errors.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(sorted(kind.model_fields))
        raise ConfigError(f"{where}.{key}: {first['msg']}", hint=f"known are {known}") from None
