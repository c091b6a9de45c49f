"""Reads a configuration from everywhere it may come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.config.implicit import implicit
from gleitzeit.config.model import Config
from gleitzeit.errors import ConfigError
from gleitzeit.records import replace

if TYPE_CHECKING:
    from gleitzeit.discovery import Index

__all__ = ["ENVIRONMENT", "find", "load"]

#: What the names of variables that set keys begin with.
ENVIRONMENT: Final = "GLEITZEIT__"
_NAMES: Final = ("gleitzeit.toml", "gleitzeit.json")


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    index: Index | None = None,
) -> Config:
    """The configuration; raises one `ConfigError` that lists every problem.

    The file is `path`, else the one that `GLEITZEIT_CONFIG` names, else `gleitzeit.toml` or
    `gleitzeit.json` in the working directory, else in the user's configuration directory; none is
    an empty configuration. `data` is read instead of a file. Each of these goes over what
    stands before it: files of foreign servers, the file, its profile `default`, `profile` (else
    `GLEITZEIT_PROFILE`), environment variables `GLEITZEIT__SECTION__NAME__KEY`, `overrides`. Tables
    merge, anything else replaces. `${GLEITZEIT_CONFIG_DIR}` is the file's directory unless it is set.

    With an `index`, the manifests of installed plugins say what type a key has and which
    environment variables fill it, and installed providers that need no configuration have an
    instance each.
    """
    environ = os.environ if environ is None else environ
    profile = profile or environ.get("GLEITZEIT_PROFILE") or None
    file = find(path, environ) if data is None else None
    if data is not None and path is not None:
        raise ConfigError(f"both data and the file {os.fspath(path)} are given", hint="give one of them")
    if file is None and not (
        data or profile or overrides or any(name.startswith(ENVIRONMENT) for name in environ)
    ):
        config = Config(index=index)
    else:
        from gleitzeit.config.assemble import assemble  # with what it needs, longer than most listings take

        config = assemble(file, data, profile, environ, overrides or {}, index)
    if index is None:
        return config
    return replace(config, instances=(*config.instances, *implicit(config.instances, index, environ)))


def find(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> str | None:
    """The file to read: `path`, `GLEITZEIT_CONFIG`, the working directory's, the user's; None without any.

    In one directory TOML goes before JSON. Raises `ConfigError` where a named file is absent.
    """
    if path is not None:
        return _named(os.fspath(path), "")
    if environ.get("GLEITZEIT_CONFIG"):
        return _named(environ["GLEITZEIT_CONFIG"], " (environment variable GLEITZEIT_CONFIG)")
    for directory in ("", *_user_directories(environ)):
        for name in _NAMES:
            if os.path.isfile(os.path.join(directory, name)):
                return os.path.join(directory, name)
    return None


def _named(path: str, origin: str) -> str:
    if os.path.isdir(path):
        raise ConfigError(f"{path}{origin} is a directory, not a file")
    if not os.path.exists(path):
        raise ConfigError(f"there is no file {path}{origin}")
    return path


def _user_directories(environ: Mapping[str, str]) -> list[str]:
    """Where the user's own configuration lies on this system."""
    if sys.platform == "win32":
        roots = [environ.get("APPDATA")]
    else:
        home = environ.get("HOME")
        roots = [environ.get("XDG_CONFIG_HOME") or (home and os.path.join(home, ".config"))]
        if sys.platform == "darwin" and home:
            roots.append(os.path.join(home, "Library", "Application Support"))
    return [os.path.join(root, "gleitzeit") for root in roots if root]
