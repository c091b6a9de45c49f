"""A broken plugin is a state with a reason; it takes down neither the host nor the others."""

from __future__ import annotations

import asyncio
import json

import pytest

from gleitzeit import Chat, Host, ToolCall
from gleitzeit.errors import (
    AmbiguousPluginError,
    PluginError,
    PluginIncompatibleError,
    PluginLoadError,
    PluginNotFoundError,
    SecurityDeniedError,
)
from gleitzeit.values import State
from tests.end_to_end.conftest import Place

GOOD = """
from gleitzeit import Chat, Model, Provider, Reply

class Plugin(Provider):
    def provide_models(self):
        yield Model("m", operations={Chat})

    async def call(self, request):
        return Reply("good", finish_reason="stop")
"""
BROKEN = {
    "import": "raise ValueError('broken at import')",
    "exit": "import sys\nsys.exit('broken at exit')",
    "attribute": "Plugins = None",
    "construction": GOOD
    + "    def __init__(self, config, context):\n        raise ValueError('broken at construction')\n",
    "no provider": "class Plugin:\n    def __init__(self, config, context): pass\n",
    "sync call": GOOD.replace("async def call", "def call"),
    "signature": GOOD.replace("def provide_models(self)", "def provide_models(self, more)"),
    "lifespan": GOOD
    + """
    def lifespan(self):
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def life():
            raise ValueError('broken at lifespan')
            yield

        return life()
""",
}
SAYS = {
    "import": "ValueError: broken at import",
    "exit": "SystemExit: broken at exit",
    "attribute": "has no 'Plugin'",
    "construction": "broken at construction",
    "no provider": "is no provider",
    "sync call": "async def call(self, request)",
    "signature": "def provide_models(self)",
    "lifespan": "ValueError: broken at lifespan",
}
CONFIG = '[providers.bad]\nplugin = "bad"\n[providers.scripted]\n'


@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_plugin_is_a_failed_state_and_others_go_on(how: str, place: Place) -> None:
    place.install("bad", BROKEN[how])
    async with place.host(CONFIG) as host:
        with pytest.raises(PluginLoadError) as raised:
            await host.call(Chat("you").to("bad/m"))
        assert SAYS[how] in str(raised.value)
        assert (await host.call(Chat("you").to("scripted/echo"))).text == "you"
        rows = {row.name: row for row in await host.health()}
    assert rows["bad"].state is State.FAILED
    assert SAYS[how] in rows["bad"].health.detail


@pytest.mark.parametrize("how", ["import", "exit", "construction", "lifespan"])
def test_a_command_tells_it_and_ends_with_4(how: str, place: Place) -> None:
    place.install("bad", BROKEN[how])
    ended = place.run("chat", "-m", "bad/m", "you", config=CONFIG)
    assert (ended.code, SAYS[how] in ended.err, "Traceback" in ended.err) == (4, True, False)
    assert place.run("chat", "-m", "scripted/echo", "you", config=CONFIG).out == "you\n"


@pytest.mark.parametrize(
    "body, says",
    [
        ("raise ValueError('broken in a hook')", "ValueError: broken in a hook"),
        ("yield 7", "gave int"),
        ("return 7", "int"),
        ("yield from (Model('m'), Model('m'))", "offers twice: m"),
    ],
)
async def test_a_hook_that_breaks_is_an_outcome_of_its_own(body: str, says: str, place: Place) -> None:
    place.install("bad", GOOD.replace('yield Model("m", operations={Chat})', body))
    async with place.host(CONFIG) as host:
        outcomes = {outcome.plugin: outcome for outcome in await host.hooks.provide_models()}
    assert says in str(outcomes["bad"].error)
    assert outcomes["scripted"].value


async def test_a_hook_that_hangs_ends_at_its_deadline(place: Place) -> None:
    hanging = GOOD.replace("    def provide_models(self):", "    async def provide_models(self):").replace(
        'yield Model("m", operations={Chat})', "import asyncio; await asyncio.Event().wait()"
    )
    place.install("bad", hanging)
    async with place.host("[host]\nhook_timeout = 0.2\n" + CONFIG) as host:
        outcomes = {outcome.plugin: outcome for outcome in await host.hooks.provide_models()}
        assert outcomes["bad"].error is not None
        assert outcomes["scripted"].value
        assert (await host.call(Chat("you").to("scripted/echo"))).text == "you"


async def test_a_start_that_hangs_ends_at_its_deadline(place: Place) -> None:
    place.install(
        "bad",
        BROKEN["lifespan"].replace(
            "raise ValueError('broken at lifespan')", "import asyncio; await asyncio.Event().wait()"
        ),
    )
    async with place.host("[host]\nstart_timeout = 0.3\n" + CONFIG) as host:
        with pytest.raises(PluginLoadError, match=r"did not start within 0\.3 s"):
            await host.call(Chat("you").to("bad/m"))


