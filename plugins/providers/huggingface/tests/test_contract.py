"""The contract suite, against a worker process."""

from __future__ import annotations

from typing import Any

import pytest
from gleitzeit_plugin_huggingface import HuggingFace

from gleitzeit.errors import OverloadedError
from gleitzeit.testing import ProviderCase, ProviderContract
from gleitzeit.values import Chat

OWN = "frames come from our own worker only, and test_frames.py cuts them anyhow"


@pytest.mark.feature("S002-21")
class TestHuggingFace(ProviderContract):
    thorough = True

    @pytest.fixture
    def case(self, fake: type[HuggingFace], settings: dict[str, Any]) -> ProviderCase:
        return ProviderCase(
            fake,
            config=settings,
            request=Chat("ping").to("good"),
            text="pong, ping",
            others=tuple((Chat(f"p{n}").to("good"), f"pong, p{n}") for n in range(3)),
            silent=Chat("x").to("silent"),
            halting=Chat("x").to("halting"),
            failing=Chat("x").to("full"),
            failure=OverloadedError,
            breaking=Chat("x").to("breaking"),
            broken=OverloadedError,
            without={
                "connections_are_given_back": "there are no connections, but one process",
                "cut_stream_is_an_error": "a worker that ends is ProcessDiedError; see test_worker.py",
                "ragged_answer_is_the_same": OWN,
                "retry_after_is_told": "nobody knows when memory will be free",
                "unknown_fields_survive": OWN,
            },
            sent=lambda provider: provider.worker.asked,
            left=lambda provider: provider.worker.left,
            secret=settings["token"],
            patience=20.0,
        )
