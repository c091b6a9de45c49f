"""What a server says without being asked: changes, news of resources, log messages."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

__all__ = ["LEVELS", "Ears"]

#: The protocol's levels, in ours.
LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}
_ORDER: Final = tuple(LEVELS)
#: Characters of a log message that are kept.
LONGEST: Final = 2000
#: Secrets that are looked for, those in use and those before them.
HIDDEN: Final = 100


class Ears:
    """Hears for all sessions of one server; outlives them.

    `on_changed` takes "tools", "resources" or "prompts", `on_updated` the URI of a resource.
    """

    def __init__(
        self,
        name: str,
        logger: logging.Logger,
        *,
        on_changed: Callable[[str], None],
        on_updated: Callable[[str], None],
        level: str | None,
        secrets: Iterable[str],
    ) -> None:
        self._name = name
        self._logger = logger
        self.changed = on_changed
        self.updated = on_updated
        #: The least level of log messages that is wanted; None for no messages.
        self.level = level
        #: The resources whose changes somebody wants to hear of.
        self.subscribed: set[str] = set()
        self._secrets = tuple(secrets)

    def apart(self) -> Ears:
        """For the sessions of one principal: without the subscriptions of others."""
        return Ears(
            self._name,
            self._logger,
            on_changed=self.changed,
            on_updated=self.updated,
            level=self.level,
            secrets=self._secrets,
        )

    def hide(self, secrets: Iterable[str]) -> None:
        """These may not be quoted either."""
        self._secrets = tuple(dict.fromkeys((*secrets, *self._secrets)))[:HIDDEN]

    def logged(self, params: Mapping[str, Any]) -> None:
        """A log message of the server's, to the host's log under the server's name."""
        word = params.get("level")
        if self.level is None or not isinstance(word, str) or word not in LEVELS:
            return
        if _ORDER.index(word) < _ORDER.index(self.level) or not self._logger.isEnabledFor(LEVELS[word]):
            return
        data = params.get("data")
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = "".join(each if each.isprintable() else " " for each in text[:LONGEST])
        source = params.get("logger")
        about = f" ({source[:100]})" if isinstance(source, str) else ""
        self._logger.log(LEVELS[word], "MCP server %r%s says: %s", self._name, about, text)
