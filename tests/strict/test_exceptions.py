"""The exceptions from the stored schemas are needed, and no wider than they say."""

from __future__ import annotations

import pytest

from tests.strict import sdks, specs
from tests.strict.exceptions import EXCEPTIONS, SpecException, rewritten
from tests.strict.wires import REQUESTS


@pytest.mark.shared
@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda one: one.older.__name__)
def test_the_schema_refuses_the_example_for_this_alone(exception: SpecException) -> None:
    body = dict(exception.example)
    assert specs.raw_problems(exception.vendor, exception.schema, body)
    assert specs.problems(exception.vendor, exception.schema, body) == []
    path = next(path for path, schema in REQUESTS.items() if schema == (exception.vendor, exception.schema))
    assert sdks.problems(path, body) == [], "what the SDK does not know either is no newer feature"


@pytest.mark.shared
@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda one: one.older.__name__)
def test_what_stands_beside_it_is_still_checked(exception: SpecException) -> None:
    body = {**exception.example, "bogus": 1}
    assert rewritten(exception.vendor, body)["bogus"] == 1
    assert specs.problems(exception.vendor, exception.schema, body)
