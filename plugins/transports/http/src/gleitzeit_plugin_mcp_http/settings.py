"""What the HTTP wire may be told, for all servers or by the `options` of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from gleitzeit.errors import ConfigError

__all__ = ["McpHttpConfig", "OAuthConfig", "ServerOptions", "server_options"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class McpHttpConfig(_Strict):
    """Settings of the HTTP transport; a server's `options` overrule all but `token_file`."""

    mode: Literal["auto", "streamable", "sse"] = Field(
        default="auto",
        description="The dialect: streamable HTTP, the HTTP+SSE of 2024, or find out at the first message.",
    )
    verify_ssl: bool | None = Field(
        default=None, description="Are certificates verified? By default as `[host.http]` says."
    )
    ca_file: str | None = Field(
        default=None, description="PEM file of the authorities to trust in place of the usual ones."
    )
    proxy: str | None = Field(default=None, description="The URL of a proxy.")
    connect_timeout: float | None = Field(
        default=None, gt=0, description="Seconds for a connection to stand; by default 5."
    )
    read_timeout: float | None = Field(
        default=None,
        gt=0,
        description="Seconds of silence after which an answer counts as broken; "
        "by default only the deadline of the call holds.",
    )
    max_message_bytes: int = Field(
        default=64 * 2**20, gt=0, description="A longer message from a server fails its request."
    )
    token_file: str | None = Field(
        default=None,
        description="File, readable by its owner only, that keeps OAuth tokens; by default they are "
        "forgotten when the host closes.",
    )


class OAuthConfig(_Strict):
    """How a server's OAuth access tokens are got."""

    grant: Literal["client_credentials", "authorization_code"] = Field(
        default="authorization_code",
        description="Sign in as this program, or as a person in a browser (with PKCE).",
    )
    issuer: str | None = Field(
        default=None,
        description="The authorization server that the credentials belong to; they are sent nowhere else.",
    )
    client_id: str | None = Field(
        default=None, description="The id of a registered client; without it one is registered."
    )
    client_secret: SecretStr | None = Field(default=None, description="Its secret.")
    client_metadata_url: str | None = Field(
        default=None, description="An https URL of a client metadata document, used as id where possible."
    )
    private_key: SecretStr | None = Field(
        default=None, description="A PEM key that signs assertions in place of a secret."
    )
    key_algorithm: str = Field(default="RS256", description="The algorithm of the assertions' signature.")
    token_auth: Literal["client_secret_basic", "client_secret_post"] = Field(
        default="client_secret_basic", description="How the secret reaches the token endpoint."
    )
    scope: str | None = Field(default=None, description="Scopes to ask for, separated by spaces.")
    person: Literal["never", "log", "browser"] = Field(
        default="never",
        description="May a person be asked to sign in: not at all, by an address in the log, or by opening "
        "it in this machine's browser.",
    )
    patience: float = Field(default=300.0, gt=0, description="Seconds that a person has to sign in.")
    redirect_port: int = Field(
        default=0, ge=0, le=65535, description="The loopback port that the browser returns to; 0: any."
    )

    @model_validator(mode="after")
    def _complete(self) -> OAuthConfig:
        if self.grant == "client_credentials":
            if self.client_id is None or (self.client_secret is None) == (self.private_key is None):
                raise ValueError("client credentials are `client_id` and `client_secret` or `private_key`")
            if self.issuer is None:
                raise ValueError("name the `issuer` of the client credentials: they are sent nowhere else")
        elif self.private_key is not None:
            raise ValueError("`private_key` goes with the grant client_credentials")
        return self


class ServerOptions(McpHttpConfig):
    """The settings of one server."""

    oauth: OAuthConfig | None = Field(default=None, description="OAuth, where the server asks for it.")


def server_options(name: str, config: McpHttpConfig, options: Mapping[str, Any]) -> ServerOptions:
    """The transport's settings overruled by a server's options; raises `ConfigError` naming the key."""
    given = {key: value for key, value in options.items() if key != "secrets"}
    try:
        return ServerOptions.model_validate({**config.model_dump(exclude_unset=True), **given})
    except ValidationError as errors:
        first = errors.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, ("options", *first["loc"])))
        fields = OAuthConfig.model_fields if first["loc"][:1] == ("oauth",) else ServerOptions.model_fields
        known = ", ".join(sorted(fields))
        raise ConfigError(f"servers.{name}.{key}: {first['msg']}", hint=f"known are {known}") from None
