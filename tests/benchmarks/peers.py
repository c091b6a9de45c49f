"""The clients that are compared: each makes the same call and reads the same stream in its own way.

A further peer is one class here and its entry in `PEERS`.
"""

from __future__ import annotations

from typing import Any, Protocol

from tests.benchmarks.machine import installed

MODEL, PROMPT = "bench", "Say a hundred words."


class Peer(Protocol):
    """A client. Its libraries are imported in `open`, in a process that no other peer shares."""

    #: What is shown, and the distribution whose version is shown beside it.
    title: str
    distribution: str

    async def open(self, url: str) -> None:
        """Be ready for calls to the server at `url`, which ends in `/v1`."""

    async def call(self) -> str:
        """The text of a whole answer."""

    async def stream(self) -> str:
        """The text of a streamed answer, read chunk by chunk."""

    async def close(self) -> None:
        """Free everything."""


class Gleitzeit:
    """Host and openai plugin, as an application uses them."""

    title = "gleitzeit-plugin-openai"
    distribution = "gleitzeit-plugin-openai"

    async def open(self, url: str) -> None:
        from gleitzeit import Chat, Host, TextDelta

        config = {"plugin": "openai", "base_url": url, "api_key": "none", "models": [MODEL]}
        self._host = Host({"providers": {"bench": config}}, environ={})
        await self._host.open()
        self._chat, self._delta = Chat, TextDelta

    async def call(self) -> str:
        return (await self._host.call(self._chat(PROMPT).to(f"bench/{MODEL}"))).text

    async def stream(self) -> str:
        async with self._host.stream(self._chat(PROMPT).to(f"bench/{MODEL}")) as stream:
            return "".join([event.text async for event in stream if isinstance(event, self._delta)])

    async def close(self) -> None:
        await self._host.close()


class Bare:
    """httpx2 alone: the body as a dict, the answer as a dict, server-sent events split by hand."""

    title = "bare httpx2"
    distribution = "httpx2"

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
        return self._encode({"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], **more})

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


class OpenAISDK:
    """The vendor's SDK."""

    title = "openai SDK"
    distribution = "openai"

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


PEERS: dict[str, type[Peer]] = {"gleitzeit": Gleitzeit, "httpx2": Bare, "openai": OpenAISDK}


def version_of(peer: type[Peer]) -> str | None:
    """The installed version of a peer, None where it is not installed."""
    return installed(peer.distribution)
