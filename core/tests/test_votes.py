"""Guards: every vote counts, one deny wins, a missing guard denies everything."""

import asyncio
import time
from typing import ClassVar

import pytest

from core.tests.toys import Good, failing, host, route, running
from gleitzeit import Chat, Plugin, Reply, Verdict
from gleitzeit.errors import (
    SecurityDeniedError,
)


def voting(answer):
    class Voting(Plugin):
        asked: ClassVar = []

        def security_check(self, request, target):
            self.asked.append(target)
            return answer(request, target) if callable(answer) else answer

    return Voting


async def test_one_deny_wins_and_every_vote_is_heard():
    async with host(
        a=voting(Verdict.allow()), b=voting(Verdict.deny("no")), c=voting(Verdict.deny("nor I"))
    ) as h:
        with pytest.raises(SecurityDeniedError) as caught:
            await h.call(Chat("hi").to("good/m"))
        assert sorted(caught.value.votes) == ["b: no", "c: nor I"]
        assert running(h).requests == []


async def test_an_exception_in_a_vote_is_a_deny():
    async with host(guard=voting(lambda request, target: 1 / 0)) as h:
        with pytest.raises(SecurityDeniedError, match="guard: raised ZeroDivisionError"):
            await h.call(Chat("hi").to("good/m"))


@pytest.mark.parametrize("answer", [True, "yes", 1, object()])
async def test_what_is_no_verdict_is_a_deny(answer):
    async with host(guard=voting(answer)) as h:
        with pytest.raises(SecurityDeniedError, match="not a Verdict"):
            await h.call(Chat("hi").to("good/m"))


async def test_a_vote_may_be_a_coroutine():
    class Slow(Plugin):
        async def security_check(self, request, target):
            await asyncio.sleep(0)
            return Verdict.deny("after thought")

    async with host(guard=Slow) as h:
        with pytest.raises(SecurityDeniedError, match="after thought"):
            await h.call(Chat("hi").to("good/m"))


async def test_votes_are_asked_once_for_the_request_and_once_for_the_target():
    guard = voting(None)
    async with host(guard=guard) as h:
        await h.call(Chat("hi").to("good/m"))
    assert [target and str(target) for target in guard.asked] == [None, "good/m"]


async def test_a_target_that_is_denied_gives_way_to_one_that_is_allowed():
    guard = voting(
        lambda request, target: Verdict.deny("not here") if target and target.instance == "bad" else None
    )
    bad = failing(Reply("bad"))
    async with host(route("bad/m", "good/m"), bad=bad, guard=guard) as h:
        reply = await h.call(Chat("hi").to("r"))
    assert reply.text == "good"
    assert bad.asked == 0
    assert isinstance(reply.attempts[0].error, SecurityDeniedError)


async def test_a_guard_that_does_not_load_denies_every_call_and_says_why():
    class Broken(Plugin):
        def __init__(self, config, context):
            raise RuntimeError("no database")

        def security_check(self, request, target):
            return None

    async with host(guard=Broken) as h:
        with pytest.raises(SecurityDeniedError, match="no database"):
            await h.call(Chat("hi").to("good/m"))


async def test_a_guard_that_comes_up_later_opens_the_way():
    class Late(Plugin):
        tries = 0

        def __init__(self, config, context):
            super().__init__(config, context)
            type(self).tries += 1
            if self.tries == 1:
                raise RuntimeError("not yet")

        def security_check(self, request, target):
            return Verdict.allow()

    async with host(late=Late) as h:
        with pytest.raises(SecurityDeniedError, match="not yet"):
            await h.call(Chat("hi").to("good/m"))
        h._registry.find("plain", "late")._retry_at = time.monotonic()
        assert (await h.call(Chat("hi").to("good/m"))).text == "good"


@pytest.mark.feature("S002-18")
async def test_a_private_request_never_leaves_for_a_target_that_is_not_local():
    remote, local = failing(Reply("remote")), type("Local", (Good,), {"local": True})
    async with host(route("remote/m", "local/m"), remote=remote, local=local) as h:
        reply = await h.call(Chat("hi").to("r", data_class="private"))
        assert str(reply.target) == "local/m"
        with pytest.raises(SecurityDeniedError, match="private and remote/m is not local"):
            await h.call(Chat("hi").to("remote/m", data_class="private"))
    assert remote.asked == 0
