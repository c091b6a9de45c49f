"""Serving a host over MCP; importing this imports the SDK, which takes half a second."""

from gleitzeit_plugin_mcp.serve.options import ServeOptions
from gleitzeit_plugin_mcp.serve.server import McpServer

__all__ = ["McpServer", "ServeOptions"]
