"""Asks every implementation of a hook, each for itself: one that raises or hangs spoils nothing."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Final

from gleitzeit.errors import DeadlineError, PluginError
from gleitzeit.values import Outcome

__all__ = ["ask", "broadcast", "drain"]

#: How long a hook that was told to stop may take to do so.
GRACE: Final = 0.25


async def drain(answer: Any) -> Any:
    """What a hook answered, awaited and collected: a tuple where it is iterable."""
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, AsyncIterable):
        return tuple([item async for item in answer])
    if isinstance(answer, Iterable) and not isinstance(answer, (str, bytes)):
        return tuple(answer)
    return answer


async def ask(plugin: str, hook: str, call: Callable[[], Any], timeout: float) -> Outcome[Any]:
    """One implementation's answer, or its failure, within `timeout` seconds."""

    async def answer() -> Any:
        return await drain(call())

    task = asyncio.ensure_future(answer())
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
    except BaseException:
        task.cancel()
        raise
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=GRACE)
        return Outcome(plugin, error=_late(plugin, hook, timeout))
    try:
        return Outcome(plugin, value=task.result())
    except Exception as error:  # noqa: BLE001 - one hook must not spoil the others
        return Outcome(plugin, error=error)
    except asyncio.CancelledError:
        return Outcome(
            plugin, error=PluginError(f"hook {hook} of {plugin!r} cancelled itself", provider=plugin)
        )


async def broadcast(
    hook: str, calls: Iterable[tuple[str, Callable[[], Any]]], timeout: float
) -> list[Outcome[Any]]:
    """Every implementation's answer, asked at once, in the order of `calls`."""
    return list(await asyncio.gather(*(ask(plugin, hook, call, timeout) for plugin, call in calls)))


def _late(plugin: str, hook: str, timeout: float) -> DeadlineError:
    return DeadlineError(
        f"hook {hook} of {plugin!r} gave no answer within {timeout:g} s",
        hint="see the plugin, or raise host.hook_timeout",
        provider=plugin,
    )
