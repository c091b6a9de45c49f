"""MCP over the standard streams of a local process, for Gleitzeit."""

from gleitzeit_plugin_mcp_stdio.transport import StdioConfig, StdioTransport

__all__ = ["StdioConfig", "StdioTransport"]
