"""OpenAI, and servers that speak its API, as a provider of Gleitzeit."""

from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.provider import OpenAI

__all__ = ["OpenAI", "OpenAIConfig"]
