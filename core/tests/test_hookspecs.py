"""Hooks register by being overridden; wrong signatures are named with place and fix."""

import pytest

from gleitzeit import Model, Plugin, Provider, Reply, hookimpl
from gleitzeit.errors import PluginLoadError
from gleitzeit.hookspecs import HOOKS, check_hooks
from gleitzeit.values import Retry


class Whole(Provider):
    def provide_models(self):
        yield Model("m")

    async def call(self, request):
        return Reply("x")


def test_overriding_is_registering():
    assert check_hooks(Whole(None, None), "whole") == ("provide_models", "call")


def test_an_override_of_an_override_stays_registered():
    class Deeper(Whole):
        async def call(self, request):
            return Reply("y")

    assert check_hooks(Deeper(None, None), "deeper") == ("provide_models", "call")


def test_a_plain_class_needs_the_marker():
    class Bare:
        async def call(self, request):
            return Reply("x")

    with pytest.raises(PluginLoadError, match=r"`call` has a hook's name but is not marked.*decorate it"):
        check_hooks(Bare(), "bare")
    Bare.call = hookimpl(Bare.call)
    assert check_hooks(Bare(), "bare") == ("call",)


@pytest.mark.parametrize(
    "name, method, fix",
    [
        ("call", lambda self, request: None, "async def call"),
        ("health", lambda self, deep=False: None, "async def health"),
        ("provide_models", lambda self, extra: (), r"def provide_models\(self\)"),
        ("security_check", lambda self, request: None, r"def security_check\(self, request, target\)"),
        (
            "security_check",
            lambda self, request, *, target: None,
            r"def security_check\(self, request, target\)",
        ),
        ("wrap_call", lambda self, *args: None, r"def wrap_call\(self, route\)"),
        ("retry_policy", lambda self, error: None, r"def retry_policy\(self, request, error, tries\)"),
    ],
)
def test_a_wrong_signature_is_named_with_place_and_fix(name, method, fix):
    wrong = type("Wrong", (Plugin,), {name: method})
    with pytest.raises(PluginLoadError, match=rf"plugin 'wrong'.*{name}.*test_hookspecs\.py:\d+.*{fix}"):
        check_hooks(wrong(None, None), "wrong")


@pytest.mark.parametrize(
    "name, names",
    [("retry_policy", "request, error, tries"), ("wrap_call", "route"), ("wrap_attempt", "target")],
)
def test_a_coroutine_that_nobody_would_await_is_refused(name, names):
    scope = {}
    exec(f"async def {name}(self, {names}): ...", scope)
    wrong = type("Wrong", (Plugin,), {name: scope[name]})
    with pytest.raises(PluginLoadError, match=rf"`{name}` is a coroutine function.*write `def {name}\(self"):
        check_hooks(wrong(None, None), "wrong")


def test_an_opinion_on_retries_is_a_hook_like_the_others():
    class Patient(Plugin):
        def retry_policy(self, request, error, tries):
            return Retry.after(1.5) if tries < 3 else Retry.never()

    plugin = Patient(None, None)
    assert check_hooks(plugin, "patient") == ("retry_policy",)
    assert [plugin.retry_policy(None, None, tries).delay for tries in (1, 3)] == [1.5, None]
    assert Plugin(None, None).retry_policy(None, None, 1) is None


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_retry_after_no_time_at_all_is_refused(seconds):
    with pytest.raises(ValueError, match=r"cannot wait .* seconds.*Retry\.never"):
        Retry.after(seconds)


def test_every_hook_has_a_default_in_the_bases():
    assert [name for name in HOOKS if not hasattr(Provider, name)] == []
    assert check_hooks(Plugin(None, None), "none") == ()
    assert check_hooks(Provider(None, None), "none") == ()
