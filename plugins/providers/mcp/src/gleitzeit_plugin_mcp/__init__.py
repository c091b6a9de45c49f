"""MCP servers as Gleitzeit providers."""

from gleitzeit_plugin_mcp.config import McpConfig
from gleitzeit_plugin_mcp.provider import McpProvider

__all__ = ["McpConfig", "McpProvider"]
