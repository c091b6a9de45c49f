"""What is configured: read from files, profiles, environment and code, with the place of every value."""

from typing import TYPE_CHECKING

from gleitzeit.config.load import load
from gleitzeit.config.model import (
    Config,
    HostConfig,
    HttpConfig,
    InstanceConfig,
    RouteConfig,
    Source,
    ToolsetConfig,
)

if TYPE_CHECKING:
    from gleitzeit.config.editor import schema
    from gleitzeit.config.secrets import SecretRef, SecretResolver
    from gleitzeit.config.validation import validate
else:

    def __getattr__(name):
        """Load the rest when it is first used: listings do without."""
        if name not in _WHERE:
            raise AttributeError(f"module 'gleitzeit.config' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"gleitzeit.config.{_WHERE[name]}"), name)
        return value


_WHERE = {
    "SecretRef": "secrets",
    "SecretResolver": "secrets",
    "schema": "editor",
    "validate": "validation",
}

__all__ = [
    "Config",
    "HostConfig",
    "HttpConfig",
    "InstanceConfig",
    "RouteConfig",
    "SecretRef",
    "SecretResolver",
    "Source",
    "ToolsetConfig",
    "load",
    "schema",
    "validate",
]
