"""The versions of the core: of the distribution, and of the contract with plugins."""

from __future__ import annotations

from typing import Final

__all__ = ["API_VERSION", "__version__"]

__version__: Final = "0.1.0"
#: Minors only add: a plugin written for 1.0 runs on every 1.x.
API_VERSION: Final = "1.0"
