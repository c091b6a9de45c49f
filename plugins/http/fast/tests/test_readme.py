"""What the README says of the configuration holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from gleitzeit_plugin_http_fast import FastConfig

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.parametrize("key", sorted(FastConfig.model_fields))
def test_every_key_is_explained(key: str) -> None:
    assert f"| `{key}` |" in README
