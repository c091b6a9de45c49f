"""The next target answers where one fails, and only where nothing can happen twice."""

import pytest

from core.tests.toys import Good, failing, host, route, running
from gleitzeit import (
    Chat,
    Stream,
    TextDelta,
    ToolCall,
)
from gleitzeit.errors import (
    AuthenticationError,
    InvalidRequestError,
    OverloadedError,
    RateLimitedError,
    ResetError,
    TruncatedStreamError,
    UnsupportedError,
)
from gleitzeit.values import Tool


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("x"),
        OverloadedError("x"),
        AuthenticationError("x"),
        ResetError("x", sent=True),
        UnsupportedError("x"),
        ValueError("bug"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_target_answers_where_one_fails(error, stream):
    async with host(route("bad/m", "good/m"), bad=failing(error)) as h:
        request = Chat("hi").to("r")
        reply = await (h.stream(request).collect() if stream else h.call(request))
    assert reply.text == "good"
    assert [str(attempt.target) for attempt in reply.attempts] == ["bad/m"]
    assert str(reply.target) == "good/m"


async def test_an_error_of_the_request_is_not_tried_elsewhere():
    async with host(route("bad/m", "good/m"), bad=failing(InvalidRequestError("x"))) as h:
        with pytest.raises(InvalidRequestError):
            await h.call(Chat("hi").to("r"))
        assert running(h).requests == []


@pytest.mark.parametrize("sent, answered", [(False, True), (True, False), (None, False)])
async def test_a_tool_call_that_may_have_acted_is_never_repeated_elsewhere(sent, answered):
    class Tools(Good):
        def provide_tools(self):
            return [Tool("t")]

    bad = failing(ResetError("x", sent=sent), tools=True)
    async with host(route("bad/t", "tools/t"), bad=bad, tools=Tools) as h:
        request = ToolCall({}).to("r")
        if answered:
            assert (await h.call(request)).text == "good"
        else:
            with pytest.raises(ResetError):
                await h.call(request)
    assert bad.asked == 1


async def test_when_all_targets_fail_the_last_error_carries_the_attempts():
    bad, worse = failing(OverloadedError("one")), failing(RateLimitedError("two"))
    config = {**route("bad/m", "worse/m"), "host": {"retry": {"max_retries": 0}}}
    async with host(config, bad=bad, worse=worse) as h:
        with pytest.raises(RateLimitedError) as caught:
            await h.call(Chat("hi").to("r"))
    assert [attempt.error.message for attempt in caught.value.attempts] == ["one"]
    assert caught.value.provider == "worse"


async def test_a_stream_falls_back_only_before_its_first_content():
    def breaking(after):
        class Breaking(Good):
            async def events(self, request):
                for _ in range(after):
                    yield TextDelta("x")
                raise ResetError("cut", sent=True)

        return Breaking

    async with host(route("early/m", "good/m"), early=breaking(0)) as h:
        assert (await h.stream(Chat("hi").to("r")).collect()).text == "good"
    async with host(route("late/m", "good/m"), late=breaking(1)) as h:
        with pytest.raises(ResetError) as caught:
            await h.stream(Chat("hi").to("r")).collect()
        assert caught.value.partial.text == "x"
        assert running(h).requests == []


async def test_a_stream_cut_cleanly_is_truncated_and_never_a_success():
    class Cut(Good):
        async def call(self, request):
            return Stream(self.events(request))

        async def events(self, request):
            yield TextDelta("x")

    async with host(cut=Cut) as h:
        with pytest.raises(TruncatedStreamError):
            await h.call(Chat("hi").to("cut/m"))
        with pytest.raises(TruncatedStreamError):
            await h.stream(Chat("hi").to("cut/m")).collect()
