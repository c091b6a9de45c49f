"""What of a host is served, and under which names."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from attrs import field, frozen

__all__ = ["ServeOptions"]


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@frozen(kw_only=True)
class ServeOptions:
    """What of a host is served; patterns are those of the shell, over names such as `git/log`.

    `tools` may also name toolsets. With `models` empty there are no tools for models. The names of
    instances in `bare` (a pattern, too) are left out of the names of what they offer: their tools go by
    their own names, unless such a name is taken.
    """

    name: str = "gleitzeit"
    instructions: str | None = None
    tools: tuple[str, ...] = field(default=("*",), converter=_words)
    resources: tuple[str, ...] = field(default=("*",), converter=_words)
    prompts: tuple[str, ...] = field(default=("*",), converter=_words)
    models: tuple[str, ...] = field(default=("*",), converter=_words)
    bare: tuple[str, ...] = field(default=(), converter=_words)
    #: Secrets of 32 bytes and more, the same in all processes of one service, so that a client of 2026-07-28
    #: may go on with a call in another one. The first seals, all open; empty: a key of this process alone.
    state_keys: tuple[str, ...] = field(default=(), converter=_words, repr=False)
    #: Whose the requests of clients are that bring no token with a name, such as the one client of stdio.
    principal: str | None = None
    #: Entries of a list in one answer.
    page: int = 500
    #: Requests that may be answered at once; further ones are refused.
    max_requests: int = 1024

    def serves_model(self, name: str) -> bool:
        """May clients ask this model, alias or route?"""
        return matches(name, self.models)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Does one of the patterns mean this name?"""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
