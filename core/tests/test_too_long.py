"""A request that is too long for one target goes to one with a larger context, and nowhere else."""

import pytest

from core.tests.toys import host
from gleitzeit import Chat, Provider, Reply
from gleitzeit.errors import GleitzeitError, OverloadedError, QueueFullError, TooLongError
from gleitzeit.plugin import Strategy
from gleitzeit.values import Model

QUICK = {"retry": {"base_delay": 0.001}}


class As(Strategy):
    """As it is written."""


def holding(tokens, *errors):
    """A provider of this context; its first calls raise these errors, the next one answers with its size."""

    class Holding(Provider):
        asked = 0

        def provide_models(self):
            return [Model("m", context_tokens=tokens)]

        async def call(self, request):
            number, type(self).asked = type(self).asked, type(self).asked + 1
            if number < len(errors):
                raise errors[number]
            return Reply(str(tokens))

    return Holding


def long():
    return TooLongError("too long", sent=True)


def busy():
    return OverloadedError("busy", sent=True)


async def call(strategy=None, **providers):
    """The answer of a route over all, or the error of the call; and how often each was asked."""
    table = {"targets": [f"{name}/m" for name in providers], **({"strategy": strategy} if strategy else {})}
    plugins = {**providers, **({"as_written": As} if strategy else {})}
    async with host({"routes": {"r": table}, "host": QUICK}, **plugins) as h:
        try:
            end = (await h.call(Chat("hi").to("r"))).text
        except GleitzeitError as error:
            end = error
    return end, [provider.asked for provider in providers.values()]


async def test_the_next_larger_one_is_asked_and_the_others_are_left_out():
    end, asked = await call(
        a=holding(8000, long()), b=holding(8000), c=holding(4000), d=holding(None), e=holding(32000)
    )
    assert (end, asked) == ("32000", [1, 0, 0, 0, 1])


async def test_each_failure_raises_the_size_that_is_needed():
    end, asked = await call(
        a=holding(8000, long()), b=holding(16000, long()), c=holding(9000), d=holding(32000)
    )
    assert (end, asked) == ("32000", [1, 1, 0, 1])


async def test_where_none_is_larger_the_call_says_that_it_is_too_long():
    end, asked = await call(a=holding(8000, long()), b=holding(8000), c=holding(None))
    assert (type(end), asked) == (TooLongError, [1, 0, 0])


async def test_a_target_of_unknown_context_ends_the_call():
    end, asked = await call(a=holding(None, long()), b=holding(32000))
    assert (type(end), asked) == (TooLongError, [1, 0])


async def test_the_larger_one_is_retried_and_a_smaller_one_is_not():
    end, asked = await call(
        a=holding(8000, busy()), b=holding(16000, long()), c=holding(32000, busy(), busy())
    )
    assert (end, asked) == ("32000", [1, 1, 3])


async def test_a_smaller_one_that_failed_before_is_not_asked_again():
    end, asked = await call(a=holding(8000, busy()), b=holding(16000, long()))
    assert (type(end), asked) == (TooLongError, [1, 1])


@pytest.mark.parametrize("first", [8000, 32000])
async def test_a_busy_one_is_waited_for_only_if_it_is_large_enough(first):
    a, b = holding(first), holding(16000, long())
    end, asked = await call("as_written", a=refusing(a), b=b)
    if first == 8000:
        assert (type(end), asked) == (TooLongError, [1, 1])
    else:
        assert (end, asked) == ("32000", [2, 1])


def refusing(provider):
    """Has no room at first, as its gate would say."""

    class Refusing(provider):
        async def call(self, request):
            if not type(self).asked:
                type(self).asked = 1
                raise QueueFullError("full", sent=False)
            return await super().call(request)

    return Refusing
