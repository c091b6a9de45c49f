"""Drivers handed to a host: strategies, secrets and HTTP transports do their part of a call."""

import httpx2
import pytest

from core.tests.toys import Good, failing, host, route
from gleitzeit import Chat, Plugin, Provider, Reply
from gleitzeit.errors import ConfigError, PluginError, ServerFaultError


class Reversed(Plugin):
    def order(self, route, request):
        return route.targets[::-1]


async def test_a_strategy_orders_the_targets_of_a_route():
    first = failing(Reply("first"))
    config = {"routes": {"r": {"targets": ["first/m", "good/m"], "strategy": "reversed"}}}
    async with host(config, first=first, reversed=Reversed) as h:
        assert str((await h.call(Chat("hi").to("r"))).target) == "good/m"
    assert first.asked == 0


async def test_a_strategy_may_leave_targets_out_and_must_choose_one():
    class Nobody(Plugin):
        def order(self, route, request):
            return ()

    config = {"routes": {"r": {"targets": ["good/m"], "strategy": "nobody"}}}
    async with host(config, nobody=Nobody) as h:
        with pytest.raises(PluginError, match="chose no target"):
            await h.call(Chat("hi").to("r"))


async def test_a_strategy_that_is_not_installed_is_named():
    config = {"routes": {"r": {"targets": ["good/m"], "strategy": "gone"}}}
    async with host(config) as h:
        with pytest.raises(PluginError, match="no strategy plugin 'gone'"):
            await h.call(Chat("hi").to("r"))


async def test_the_last_target_of_a_strategy_raises_its_own_error():
    config = {**route("bad/m", "worse/m")}
    config["routes"]["r"]["strategy"] = "reversed"
    bad, worse = failing(ServerFaultError("bad")), failing(ServerFaultError("worse"))
    async with host(config, bad=bad, worse=worse, reversed=Reversed) as h:
        with pytest.raises(ServerFaultError, match="bad"):
            await h.call(Chat("hi").to("r"))


class Vault(Plugin):
    async def resolve(self, path, field):
        return {"team/key": "sk-canary-9"}[path]


class Keyed(Good):
    async def call(self, request):
        return Reply(await self.context.secret("secret://vault/team/key"))


async def test_a_secret_comes_from_the_backend_of_its_name():
    async with host(vault=Vault, keyed=Keyed) as h:
        assert (await h.call(Chat("hi").to("keyed/m"))).text == "sk-canary-9"


async def test_a_backend_that_fails_is_told_without_what_it_said():
    class Broken(Plugin):
        async def resolve(self, path, field):
            raise RuntimeError("sk-canary-9")

    async with host(vault=Broken, keyed=Keyed) as h:
        with pytest.raises(ConfigError, match="raised RuntimeError") as caught:
            await h.call(Chat("hi").to("keyed/m"))
    assert "canary" not in str(caught.value)


async def test_an_http_plugin_supplies_the_transport_of_the_one_client():
    class Canned(Plugin):
        def transport(self):
            return httpx2.MockTransport(lambda request: httpx2.Response(200, text="canned"))

    class Fetching(Provider):
        complete = False

        async def call(self, request):
            return Reply((await self.context.http.get("http://nowhere.invalid/")).text)

    async with host(canned=Canned, fetching=Fetching) as h:
        assert (await h.call(Chat("hi").to("fetching/m"))).text == "canned"
