"""httpx2 alone: the body as a dict, the answer as a dict, server-sent events split by hand."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.peers import chat


class Bare:
    """The client that our provider uses, and nothing around it."""

    async def open(self, url: str) -> None:
        import httpx2
        import msgspec

        self._client = httpx2.AsyncClient(
            limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=1000),
            timeout=httpx2.Timeout(None, connect=5),
            trust_env=False,
        )
        self._url = url + "/chat/completions"
        self._headers = {"Authorization": "Bearer none", "Content-Type": "application/json"}
        self._encode, self._decode = msgspec.json.encode, msgspec.json.decode

    def _body(self, **more: Any) -> bytes:
        return self._encode(chat(**more))

    async def call(self) -> str:
        response = await self._client.post(self._url, content=self._body(), headers=self._headers)
        response.raise_for_status()
        text: str = self._decode(response.content)["choices"][0]["message"]["content"]
        return text

    async def stream(self) -> str:
        texts: list[str] = []
        left = b""
        body = self._body(stream=True)
        async with self._client.stream("POST", self._url, content=body, headers=self._headers) as response:
            response.raise_for_status()
            async for data in response.aiter_raw():
                *events, left = (left + data).split(b"\n\n")
                for event in events:
                    line = event.removeprefix(b"data: ")
                    if line != b"[DONE]":
                        texts.append(self._decode(line)["choices"][0]["delta"].get("content", ""))
        return "".join(texts)

    async def close(self) -> None:
        await self._client.aclose()
