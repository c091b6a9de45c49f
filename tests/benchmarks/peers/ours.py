"""Host and openai plugin, as an application uses them."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.peers import MODEL, PROMPT

#: Nothing is left at "none": wide enough to refuse no call.
BOUNDS: dict[str, Any] = {
    "bulkhead": {"max_calls": 10_000},
    "rate_limit": {"requests_per_minute": 1e9, "tokens_per_minute": 1e12},
}


class Gleitzeit:
    """The full corridor with everything on: retry, breaker, bulkhead, rate limits, watchdog, statistics."""

    http: dict[str, Any] | None = None

    async def open(self, url: str) -> None:
        from gleitzeit import Chat, Host, TextDelta

        provider = {"plugin": "openai", "base_url": url, "api_key": "none", "models": [MODEL], **BOUNDS}
        config: dict[str, Any] = {"providers": {"bench": provider}}
        if self.http is not None:
            config["http"] = self.http
        self._host = Host(config, environ={})
        await self._host.open()
        self._chat, self._delta = Chat, TextDelta

    async def call(self) -> str:
        return (await self._host.call(self._chat(PROMPT).to(f"bench/{MODEL}"))).text

    async def stream(self) -> str:
        async with self._host.stream(self._chat(PROMPT).to(f"bench/{MODEL}")) as stream:
            return "".join([event.text async for event in stream if isinstance(event, self._delta)])

    async def close(self) -> None:
        await self._host.close()


class Fast(Gleitzeit):
    """The same on the transport of gleitzeit-plugin-http-fast."""

    http: dict[str, Any] | None = {"fast": {}}  # noqa: RUF012  # read, never changed

    async def open(self, url: str) -> None:
        await super().open(url)
        transport = self._host._client()._transport
        if not type(transport).__module__.startswith("gleitzeit_plugin_http_fast"):
            raise RuntimeError(f"the host does not use http-fast but {type(transport).__name__}")
