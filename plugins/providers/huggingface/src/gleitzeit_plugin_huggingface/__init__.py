"""Models of Hugging Face as providers of Gleitzeit: on this machine, and by the hosted router."""

from gleitzeit_plugin_huggingface.config import HuggingFaceConfig
from gleitzeit_plugin_huggingface.provider import HuggingFace
from gleitzeit_plugin_huggingface.router import HuggingFaceRouter, RouterConfig

__all__ = ["HuggingFace", "HuggingFaceConfig", "HuggingFaceRouter", "RouterConfig"]
