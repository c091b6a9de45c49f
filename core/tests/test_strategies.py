"""Strategies in routes: nested, chosen by the request, and at fault."""

import asyncio
import itertools

import pytest

from core.tests.held import at_rest
from core.tests.toys import failing, host, running
from gleitzeit import Chat, Reply
from gleitzeit.errors import InvalidRequestError, OverloadedError, PluginError, ServerFaultError
from gleitzeit.plugin import Strategy
from gleitzeit.values import Target

QUICK = {"retry": {"base_delay": 0.001}}


def named(*names):
    """A provider for each name, which answers with it."""
    return {name: failing(Reply(name)) for name in names}


def routes(host_=None, **found):
    """Routes by name: a strategy or None, then the targets."""
    tables = {}
    for name, (strategy, *targets) in found.items():
        tables[name] = {"targets": targets, **({"strategy": strategy} if strategy else {})}
    return {"routes": tables, "host": host_ or QUICK}


class Turns(Strategy):
    """Each in its turn, by a balancer of its own, which notes what it hears."""

    def __init__(self, config, context):
        super().__init__(config, context)
        self.heard = []
        self.made = []

    def balancer(self, route):
        strategy, numbers = self, itertools.count()
        self.made.append(route.name)

        class Balancer:
            def order(self, request):
                at = next(numbers) % len(route.targets)
                return (*route.targets[at:], *route.targets[:at])

            def begun(self, choice, request):
                strategy.heard.append((route.name, str(choice), "begun"))

            def ended(self, choice, request, ending):
                strategy.heard.append((route.name, str(choice), ending.outcome))

        return Balancer()


class Backwards(Strategy):
    def order(self, route, request):
        return reversed(route.targets)


async def asked(h, name="r", count=1, **more):
    """Who answered calls, one after the other."""
    return " ".join([(await h.call(Chat("hi").to(name, **more))).text for _ in range(count)])


def turns(h):
    return h._registry.find("strategy", "turns").object


async def test_an_ordered_route_over_one_that_takes_turns():
    config = routes(r=(None, "inner", "c/m"), inner=("turns", "a/m", "b/m"))
    async with host(config, turns=Turns, **named("a", "b", "c")) as h:
        assert await asked(h, count=4) == "a b a b"
        h._pipeline._gates._gates["a", "m"].limiter.cool(60.0)
        assert await asked(h, count=3) == "b b b"
        h._pipeline._gates._gates["b", "m"].limiter.cool(60.0)
        assert await asked(h, count=2) == "c c"


async def test_turns_over_ordered_routes_keep_the_order_inside():
    config = routes(
        r=("turns", "first", "second"), first=(None, "bad/m", "a/m"), second=(None, "b/m", "bad/m")
    )
    bad = failing(OverloadedError("busy"))
    async with host(config, turns=Turns, bad=bad, **named("a", "b")) as h:
        assert await asked(h, count=4) == "a b a b"
        assert turns(h).heard[:4] == [
            ("r", "first", "begun"),
            ("r", "first", "failed"),
            ("r", "first", "begun"),
            ("r", "first", "ok"),
        ]
    assert bad.asked == 2


async def test_every_balancer_around_a_target_hears_of_it():
    config = routes(r=("turns", "inner", "c/m"), inner=("turns", "a/m", "b/m"))
    async with host(config, turns=Turns, **named("a", "b", "c")) as h:
        assert await asked(h, count=4) == "a c b c"
        assert turns(h).heard[:4] == [
            ("r", "inner", "begun"),
            ("inner", "a/m", "begun"),
            ("r", "inner", "ok"),
            ("inner", "a/m", "ok"),
        ]
    at_rest(h)


async def test_a_route_that_is_reached_on_two_ways():
    config = routes(
        r=(None, "left", "right"),
        left=("backwards", "shared", "bad/m"),
        right=("backwards", "c/m", "shared"),
        shared=("turns", "bad/m", "a/m"),
    )
    bad = failing(ServerFaultError("down"))
    async with host(config, turns=Turns, backwards=Backwards, bad=bad, **named("a", "c")) as h:
        assert await asked(h, count=2) == "a a"
        assert await asked(h, "right", count=2) == "a a"


async def test_nested_ordered_routes_are_one_list():
    config = routes(r=(None, "inner", "c/m"), inner=(None, "bad/m", "b/m"))
    bad = failing(OverloadedError("busy"))
    async with host(config, bad=bad, **named("b", "c")) as h:
        assert await asked(h) == "b"


async def test_retries_count_for_the_call_over_all_nested_targets():
    config = routes(r=("turns", "left", "right"), left=("turns", "a/m", "b/m"), right=(None, "c/m"))
    bad = {name: failing(OverloadedError("busy")) for name in "abc"}
    async with host(config, turns=Turns, **bad) as h:
        with pytest.raises(OverloadedError):
            await asked(h)
        heard = [end for _, _, end in turns(h).heard]
        assert heard.count("begun") == heard.count("failed")
        assert h.snapshot().total().count == 3 + 2
    assert sum(each.asked for each in bad.values()) == 3 + 2


# --- chosen by the request ---


async def test_a_request_chooses_among_the_strategies_that_the_route_allows():
    config = routes(r=(None, "a/m", "b/m"))
    config["routes"]["r"]["allow_strategies"] = ["backwards"]
    async with host(config, backwards=Backwards, turns=Turns, **named("a", "b")) as h:
        assert await asked(h) == "a"
        assert await asked(h, strategy="backwards") == "b"
        assert await asked(h, strategy="ordered") == "a"
        assert await asked(h, count=2) == "a a"  # what one asks for is not the others'
        with pytest.raises(InvalidRequestError, match="does not allow the strategy 'turns'") as caught:
            await asked(h, strategy="turns")
    assert 'allow_strategies = ["turns"]' in caught.value.hint


