"""The plugin: makes the transport from the operator's settings."""

from __future__ import annotations

from typing import ClassVar

import httpx2
from pydantic import BaseModel, ConfigDict, Field

from gleitzeit import Plugin
from gleitzeit.errors import ConfigError
from gleitzeit.kinds import HttpSettings
from gleitzeit.wire.client import MAX_CONNECTIONS, tls_context
from gleitzeit_plugin_http_fast.transport import FastTransport

__all__ = ["Fast", "FastConfig"]


class FastConfig(BaseModel):
    """What `[host.http]` does not say already."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    keepalive: float = Field(default=30.0, gt=0, description="seconds that an idle connection is kept")


class Fast(Plugin):
    """Supplies an HTTP transport that costs a fraction of the stock one."""

    Config: ClassVar = FastConfig

    def transport(self, http: HttpSettings) -> httpx2.AsyncBaseTransport:
        """A transport that holds to `[host.http]`; raises `ConfigError` for settings that cannot hold."""
        context = tls_context(http)
        try:
            return FastTransport(
                context,
                proxy=http.proxy,
                max_connections=http.max_connections or MAX_CONNECTIONS,
                keepalive=self.config.keepalive,
            )
        except (ValueError, httpx2.InvalidURL) as error:
            raise ConfigError(
                f"[host.http]: the proxy cannot be used by {self.context.name!r}: {type(error).__name__}",
                hint="name an http:// or https:// proxy, in `proxy` or in the environment;"
                " for others, remove the entry under [http]",
            ) from None
