"""A fast HTTP transport for the host's one client."""

from gleitzeit_plugin_http_fast.plugin import Fast, FastConfig
from gleitzeit_plugin_http_fast.transport import FastTransport

__all__ = ["Fast", "FastConfig", "FastTransport"]