async def test_a_call_that_raises_is_told_as_a_fault_of_the_plugin(place: Place) -> None:
    place.install("bad", GOOD.replace("return Reply", "raise KeyError('x')\n        return Reply"))
    async with place.host(CONFIG) as host:
        with pytest.raises(PluginError, match="provider 'bad' raised KeyError") as raised:
            await host.call(Chat("you").to("bad/m"))
    assert "fault of the plugin" in str(raised.value)


async def test_a_plugin_for_a_newer_api_is_not_even_imported(place: Place) -> None:
    place.install("bad", "raise SystemError('imported')", api_version="1.99")
    async with place.host(CONFIG) as host:
        with pytest.raises(PluginIncompatibleError, match=r"1\.99"):
            await host.call(Chat("you").to("bad/m"))
    rows = json.loads(place.run("plugins", "--json", config=CONFIG).out)["plugins"]
    assert [row["state"] for row in rows if row["plugin"] == "bad"] == ["incompatible"]


async def test_two_plugins_of_one_name_are_settled_by_one_line(place: Place) -> None:
    place.install("bad", GOOD, distribution="acme-one")
    place.install("bad", GOOD.replace('"good"', '"two"'), distribution="acme-two")
    async with place.host(CONFIG) as host:
        with pytest.raises(AmbiguousPluginError, match=r"acme-one 1\.0 and acme-two 1\.0") as raised:
            await host.call(Chat("you").to("bad/m"))
    assert raised.value.hint is not None
    assert '[host] deny = ["acme-two"]' in raised.value.hint
    async with place.host('[host]\ndeny = ["acme-one"]\n' + CONFIG) as host:
        assert (await host.call(Chat("you").to("bad/m"))).text == "two"


async def test_a_plugin_that_is_not_installed_says_what_to_install(place: Place) -> None:
    async with place.host('[providers.anthrop]\nplugin = "anthrop"\n') as host:
        with pytest.raises(PluginNotFoundError, match="pip install gleitzeit-plugin-anthrop"):
            await host.call(Chat("you").to("anthrop/m"))


async def test_a_denied_distribution_is_not_imported(place: Place) -> None:
    place.install("bad", "raise SystemError('imported')")
    async with place.host('[host]\ndeny = ["acme-*"]\n' + CONFIG) as host:
        with pytest.raises(PluginError, match=r"host\.deny"):
            await host.call(Chat("you").to("bad/m"))


GUARDS = {
    "import": ("acme", BROKEN["import"], "broken at import"),
    "missing": (None, "", "no plain plugin 'acme' is installed"),
    "configuration": (
        "acme",
        "from gleitzeit import Plugin as Base\nclass Plugin(Base): pass\n",
        "no configuration",
    ),
}


@pytest.mark.parametrize("how", GUARDS)
async def test_a_guard_that_cannot_load_denies_every_call_and_says_why(how: str, place: Place) -> None:
    name, code, says = GUARDS[how]
    if name is not None:
        place.install(name, code, kind="plugins")
    config = "[plugins.acme]\n" + ("strict = true\n" if how == "configuration" else "") + CONFIG
    place.install("bad", GOOD)
    async with place.host(config) as host:
        for request in (Chat("you").to("scripted/echo"), Chat("you").to("bad/m"), ToolCall({}).to("bad/t")):
            with pytest.raises(SecurityDeniedError) as raised:
                await host.call(request)
            assert says in str(raised.value)
            assert "acme" in str(raised.value)
    ended = place.run("chat", "-m", "scripted/echo", "you", config=config)
    assert (ended.code, ended.out) == (6, "")


async def test_a_guard_that_raises_denies(place: Place) -> None:
    code = """
        from gleitzeit import Plugin as Base

        class Plugin(Base):
            def security_check(self, request, target):
                raise ValueError('secret')
        """
    place.install("acme", code, kind="plugins")
    async with place.host("[plugins.acme]\n" + CONFIG) as host:
        with pytest.raises(SecurityDeniedError, match="acme: raised ValueError") as raised:
            await host.call(Chat("you").to("scripted/echo"))
    assert "secret" not in str(raised.value)


async def test_a_failing_plugin_heals_without_a_restart_of_the_host(place: Place) -> None:
    flag = place.folder / "repaired"
    code = GOOD + (
        "    def __init__(self, config, context):\n"
        "        import os\n"
        f"        if not os.path.exists({str(flag)!r}):\n"
        "            raise ValueError('not repaired')\n"
    )
    place.install("bad", code)
    async with place.host(CONFIG) as host:
        with pytest.raises(PluginLoadError, match="not repaired"):
            await host.call(Chat("you").to("bad/m"))
        flag.touch()
        async with asyncio.timeout(30):  # it is tried again after a short, growing pause
            while (text := await answer(host)) is None:
                await asyncio.sleep(0.01)
    assert text == "good"


async def answer(host: Host) -> str | None:
    """What the plugin answers, None while it does not."""
    try:
        return (await host.call(Chat("you").to("bad/m"))).text
    except PluginLoadError:
        return None
