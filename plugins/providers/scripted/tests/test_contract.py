"""The scripted provider keeps the contract that every provider keeps."""

from __future__ import annotations

from typing import Any

import pytest
from gleitzeit_plugin_scripted import Scripted

from gleitzeit.errors import OverloadedError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.values import Chat

RULES: list[dict[str, Any]] = [
    {"contains": "refuse", "error": "overloaded"},
    {"contains": "silent", "fault": "stall"},
    {"contains": "halt", "text": "some words", "fault": {"kind": "stall", "after": 1}},
    {"contains": "cut", "text": "some words", "fault": {"kind": "truncate", "after": 1}},
    {"thinking": "hm", "text": "you said {prompt}, friend", "delay_ms": 1},
]


class TestScripted(ProviderContract):
    @pytest.fixture
    def case(self) -> ProviderCase:
        def ask(text: str) -> Any:
            return Chat(text).to("m")

        return ProviderCase(
            Scripted,
            config={"answers": {"m": {"usage": "words", "rules": RULES}}},
            request=ask("hi"),
            text="you said hi, friend",
            others=((ask("ho"), "you said ho, friend"), (ask("hu"), "you said hu, friend")),
            silent=ask("silent"),
            halting=ask("halt"),
            truncated=ask("cut"),
            failing=ask("refuse"),
            failure=OverloadedError,
            sent=lambda provider: provider.seen.calls,
            left=lambda provider: provider.seen.abandoned,
        )
