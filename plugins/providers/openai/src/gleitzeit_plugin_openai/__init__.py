"""OpenAI, Azure OpenAI, and servers that speak their API, as providers of Gleitzeit."""

from gleitzeit_plugin_openai.azure import AzureConfig, AzureOpenAI
from gleitzeit_plugin_openai.config import OpenAIConfig
from gleitzeit_plugin_openai.provider import OpenAI

__all__ = ["AzureConfig", "AzureOpenAI", "OpenAI", "OpenAIConfig"]
