"""Errors say what they mean for the target and for its limits."""

import pytest

from gleitzeit import errors
from gleitzeit.values.limits import Limit, RateLimits

AGAINST_THE_TARGET = {
    "OverloadedError",
    "UpstreamError",
    "ServerFaultError",
    "MalformedAnswerError",
    "TruncatedStreamError",
    "WireError",
    "CannotConnectError",
    "ResetError",
    "ProcessDiedError",
    "DeadlineError",
    "PluginError",
    "PluginNotFoundError",
    "PluginLoadError",
    "PluginIncompatibleError",
    "AmbiguousPluginError",
}


@pytest.mark.parametrize("name", errors.__all__)
def test_what_speaks_against_a_target(name):
    assert getattr(errors, name)("x").counts == (name in AGAINST_THE_TARGET)


def test_a_plugins_own_error_counts_like_what_it_stands_under():
    class BusyError(errors.OverloadedError):
        code = "acme_busy"

    class WrongToolError(errors.ToolFailedError):
        code = "acme_wrong_tool"

    assert BusyError("x").counts
    assert not WrongToolError("x").counts


def test_an_error_carries_what_the_upstream_said_of_its_limits():
    error = errors.RateLimitedError("x")
    assert error.limits is None
    error.limits = RateLimits(requests=Limit(10, 0, 1.5))
    assert error.limits.requests.reset == 1.5
    assert errors.RateLimitedError("y").limits is None
