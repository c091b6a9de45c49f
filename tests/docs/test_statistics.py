"""Every field of a snapshot stands in its page."""

import re

import attrs
import pytest

from gleitzeit.values import snapshot as values
from gleitzeit.values.histogram import HistogramData
from tests.docs.test_reference import table

CLASSES = [values.Snapshot, values.CallSeries, values.TargetSeries, values.InstanceSeries, HistogramData]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_field_and_method_is_described(cls: type) -> None:
    said = {
        re.sub(r"\(.*", "", word.strip())
        for row in table("statistics.md", cls.__name__)
        for word in row[cls.__name__].split(",")
    }
    fields = {field.name for field in attrs.fields(cls)}
    more = {name for name, value in vars(cls).items() if not name.startswith("_") and name not in fields}
    assert said == fields | more
