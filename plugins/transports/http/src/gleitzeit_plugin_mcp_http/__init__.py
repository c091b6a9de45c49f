"""MCP over HTTP in all its dialects, for Gleitzeit."""

from gleitzeit_plugin_mcp_http.settings import McpHttpConfig
from gleitzeit_plugin_mcp_http.tokens import TokenStore
from gleitzeit_plugin_mcp_http.transport import McpHttpTransport

__all__ = ["McpHttpConfig", "McpHttpTransport", "TokenStore"]
