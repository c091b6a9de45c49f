"""any-llm as its documentation advises for many calls: one provider object that keeps its client."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.benchmarks.peers import chat


class AnyLLM:
    """`AnyLLM.create("openai", …)`, used again for every call, retries off."""

    async def open(self, url: str) -> None:
        make = import_module("any_llm").AnyLLM.create
        self._provider: Any = make("openai", api_key="none", api_base=url, max_retries=0)

    async def call(self) -> str:
        answer = await self._provider.acompletion(**chat())
        return answer.choices[0].message.content or ""

    async def stream(self) -> str:
        chunks = await self._provider.acompletion(**chat(stream=True))
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def close(self) -> None:
        await self._provider.client.close()
