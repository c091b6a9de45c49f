"""The scripted provider keeps the contract that every provider keeps."""

from __future__ import annotations

from typing import Any

import pytest
from gleitzeit_plugin_scripted import Scripted

from gleitzeit.errors import OverloadedError, ServerFaultError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.values import Chat

RULES: list[dict[str, Any]] = [
    {"contains": "refuse", "error": {"code": "overloaded", "retry_after": 7}},
    {"contains": "break", "text": "some words", "error": {"code": "server_fault", "after": 1}},
    {"contains": "silent", "fault": "stall"},
    {"contains": "halt", "text": "some words", "fault": {"kind": "stall", "after": 1}},
    {"contains": "cut", "text": "some words", "fault": {"kind": "truncate", "after": 1}},
    {"thinking": "hm", "text": "you said {prompt}, friend", "delay_ms": 1},
]


IN_PROCESS = "a script is played in this process: there is no wire"


@pytest.mark.feature("S002-21")
class TestScripted(ProviderContract):
    thorough = True

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
            retry_after=7,
            breaking=ask("break"),
            broken=ServerFaultError,
            without={
                "connections_are_given_back": IN_PROCESS,
                "ragged_answer_is_the_same": IN_PROCESS,
                "unknown_fields_survive": IN_PROCESS,
                "secrets_stay_secret": "it has no secret",
            },
            sent=lambda provider: provider.seen.calls,
            left=lambda provider: provider.seen.abandoned,
        )
