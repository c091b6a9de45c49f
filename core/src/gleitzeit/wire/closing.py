"""Closing that is not cut short by whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["surely"]


async def surely(closing: Coroutine[Any, Any, None], hurry: Callable[[], object] | None = None) -> None:
    """Run to the end, however often the caller is cancelled meanwhile; its cancellation follows after.

    `hurry` is called when that happens: somebody has no time left.
    """
    task = asyncio.create_task(closing)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
            if hurry is not None:
                hurry()
        except BaseException:  # noqa: BLE001 - raised again by the last line
            break
    if cancelled is not None:
        raise cancelled
    task.result()
