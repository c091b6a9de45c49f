"""One module a vendor; each names its rows in `VENDORS`."""

from __future__ import annotations

import importlib
import pkgutil

from tests.replay.vendor import Vendor

__all__ = ["found"]


def found() -> tuple[list[type[Vendor]], dict[str, str]]:
    """All rows, and the modules that cannot be loaded, with the reason: some package is not installed."""
    rows: list[type[Vendor]] = []
    absent: dict[str, str] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        try:
            rows += importlib.import_module(f"{__name__}.{module}").VENDORS
        except ModuleNotFoundError as error:
            absent[module] = f"{error.name} is not installed"
    return rows, absent
