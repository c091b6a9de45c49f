"""Who may use which names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase, translate
from typing import Final

from gleitzeit_plugin_guard_limits.config import Rules

__all__ = ["ANONYMOUS", "DEFAULT", "Section", "sections_for"]

ANONYMOUS: Final = "anonymous"
DEFAULT: Final = "default"


class Section:
    """One set of rules with the key in the configuration where it stands."""

    def __init__(self, key: str, rules: Rules) -> None:
        self.key = key
        self.rules = rules
        self._lists = {
            "models": _Matcher(rules.allow_models, rules.deny_models),
            "tools": _Matcher(rules.allow_tools, rules.deny_tools),
        }

    def refusal(self, kind: str, instance: str, name: str) -> str | None:
        """Why `name` may not be used as one of the `kind` "models" or "tools"; None if it may."""
        return self._lists[kind].refusal(f"{self.key}.", kind, instance, name)


class _Matcher:
    """The compiled globs of two lists."""

    def __init__(self, allow: Sequence[str] | None, deny: Sequence[str]) -> None:
        self._deny = [
            (pattern, re.compile(translate(pattern)), re.compile(translate(_fold(pattern))))
            for pattern in deny
        ]
        # `(?!)` never matches: an empty list of allowed names allows nothing.
        self._allow = None if allow is None else re.compile("|".join(map(translate, allow)) or "(?!)")

    def refusal(self, key: str, kind: str, instance: str, name: str) -> str | None:
        """The list that does not let the name pass, by its key, or None."""
        full, folded = f"{instance}/{name}", f"{_fold(instance)}/{_fold(name)}"
        for pattern, exactly, loosely in self._deny:
            if exactly.match(full) or loosely.match(folded) or loosely.match(full.casefold()):
                return f"{key}deny_{kind} has {pattern!r}"
        if self._allow is not None and not self._allow.match(full):
            return f"{key}allow_{kind} does not have it"
        return None


def sections_for(principals: Mapping[str, Rules], key: str, principal: str) -> tuple[Section, ...] | None:
    """The sections that hold for `principal` beside those for everybody; None where nobody foresaw it.

    The exact name is strongest, then all globs that match, together, then `default`. Without any
    section there is nothing to hold.
    """
    if not principals:
        return ()

    def section(name: str) -> Section:
        return Section(f"{key}.{name}", principals[name])

    if principal in principals and principal != DEFAULT and not _is_glob(principal):
        return (section(principal),)
    found = tuple(section(name) for name in principals if _is_glob(name) and fnmatchcase(principal, name))
    if found:
        return found
    return (section(DEFAULT),) if DEFAULT in principals else None


def _is_glob(name: str) -> bool:
    return any(char in name for char in "*?[")


def _fold(name: str) -> str:
    """Vendors differ in how exactly they read a name: a denial must hold for every spelling."""
    return name.casefold().strip()
