"""A pytest plugin that forbids real requests in every test.

pytest_plugins = ["gleitzeit.testing.offline"]  # in the conftest.py at the root
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gleitzeit.testing.network import NetworkGuard, forbid_network

__all__ = ["offline"]


@pytest.fixture(autouse=True)
def offline() -> Iterator[NetworkGuard]:
    """Nothing beyond this machine can be reached; an attempt fails the test, even if it was swallowed."""
    with forbid_network() as guard:
        yield guard
