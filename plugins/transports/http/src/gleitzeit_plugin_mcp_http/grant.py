"""The OAuth client of the MCP SDK, as a server's configuration wants it. Importing this imports the SDK."""

from __future__ import annotations

import time
from typing import Any

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.oauth2 import OAuthContext
from mcp.client.auth.utils import union_scopes
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl, TypeAdapter

from gleitzeit_plugin_mcp_http.settings import OAuthConfig
from gleitzeit_plugin_mcp_http.tokens import TokenStore

__all__ = ["Remembered", "flow", "redirect_to", "returned"]

_url = TypeAdapter(AnyUrl).validate_python


class Remembered:
    """A `TokenStore` as the SDK wants it, with the time at which a stored token ends."""

    def __init__(self, store: TokenStore, key: str, config: OAuthConfig) -> None:
        self._store = store
        self._key = key
        self._config = config
        self._value: dict[str, Any] = {}
        self.context: OAuthContext | None = None

    @property
    def port(self) -> int:
        """The loopback port that the client is registered for; 0 for none."""
        uris = (self._value.get("client") or {}).get("redirect_uris") or [""]
        return _url(uris[0]).port or 0 if uris[0] else 0

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may quote."""
        tokens = self._value.get("tokens") or {}
        own = (self._config.client_secret, self._config.private_key)
        return (
            *(secret.get_secret_value() for secret in own if secret is not None),
            *(str(tokens[key]) for key in ("access_token", "refresh_token") if tokens.get(key)),
        )

    async def get_tokens(self) -> OAuthToken | None:
        """The stored tokens; sets when they end."""
        self._value = dict(await self._store.load(self._key))
        if self.context is not None:
            self.context.token_expiry_time = self._value.get("ends")
        tokens = self._value.get("tokens")
        return None if tokens is None else OAuthToken.model_validate(tokens)

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep them."""
        ends = None if tokens.expires_in is None else time.time() + tokens.expires_in
        await self._keep(tokens=tokens.model_dump(mode="json", exclude_none=True), ends=ends)

    async def forget(self) -> None:
        """Drop tokens that are worth nothing any more."""
        if self._value.get("tokens") is not None:
            await self._keep(tokens=None, ends=None)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """The client of the configuration, or the one that was registered."""
        if self._config.client_id is not None:
            return self.configured()
        client = self._value.get("client")
        return None if client is None else OAuthClientInformationFull.model_validate(client)

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keep what was registered."""
        if self._config.client_id is None:
            await self._keep(client=client_info.model_dump(mode="json", exclude_none=True))

    def configured(self) -> OAuthClientInformationFull | None:
        """The client that the configuration names; None where one is to be registered."""
        if self._config.client_id is None:
            return None
        secret = self._config.client_secret
        return OAuthClientInformationFull(
            client_id=self._config.client_id,
            client_secret=None if secret is None else secret.get_secret_value(),
            token_endpoint_auth_method="none" if secret is None else self._config.token_auth,
            redirect_uris=None,
            issuer=self._config.issuer,
        )

    async def _keep(self, **values: Any) -> None:
        self._value.update(values)
        await self._store.save(self._key, self._value)


def flow(url: str, remembered: Remembered, config: OAuthConfig) -> OAuthClientProvider:
    """The SDK's client for the server at `url`; raises `ValueError` for settings that cannot hold."""
    made: OAuthClientProvider
    if config.grant == "authorization_code":
        metadata = OAuthClientMetadata(
            client_name="Gleitzeit",
            redirect_uris=[_url("http://127.0.0.1/callback")],  # the port is known when somebody signs in
            token_endpoint_auth_method="none" if config.client_secret is None else config.token_auth,
            scope=config.scope,
        )
        made = OAuthClientProvider(url, metadata, remembered, client_metadata_url=config.client_metadata_url)
    elif config.private_key is not None:
        signed = SignedJWTParameters(
            issuer=config.client_id or "",
            subject=config.client_id or "",
            signing_key=config.private_key.get_secret_value(),
            signing_algorithm=config.key_algorithm,
        )
        made = PrivateKeyJWTOAuthProvider(
            url,
            remembered,
            config.client_id or "",
            signed.create_assertion_provider(),
            scope=config.scope,
            issuer=config.issuer,
        )
    else:
        made = ClientCredentialsOAuthProvider(
            url,
            remembered,
            config.client_id or "",
            "" if config.client_secret is None else config.client_secret.get_secret_value(),
            token_endpoint_auth_method=config.token_auth,
            scope=config.scope,
            issuer=config.issuer,
        )
    remembered.context = made.context
    authorize = made._perform_authorization

    async def with_scope() -> httpx2.Request:
        """The SDK asks for what the server names alone, even where that is nothing."""
        made.context.client_metadata.scope = union_scopes(config.scope, made.context.client_metadata.scope)
        return await authorize()

    if config.scope is not None:
        made._perform_authorization = with_scope  # type: ignore[method-assign]
    return made


def redirect_to(context: OAuthContext, url: str) -> None:
    """Have the authorization server send browsers to `url`."""
    context.client_metadata.redirect_uris = [_url(url)]


def returned(parameters: dict[str, str]) -> AuthorizationCodeResult:
    """What a browser brought."""
    return AuthorizationCodeResult(
        code=parameters.get("code", ""), state=parameters.get("state"), iss=parameters.get("iss")
    )
