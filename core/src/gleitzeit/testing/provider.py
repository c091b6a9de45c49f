"""The contract suite as tests: subclass it in a test file, give a case, run pytest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar

import pytest

from gleitzeit.testing.case import ProviderCase
from gleitzeit.testing.suite import RULES, Rule, check

__all__ = ["ProviderContract", "add_tests"]


class ProviderContract:
    """Tests that every provider must pass, one a rule of the contract.

        class TestAcme(ProviderContract):
            @pytest.fixture
            def case(self, acme_server):
                return ProviderCase(
                    Acme,
                    config={"base_url": acme_server.url, "api_key": "canary"},
                    request=Chat("ping").to("acme-large"),
                    text="pong",
                    secret="canary",
                )

    The fixture may be a coroutine or generator. Needs pytest-asyncio; real requests are forbidden
    unless the case is `online`.
    """

    pytestmark = pytest.mark.asyncio
    #: Must every rule be checked? Then what the case lacks is a failure, unless `without` gives the reason.
    thorough: ClassVar[bool] = False

    @pytest.fixture
    def case(self) -> ProviderCase:
        """The provider under test; override it."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `case` that gives a ProviderCase")


def add_tests(
    suite: type, rules: Iterable[Rule[Any]], check: Callable[[Rule[Any], Any], Awaitable[None]]
) -> None:
    """Give a suite one test for each rule, skipped where its case lacks what the rule needs."""
    for rule in rules:
        setattr(suite, f"test_{rule.name}", _as_test(suite, rule, check))


def _as_test(
    suite: type, rule: Rule[Any], check: Callable[[Rule[Any], Any], Awaitable[None]]
) -> Callable[[Any, Any], Awaitable[None]]:
    async def test(self: Any, case: Any) -> None:
        reason = rule.missing(case)
        if reason is not None:
            if self.thorough and rule.name not in case.without:
                pytest.fail(f"{reason}; give it, or say in `without` why there is none")
            pytest.skip(reason)
        await check(rule, case)

    test.__name__ = f"test_{rule.name}"
    test.__qualname__ = f"{suite.__name__}.{test.__name__}"
    test.__doc__ = rule.run.__doc__
    return test


add_tests(ProviderContract, RULES, check)
