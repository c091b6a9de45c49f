"""What the operator lists takes the place of a plugin's list; a provider without `call` does not start."""

import pytest

from core.tests.toys import Good, host
from gleitzeit import Chat, Provider
from gleitzeit.errors import PluginLoadError


async def test_a_configured_list_is_what_is_offered_and_found():
    config = {"providers": {"p": {"plugin": "good", "models": [{"name": "m", "capabilities": ["vision"]}]}}}
    async with host(config) as running:
        [offer] = [offer for offer in await running.offers("models") if offer.instance == "p"]
        assert [model.name for model in offer.items] == ["m"]
        assert [str(target) for target in await running.find("vision")] == ["p/m"]


async def test_a_plugin_that_reads_the_list_itself_has_the_last_word():
    class Reads(Good):
        def __init__(self, config, context):
            super().__init__(config, context)
            self.config = type("Read", (), {"models": ("m",)})()

    async with host({"providers": {"p": {"plugin": "reads", "models": ["m"]}}}, reads=Reads) as running:
        [offer] = [offer for offer in await running.offers("models") if offer.instance == "p"]
        assert [model.name for model in offer.items] == ["m", "slow", "stall"]


@pytest.mark.feature("S002-01")
async def test_a_provider_without_call_does_not_start_and_says_what_to_write():
    class Mute(Provider):
        """Forgot it."""

    async with host({"providers": {"p": {"plugin": "mute"}}}, mute=Mute) as running:
        with pytest.raises(PluginLoadError, match="Mute has no `call`") as told:
            await running.call(Chat("x").to("p/m"))
        assert "async def call(self, request)" in str(told.value.hint)
        [row] = [row for row in await running.health() if row.name == "p"]
        assert row.health.status == "error"
