"""Names become targets by one precedence, never by luck."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gleitzeit import Chat, Host, Model, Provider, Reply, ToolCall
from gleitzeit.discovery import Entry, Index
from gleitzeit.errors import AmbiguousModelError, ConfigError, UnknownModelError
from gleitzeit.manifest import Shipped
from gleitzeit.values import Invoke, Tool


def offering(*names, tools=(), complete=True):
    class Offering(Provider):
        async def call(self, request):
            return Reply(f"{self.context.name}:{request.name}")

        def provide_models(self):
            return [Model(name) for name in names]

        def provide_tools(self):
            return [Tool(name) for name in tools]

    Offering.complete = complete
    return Offering


async def ask(name, config=None, operation=None, **plugins):
    async with Host(config or {}, plugins=plugins, environ={}, index=Index(())) as host:
        return (await host.call((operation or Chat("hi")).to(name))).text


async def test_a_full_name_reaches_its_instance():
    assert await ask("a/m", a=offering("m"), b=offering("m")) == "a:m"


async def test_a_bare_name_that_one_instance_offers_is_found():
    assert await ask("only", a=offering("m"), b=offering("only")) == "b:only"


async def test_a_bare_name_that_two_offer_is_ambiguous_and_the_hint_settles_it():
    plugins = {"a": offering("m"), "b": offering("m")}
    with pytest.raises(AmbiguousModelError) as caught:
        await ask("m", **plugins)
    assert caught.value.claims == ("a/m", "b/m")
    assert '[aliases] "m" = "a/m"' in str(caught.value)
    assert await ask("m", {"aliases": {"m": "a/m"}}, **plugins) == "a:m"


async def test_a_model_id_with_a_slash_is_never_a_matter_of_luck():
    """`openai/gpt-oss` is the model of an instance, or a model id of another; an alias settles it."""
    plugins = {"openai": offering("gpt-oss"), "hf": offering("openai/gpt-oss")}
    config = {"providers": {"hf": {"models": ["openai/gpt-oss"]}, "openai": {}}}
    with pytest.raises(AmbiguousModelError) as caught:
        await ask("openai/gpt-oss", config, **plugins)
    assert caught.value.claims == ("openai/gpt-oss", "hf/openai/gpt-oss")
    for target, answer in {
        "openai/gpt-oss": "openai:gpt-oss",
        "hf/openai/gpt-oss": "hf:openai/gpt-oss",
    }.items():
        assert (
            await ask("openai/gpt-oss", {**config, "aliases": {"openai/gpt-oss": target}}, **plugins)
            == answer
        )


async def test_a_route_and_an_alias_win_over_models():
    plugins = {name: offering("m") for name in "abc"}
    assert await ask("m", {"routes": {"m": {"targets": ["b/m"]}}}, **plugins) == "b:m"
    assert await ask("m", {"aliases": {"m": "c/m"}}, **plugins) == "c:m"


async def test_one_name_for_a_route_and_an_alias_is_a_config_error():
    with pytest.raises(ConfigError, match="m"):
        await ask("m", {"aliases": {"m": "a/m"}, "routes": {"m": {"targets": ["b/m"]}}}, a=offering("m"))


async def test_an_alias_may_lead_to_a_route_and_on():
    config = {"aliases": {"fast": "r", "r2": "fast"}, "routes": {"r": {"targets": ["a/m"]}}}
    assert await ask("r2", config, a=offering("m")) == "a:m"


@pytest.mark.parametrize("aliases", [{"x": "x"}, {"x": "y", "y": "x"}])
async def test_a_name_that_refers_to_itself_is_a_config_error(aliases):
    with pytest.raises(ConfigError, match="refers to itself"):
        await ask("x", {"aliases": aliases}, a=offering("m"))


async def test_an_unknown_model_names_near_ones():
    with pytest.raises(UnknownModelError, match="did you mean a/mistral-large") as caught:
        await ask("a/mistral-lage", a=offering("mistral-large", "other"))
    assert caught.value.near[0] == "a/mistral-large"


async def test_an_unknown_bare_name_asks_everybody_before_giving_up():
    with pytest.raises(UnknownModelError, match="did you mean"):
        await ask("alpha-2", a=offering("alpha-1"), b=offering("beta"))


async def test_an_open_provider_takes_any_name():
    assert await ask("a/whatever", a=offering("m", complete=False)) == "a:whatever"


async def test_a_provider_whose_list_is_broken_still_answers():
    class Broken(offering()):
        def provide_models(self):
            raise OSError("no list")

    assert await ask("a/anything", a=Broken) == "a:anything"


def patterned(name, *patterns):
    manifest = json.dumps({"name": name, "kind": "provider", "patterns": patterns}).encode()
    shipped = Shipped("a test", lambda: manifest, name, "provider")
    return Entry(name, kind="provider", value="x:y", plugin=offering(complete=False), shipped=shipped)


async def test_a_pattern_claims_a_name_before_live_lists_are_asked():
    index = Index((patterned("acme", "acme-*"),))
    async with Host({}, plugins={"b": offering("acme-large")}, environ={}, index=index) as host:
        assert (await host.call(Chat("hi").to("acme-large"))).text == "acme:acme-large"
        assert host._registry.find("provider", "b").object is None


async def test_two_patterns_that_match_are_ambiguous():
    index = Index((patterned("acme", "gpt-*"), patterned("bcme", "gpt-4*")))
    async with Host({}, environ={}, index=index) as host:
        with pytest.raises(AmbiguousModelError, match="acme/gpt-4o and bcme/gpt-4o"):
            await host.call(Chat("hi").to("gpt-4o"))


async def test_the_operators_list_of_models_replaces_patterns():
    index = Index((patterned("acme", "gpt-*"),))
    config = {"providers": {"acme": {"models": ["only-this"]}}}
    async with Host(config, environ={}, index=index) as host:
        assert (await host.call(Chat("hi").to("only-this"))).text == "acme:only-this"


async def test_tools_are_found_by_full_and_by_bare_name():
    plugins = {"git": offering(tools=["status", "log"]), "time": offering(tools=["now"])}
    assert await ask("git/log", operation=ToolCall({}), **plugins) == "git:log"
    assert await ask("now", operation=ToolCall({}), **plugins) == "time:now"
    with pytest.raises(UnknownModelError, match="did you mean git/status"):
        await ask("git/statu", operation=ToolCall({}), **plugins)


async def test_a_tool_that_two_offer_is_ambiguous():
    with pytest.raises(AmbiguousModelError, match="a/t and b/t"):
        await ask("t", operation=ToolCall({}), a=offering(tools=["t"]), b=offering(tools=["t"]))


@pytest.mark.feature("S000-19")
async def test_invoke_goes_to_an_instance():
    assert await ask("a", operation=Invoke("custom_process", arguments={"data": 1}), a=offering()) == "a:"
    with pytest.raises(UnknownModelError, match="no provider 'zz'"):
        await ask("zz", operation=Invoke("x"), a=offering())


@pytest.mark.feature("S000-18")
async def test_models_are_found_by_capability():
    class Seeing(offering()):
        def provide_models(self):
            return [Model("eyes", capabilities={"vision", "text"}), Model("blind", capabilities={"text"})]

    async with Host({}, plugins={"a": Seeing}, environ={}, index=Index(())) as host:
        assert [str(target) for target in await host.find("vision")] == ["a/eyes"]
        assert len(await host.find("text")) == 2
        assert await host.find("flying") == []


async def test_a_route_works_while_one_of_its_targets_is_missing():
    config = {"routes": {"r": {"targets": ["gone/m", "a/m"]}}}
    async with Host(config, plugins={"a": offering("m")}, environ={}, index=Index(())) as host:
        reply = await host.call(Chat("hi").to("r"))
    assert reply.text == "a:m"
    assert [str(attempt.target) for attempt in reply.attempts] == ["gone/m"]


@settings(max_examples=40)
@given(
    owners=st.dictionaries(
        st.sampled_from("abc"), st.sets(st.sampled_from(["m", "n", "a/m", "b/n"]), max_size=3), min_size=1
    ),
    name=st.sampled_from(["m", "n", "a/m", "b/n", "a/n", "c/a/m"]),
)
async def test_a_name_leads_to_exactly_one_claim_or_to_an_error(owners, name):
    """Whatever is offered: one claim answers, none is unknown, two are ambiguous."""
    claims = {(owner, name) for owner, models in owners.items() if name in models}
    head, slash, tail = name.partition("/")
    if slash and tail in owners.get(head, ()):
        claims.add((head, tail))
    plugins = {owner: offering(*sorted(models)) for owner, models in owners.items()}
    config = {"providers": {owner: {"models": sorted(models)} for owner, models in owners.items() if models}}
    if not claims:
        with pytest.raises(UnknownModelError):
            await ask(name, config, **plugins)
    elif len(claims) > 1:
        with pytest.raises(AmbiguousModelError):
            await ask(name, config, **plugins)
    else:
        ((owner, own),) = claims
        assert await ask(name, config, **plugins) == f"{owner}:{own}"
