"""Where a configured server is, with the environment that its process gets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Final

from gleitzeit.kinds import Endpoint
from gleitzeit_plugin_mcp.config import McpConfig

__all__ = ["BASE", "endpoint", "hidden"]

#: The variables that a server inherits; everything else it must be given.
BASE: Final = tuple(
    (
        "APPDATA COMSPEC HOMEDRIVE HOMEPATH LOCALAPPDATA PATH PATHEXT PROGRAMDATA PROGRAMFILES SYSTEMDRIVE "
        "SYSTEMROOT TEMP TMP USERNAME USERPROFILE"
        if os.name == "nt"
        else "HOME LANG LC_ALL LC_CTYPE LOGNAME PATH SHELL TERM TMPDIR TZ USER"
    ).split()
)

_FLAG: Final = re.compile(
    r"--?[\w-]*(key|token|secret|passw|pwd|credential|auth|header)[\w-]*", re.IGNORECASE
)
_SCHEME: Final = re.compile(r"(?:Bearer|Basic|Token) +(\S+)", re.IGNORECASE)
#: What a person need not hide: numbers, words, paths, addresses without a password.
_PLAIN: Final = re.compile(r"[\d.,:]*|[A-Za-z_ -]*|(?:[A-Za-z]:)?[/\\.~].*|https?://[^@]*", re.DOTALL)


def endpoint(name: str, config: McpConfig, principal: str | None = None) -> Endpoint:
    """The endpoint of server `name` with the credentials of `principal`, None for everybody's.

    Reads the host's environment for the base.
    """
    base = {
        key: os.environ[key] for key in BASE if key in os.environ and not os.environ[key].startswith("()")
    }
    secrets = [*hidden(config)]
    if principal is not None:
        if (theirs := config.per_principal) is not None:
            values = [*theirs.headers.values(), *theirs.env.values()]
            secrets += [*values, *_bare(values)]
        config = config.personal()
        secrets += hidden(config)
    headers, options = dict(config.headers), dict(config.options)
    if config.auth is not None:
        named = {key.lower() for key in headers}  # two headers of one name would both be sent
        headers |= {key: text for key, text in config.auth.headers().items() if key.lower() not in named}
        if config.auth.type == "oauth":
            options["oauth"] = dict(config.auth.model_extra or {})
    command = () if config.command is None else (os.path.expanduser(config.command), *config.args)
    return Endpoint(
        name,
        command=command,
        env={**base, **config.env},
        cwd=None if config.cwd is None else os.path.expanduser(config.cwd),
        url=config.url,
        headers=headers,
        sandbox=config.sandbox,
        options={**options, "secrets": tuple(dict.fromkeys(secrets))},
        principal=principal,
    )


def hidden(config: McpConfig) -> Iterator[str]:
    """Values of the entry that must not be quoted from what a server writes."""
    auth = {} if config.auth is None else config.auth.headers()
    yield from _secret([*config.env.values(), *config.headers.values(), *_bare(config.headers.values())])
    yield from auth.values()
    yield from _bare(auth.values())
    follows = False
    for argument in config.args:
        flag, _, value = argument.partition("=")
        if _FLAG.fullmatch(flag) and value:
            yield value
        elif follows and not argument.startswith("-"):
            yield argument
        follows = _FLAG.fullmatch(argument) is not None


def _bare(values: Iterable[str]) -> Iterator[str]:
    """Tokens without the word for what they are, as whoever quotes one may leave that out."""
    return (match[1] for value in values if (match := _SCHEME.fullmatch(value)) is not None)


def _secret(values: Iterable[str]) -> Iterator[str]:
    return (value for value in values if len(value) >= 6 and not _PLAIN.fullmatch(value))
