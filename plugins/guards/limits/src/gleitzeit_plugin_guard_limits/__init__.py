"""A guard that allows and denies calls by principal, name, size, arguments and data class."""

from gleitzeit_plugin_guard_limits.config import LimitsConfig
from gleitzeit_plugin_guard_limits.guard import Limits

__all__ = ["Limits", "LimitsConfig"]
