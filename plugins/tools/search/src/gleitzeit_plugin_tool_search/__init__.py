"""Finds tools by what they do, for people and for models whose context is small."""

from gleitzeit_plugin_tool_search.config import ToolSearchConfig
from gleitzeit_plugin_tool_search.provider import ToolSearch

__all__ = ["ToolSearch", "ToolSearchConfig"]
