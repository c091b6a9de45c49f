"""Anthropic, and servers that speak its Messages API, as a provider of Gleitzeit."""

from gleitzeit_plugin_anthropic.config import AnthropicConfig
from gleitzeit_plugin_anthropic.marks import mark
from gleitzeit_plugin_anthropic.provider import Anthropic

__all__ = ["Anthropic", "AnthropicConfig", "mark"]
