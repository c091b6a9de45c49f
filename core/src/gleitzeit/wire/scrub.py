"""Foreign text made fit for an error message: short, printable, and without keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["scrub"]

_MASK: Final = "***"
#: Longer pieces than this of a known secret are taken for the secret.
_PIECE: Final = 8
_LOOK_ALIKE: Final = re.compile(
    r"""
    \b(?:bearer|basic)\s+[^\s'"]{6,}                                  # an authorization header
  | \b(?:sk|pk|rk|gsk|xai|hf|r8|nvapi|ghp|pplx|csk|tgp|fw|key)[-_]  # keys by their habitual prefixes
    [\w.*\u2026-]{6,}
  | \bAIza[\w-]{10,}
  | \beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]+)?                               # a JSON web token
  | (?<=[?&]key=)[^\s&'"]+
  | (?<=key\ provided:\ )\S+
    """,
    re.I | re.X,
)
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def scrub(text: str, secrets: Iterable[str] = (), *, limit: int = 300) -> str:
    """`text` in one line of at most `limit` characters, with `secrets` and look-alikes masked.

    Longer pieces of a secret are masked with the word they stand in: servers like to quote the
    head or tail of a key.
    """
    text = text[: 20 * limit]
    for secret in secrets:
        if not secret:
            continue
        text = text.replace(secret, _MASK)
        if len(secret) >= 2 * _PIECE:
            for piece in (secret[:_PIECE], secret[-_PIECE:]):
                if piece in text:
                    text = re.sub(rf"\S*{re.escape(piece)}\S*", _MASK, text)
    text = _BLANK.sub(" ", _LOOK_ALIKE.sub(_MASK, text)).strip()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
