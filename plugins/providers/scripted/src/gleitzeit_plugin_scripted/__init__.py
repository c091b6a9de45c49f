"""Models that answer from a script file: a test double and an embedded default, never a language model."""

from gleitzeit_plugin_scripted.config import ScriptedConfig
from gleitzeit_plugin_scripted.provider import Scripted
from gleitzeit_plugin_scripted.seen import Seen

__all__ = ["Scripted", "ScriptedConfig", "Seen"]
