"""The contract suite as tests: subclass it in a test file, give a case, run pytest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gleitzeit.testing.case import ProviderCase
from gleitzeit.testing.suite import RULES, Rule, check

__all__ = ["ProviderContract"]


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

    @pytest.fixture
    def case(self) -> ProviderCase:
        """The provider under test; override it."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `case` that gives a ProviderCase")


def _as_test(rule: Rule) -> Callable[[Any, ProviderCase], Awaitable[None]]:
    async def test(self: Any, case: ProviderCase) -> None:
        reason = rule.missing(case)
        if reason is not None:
            pytest.skip(reason)
        await check(rule, case)

    test.__name__ = f"test_{rule.name}"
    test.__qualname__ = f"{ProviderContract.__name__}.{test.__name__}"
    test.__doc__ = rule.run.__doc__
    return test


for _rule in RULES:
    setattr(ProviderContract, f"test_{_rule.name}", _as_test(_rule))
