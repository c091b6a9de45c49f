"""Drivers handed to a host: strategies, secrets and HTTP transports do their part of a call."""

import httpx2
import pytest

from core.tests.toys import Good, failing, host, route
from gleitzeit import Chat, Plugin, Provider, Reply
from gleitzeit.errors import ConfigError, PluginError, ServerFaultError
from gleitzeit.plugin import Strategy


class Reversed(Strategy):
    def order(self, route, request):
        return route.targets[::-1]


async def test_a_strategy_orders_the_targets_of_a_route():
    first = failing(Reply("first"))
    config = {"routes": {"r": {"targets": ["first/m", "good/m"], "strategy": "reversed"}}}
    async with host(config, first=first, reversed=Reversed) as h:
        assert str((await h.call(Chat("hi").to("r"))).target) == "good/m"
    assert first.asked == 0


async def test_a_strategy_may_leave_targets_out_and_must_choose_one():
    class Nobody(Strategy):
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
    config = {**route("bad/m", "worse/m"), "host": {"retry": {"max_retries": 0}}}
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


class Canned(Plugin):
    """An HTTP plugin; answers with what the operator set."""

    def transport(self, http):
        return httpx2.MockTransport(lambda request: httpx2.Response(200, text=f"canned {http.proxy}"))


class Fetching(Provider):
    complete = False

    async def call(self, request):
        return Reply((await self.context.http.get("http://nowhere.invalid/")).text)


async def test_an_http_plugin_supplies_the_transport_of_the_one_client_by_the_operators_settings():
    config = {"host": {"http": {"proxy": "http://proxy.invalid"}}}
    async with host(config, canned=Canned, fetching=Fetching) as h:
        assert (await h.call(Chat("hi").to("fetching/m"))).text == "canned http://proxy.invalid"


async def test_an_http_plugin_that_cannot_start_is_not_replaced_unnoticed():
    class Broken(Canned):
        def __init__(self, config, context):
            raise RuntimeError("no")

    async with host(broken=Broken, fetching=Fetching) as h:
        with pytest.raises(PluginError, match="broken"):
            await h.call(Chat("hi").to("fetching/m"))


async def test_two_http_plugins_are_one_too_many_and_the_disabled_do_not_count():
    plugins = {"canned": Canned, "other": type("Other", (Canned,), {}), "fetching": Fetching}
    async with host(**plugins) as h:
        with pytest.raises(ConfigError, match="canned, other"):
            await h.call(Chat("hi").to("fetching/m"))
    async with host({"http": {"other": {"enabled": False}}}, **plugins) as h:
        assert (await h.call(Chat("hi").to("fetching/m"))).text == "canned None"


async def test_an_http_plugin_is_there_before_the_eager_ask_for_the_client():
    class Early(Fetching):
        def __init__(self, config, context):
            super().__init__(config, context)
            self.client = context.http

    config = {"providers": {"early": {"eager": True}}}
    async with host(config, early=Early, canned=Canned) as h:
        assert (await h.call(Chat("hi").to("early/m"))).text == "canned None"
