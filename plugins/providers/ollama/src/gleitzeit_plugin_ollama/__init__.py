"""Ollama as a provider of Gleitzeit, through its native API."""

from gleitzeit_plugin_ollama.config import OllamaConfig
from gleitzeit_plugin_ollama.provider import Ollama

__all__ = ["Ollama", "OllamaConfig"]
