"""Gemini as a provider of Gleitzeit, by the Gemini API or Vertex AI."""

from gleitzeit_plugin_gemini.config import GeminiConfig
from gleitzeit_plugin_gemini.provider import Gemini

__all__ = ["Gemini", "GeminiConfig"]
