"""litellm, by its function and by its Router, with what saves it work: no retries, no logging of streams."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from tests.benchmarks.peers import MODEL, chat


class Litellm:
    """`litellm.acompletion`, which keeps its clients between calls."""

    async def open(self, url: str) -> None:
        litellm: Any = import_module("litellm")
        litellm.suppress_debug_info = True
        litellm.disable_streaming_logging = True
        self._litellm = litellm
        self._more: dict[str, Any] = {
            "model": f"openai/{MODEL}",
            "api_base": url,
            "api_key": "none",
            "max_retries": 0,
        }
        self._ask = self._litellm.acompletion

    async def call(self) -> str:
        answer = await self._ask(**{**chat(), **self._more})
        return answer.choices[0].message.content or ""

    async def stream(self) -> str:
        chunks = await self._ask(**{**chat(stream=True), **self._more})
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def close(self) -> None:
        await asyncio.sleep(0)
        await self._litellm.close_litellm_async_clients()


class Router(Litellm):
    """`litellm.Router` with one deployment, and with retries and cool-downs off."""

    async def open(self, url: str) -> None:
        await super().open(url)
        deployment = {"model_name": MODEL, "litellm_params": self._more}
        router = self._litellm.Router([deployment], num_retries=0, disable_cooldowns=True)
        self._ask, self._more = router.acompletion, {}
