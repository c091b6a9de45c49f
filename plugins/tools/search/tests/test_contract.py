"""The search keeps the contract that every provider keeps."""

from __future__ import annotations

import pytest
from gleitzeit_plugin_tool_search import ToolSearch

from gleitzeit.errors import InvalidRequestError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.values import ToolCall

NO_WIRE = "it searches in this process: there is no wire"


class TestToolSearch(ProviderContract):
    @pytest.fixture
    def case(self) -> ProviderCase:
        nothing = "Nothing found among 0 tools; try other words."
        return ProviderCase(
            ToolSearch,
            request=ToolCall({"query": "read files"}).to("search_tools"),
            text=nothing,
            others=((ToolCall({"query": "write files"}).to("search_tools"), nothing),),
            failing=ToolCall({"query": " "}).to("search_tools"),
            failure=InvalidRequestError,
            streams=False,
            without={
                "connections_are_given_back": NO_WIRE,
                "models_are_listed": "it has tools, no models",
                "secrets_stay_secret": "it has no secret",
                "whole_answer_is_complete": "the answer of a tool has no finish reason",
            },
        )
