"""The contract that every provider keeps, kept by a server that serves a model."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gleitzeit_plugin_mcp import McpConfig, McpProvider
from gleitzeit_plugin_mcp_stdio import StdioConfig, StdioTransport

from gleitzeit.errors import ServerFaultError
from gleitzeit.testing import FakeContext, ProviderCase, ProviderContract
from gleitzeit.values import Chat

CHAT = {"type": "object", "properties": {"model": {"type": "string"}, "messages": {"type": "array"}}}


class Standing(McpProvider):
    """A provider whose session stands before the suite looks at what a call leaves behind."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        async with super().lifespan():
            await self._pool.members[0].supervisor.ready()
            yield


@pytest.mark.feature("S002-21")
class TestContract(ProviderContract):
    thorough = True

    @pytest.fixture(params=["legacy", "modern"])
    def case(
        self,
        request: pytest.FixtureRequest,
        config: Callable[..., McpConfig],
        heard: Callable[..., list[dict[str, Any]]],
    ) -> ProviderCase:
        server = {"era": request.param, "tools": {"chat": CHAT}, "echoes": True, "marks": {"unheard_of": [1]}}

        def context() -> FakeContext:
            stdio = StdioTransport(StdioConfig(grace=0.5), FakeContext("stdio"))
            return FakeContext("under-test", drivers={("transport", "stdio"): stdio})

        return ProviderCase(
            Standing,
            request=Chat("one two three").to("m"),
            text="one two three",
            others=((Chat("four").to("m"), "four"), (Chat("five six").to("m"), "five six")),
            config=config(server, models=("m",), env={"API_KEY": "canary-key"}),
            silent=Chat("be silent").to("m"),
            halting=Chat("and then halt").to("m"),
            failing=Chat("fail").to("m"),
            failure=ServerFaultError,
            breaking=Chat("and then die").to("m"),
            strange=Chat("one two three").to("m"),
            without={
                "retry_after_is_told": "errors of JSON-RPC name no time to come again",
                "cut_stream_is_an_error": "an answer is one message: it is whole, or the wire is lost",
                "connections_are_given_back": "all calls share one session",
                "ragged_answer_is_the_same": "lines are cut and joined in the tests of each wire",
            },
            sent=lambda _: len(heard("tools/call")),
            left=lambda _: len(heard("notifications/cancelled")),
            secret="canary-key",
            context=context,
        )
