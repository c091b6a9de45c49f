"""Every fault that an MCP server can show, provoked for real, and what a caller of the host sees of it."""
