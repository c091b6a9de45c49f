"""What is wrong with a configuration or a name is told with its place and the next step."""

from __future__ import annotations

import pytest

from gleitzeit import Chat, ToolCall
from gleitzeit.errors import AmbiguousModelError, ConfigError, SecurityDeniedError, UnknownModelError
from tests.end_to_end.conftest import Place

FAULTY = """
[host]
timeout = "long"
[provider.openai]
[providers.wire]
plugin = "openai"
enabled = 7
[routes.empty]
targets = []
[aliases]
default = 1
"""
#: Line -> key, and a word of what is wrong or of the next step.
TOLD = {
    2: ("host.timeout", "number"),
    3: ("provider", "providers"),
    6: ("providers.wire.enabled", "true or false"),
    8: ("routes.empty.targets", "empty"),
    10: ("aliases.default", "text"),
}


def test_all_faults_of_a_file_are_told_at_once_with_file_line_and_key(place: Place) -> None:
    with pytest.raises(ConfigError) as raised:
        place.host(FAULTY)
    assert len(raised.value.problems) == len(TOLD)
    for line, (key, word) in TOLD.items():
        (told,) = (each for each in raised.value.problems if f"gleitzeit.toml:{line}:" in each)
        assert key in told
        assert word in told


def test_a_command_tells_them_too_and_ends_with_3(place: Place) -> None:
    ended = place.run("plugins", config=FAULTY)
    assert ended.code == 3
    assert all(f"gleitzeit.toml:{line}: {key}" in ended.err for line, (key, _) in TOLD.items())


@pytest.mark.parametrize(
    "text, line, word",
    [
        ("[host\n", 1, "]"),
        ("a = 1\na = 2\n", 2, "overwrite"),
        ("[providers.a]\nb = \n", 2, "Invalid value"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_its_line(text: str, line: int, word: str, place: Place) -> None:
    with pytest.raises(ConfigError) as raised:
        place.host(text)
    assert f"gleitzeit.toml:{line}" in str(raised.value)
    assert word in str(raised.value)


async def test_an_unset_variable_stops_its_own_instance_only(place: Place) -> None:
    config = """
        [providers.wire]
        plugin = "openai"
        api_key = "${NOT_SET_ANYWHERE}"
        [providers.scripted]
        [servers.time]
        command = "${NOT_SET_EITHER}"
        sandbox = "none"
        """
    async with place.host(config) as host:
        with pytest.raises(ConfigError, match=r"gleitzeit\.toml:3: .*NOT_SET_ANYWHERE"):
            await host.call(Chat("you").to("wire/m"))
        with pytest.raises(ConfigError, match=r"gleitzeit\.toml:6: .*NOT_SET_EITHER"):
            await host.call(ToolCall({}).to("time/now"))
        assert (await host.call(Chat("you").to("scripted/echo"))).text == "you"
    ended = place.run("chat", "-m", "wire/m", "you", config=config)
    assert (ended.code, "NOT_SET_ANYWHERE" in ended.err) == (3, True)


async def test_a_secret_that_is_not_there_is_told_when_it_is_needed(place: Place) -> None:
    config = '[providers.wire]\nplugin = "openai"\napi_key = "secret://env/NO_SUCH_KEY"\n'
    async with place.host(config) as host:
        with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
            await host.call(Chat("you").to("wire/m"))


async def test_a_key_that_a_plugin_does_not_have_is_told_with_near_ones(place: Place) -> None:
    config = '[providers.wire]\nplugin = "openai"\nbase_ulr = "http://127.0.0.1:9/v1"\n'
    async with place.host(config) as host:
        with pytest.raises(ConfigError, match=r"gleitzeit\.toml:3: providers\.wire\.base_ulr: .*base_url"):
            await host.call(Chat("you").to("wire/m"))


async def test_a_guard_whose_configuration_does_not_hold_denies_every_call(place: Place) -> None:
    async with place.host("[plugins.limits]\nmax_byte = 1\n[providers.scripted]\n") as host:
        with pytest.raises(
            SecurityDeniedError, match=r"gleitzeit\.toml:2: plugins\.limits\.max_byte: .*max_bytes"
        ):
            await host.call(Chat("you").to("scripted/echo"))


async def test_an_unknown_model_is_told_with_near_names(place: Place) -> None:
    async with place.host() as host:
        with pytest.raises(UnknownModelError) as raised:
            await host.call(Chat("you").to("scripted/ecko"))
        assert "scripted/echo" in raised.value.near
        with pytest.raises(UnknownModelError) as raised:
            await host.call(ToolCall({}).to("git/git_lgo"))
        assert "git/git_log" in raised.value.near
    ended = place.run("--json", "chat", "-m", "scripted/ecko", "you")
    assert (ended.code, ended.error["code"]) == (5, "unknown_model")
    assert "scripted/echo" in ended.error["hint"]


AMBIGUOUS = """
    [providers.a]
    plugin = "scripted"
    models = ["twin"]
    answers = { twin = { rules = [{ text = "I am a" }] } }
    [providers.b]
    plugin = "scripted"
    models = ["twin"]
    answers = { twin = { rules = [{ text = "I am b" }] } }
    """


async def test_an_ambiguous_model_names_the_claims_and_the_line_that_settles_it(place: Place) -> None:
    async with place.host(AMBIGUOUS) as host:
        with pytest.raises(AmbiguousModelError) as raised:
            await host.call(Chat("you").to("twin"))
    assert raised.value.claims == ("a/twin", "b/twin")
    assert raised.value.hint is not None
    line = raised.value.hint.partition(": ")[2]
    section, _, rest = line.partition(" ")
    async with place.host(f"{AMBIGUOUS}\n    {section}\n    {rest}\n") as host:
        assert (await host.call(Chat("you").to("twin"))).text == "I am a"
