"""The vendor's SDK, one client for all calls."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.peers import MODEL, PROMPT


class OpenAISDK:
    """`AsyncOpenAI` with its own retries off."""

    async def open(self, url: str) -> None:
        import openai

        self._client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        self._messages: Any = [{"role": "user", "content": PROMPT}]

    async def call(self) -> str:
        answer = await self._client.chat.completions.create(model=MODEL, messages=self._messages)
        return answer.choices[0].message.content or ""

    async def stream(self) -> str:
        chunks = await self._client.chat.completions.create(model=MODEL, messages=self._messages, stream=True)
        async with chunks:
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def close(self) -> None:
        await self._client.close()