async def test_only_a_route_has_a_strategy():
    async with host(routes(r=(None, "a/m")), **named("a")) as h:
        with pytest.raises(InvalidRequestError, match="is no route"):
            await asked(h, "a/m", strategy="backwards")


async def test_an_alias_passes_the_choice_on_and_inner_routes_keep_their_own():
    config = routes(r=(None, "inner", "c/m"), inner=(None, "a/m", "b/m"))
    config["routes"]["r"]["allow_strategies"] = ["backwards"]
    config["aliases"] = {"also": "r"}
    async with host(config, backwards=Backwards, **named("a", "b", "c")) as h:
        assert await asked(h, "also", strategy="backwards") == "c"
        h._pipeline._gates._gates["c", "m"].limiter.cool(60.0)
        assert await asked(h, "also", strategy="backwards") == "a"


# --- at fault ---


class Raises(Strategy):
    def order(self, route, request):
        raise ValueError("no")


class RaisesLater(Strategy):
    def order(self, route, request):
        raise ValueError("no")
        yield


class RaisesLast(Strategy):
    def order(self, route, request):
        yield route.targets[0]
        raise ValueError("no")


class RaisesWhenMade(Strategy):
    def balancer(self, route):
        raise ValueError("no")


class Nothing(Strategy):
    def order(self, route, request):
        return None


class Foreign(Strategy):
    def order(self, route, request):
        yield Target("a", name="m")


@pytest.mark.parametrize(
    "strategy, words",
    [
        (Raises, "raised ValueError: no"),
        (RaisesLater, "raised ValueError: no"),
        (RaisesLast, "raised ValueError: no"),
        (RaisesWhenMade, "raised ValueError for 'r': no"),
        (Nothing, "raised TypeError"),
        (Foreign, "chose a/m, which 'r' lacks"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_strategy_at_fault_is_named(strategy, words):
    config = routes(r=("mine", "bad/m", "a/m"), outer=(None, "r", "a/m"))
    bad = failing(ServerFaultError("down"))
    async with host(config, mine=strategy, bad=bad, **named("a")) as h:
        for name in ("r", "outer"):
            with pytest.raises(PluginError, match=words) as caught:
                await asked(h, name)
            assert "'mine'" in caught.value.message
        assert await asked(h, "a/m") == "a"
    at_rest(h)


class Stutters(Strategy):
    """Says each choice again and again."""

    def order(self, route, request):
        return itertools.cycle(choice for target in route.targets for choice in (target, target))


async def test_a_strategy_that_repeats_itself_makes_no_more_attempts():
    bad, worse = failing(ServerFaultError("down")), failing(ServerFaultError("down"))
    config = routes({"retry": {"max_retries": 0}}, r=("stutters", "bad/m", "worse/m"))
    async with host(config, stutters=Stutters, bad=bad, worse=worse) as h:
        with pytest.raises(ServerFaultError):
            await asked(h)
    assert (bad.asked, worse.asked) == (1, 1)


class Deaf(Strategy):
    """Its balancers fail when they are told something."""

    which = "begun"

    def balancer(self, route):
        which = self.which

        class Balancer:
            def order(self, request):
                return route.targets

            def begun(self, choice, request):
                if which == "begun" and str(choice) == "a/m":
                    raise ValueError("no")

            def ended(self, choice, request, ending):
                if which == "ended":
                    raise ValueError("no")

        return Balancer()


async def test_a_balancer_that_fails_at_a_beginning_costs_that_target_alone():
    config = routes(r=("turns", "inner"), inner=("deaf", "a/m", "b/m"))
    async with host(config, deaf=Deaf, turns=Turns, **named("a", "b")) as h:
        reply = await h.call(Chat("hi").to("r"))
        assert (reply.text, type(reply.attempts[0].error)) == ("b", PluginError)
        assert [end for _, _, end in turns(h).heard] == ["begun", "neutral", "begun", "ok"]
    at_rest(h)


async def test_a_balancer_that_fails_at_an_end_costs_no_answer(caplog):
    class DeafAtTheEnd(Deaf):
        which = "ended"

    config = routes(r=("deaf", "inner"), inner=("turns", "a/m"))
    async with host(config, deaf=DeafAtTheEnd, turns=Turns, **named("a")) as h:
        assert await asked(h) == "a"
        assert turns(h).heard[-1] == ("inner", "a/m", "ok")
    assert "ended raised ValueError" in caplog.text
    at_rest(h)


async def test_a_route_is_compiled_anew_without_losing_an_end():
    config = routes(r=("turns", "good/slow"))
    async with host(config, turns=Turns) as h:
        await h.hooks.provide_models()
        good = running(h)
        task = asyncio.create_task(h.call(Chat("hi").to("r")))
        await good.waiting.wait()
        before = len(turns(h).made)
        good.context.changed()
        second = asyncio.create_task(h.call(Chat("hi").to("r")))
        while len(good.requests) < 2:
            await asyncio.sleep(0)
        for each in (task, second):
            each.cancel()
            await asyncio.wait([each])
        assert [end for _, _, end in turns(h).heard] == ["begun", "begun", "neutral", "neutral"]
        assert len(turns(h).made) == before + 1
    at_rest(h)
