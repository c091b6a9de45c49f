"""What the README says of the configuration holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from gleitzeit_plugin_huggingface import HuggingFaceConfig, RouterConfig
from gleitzeit_plugin_openai import OpenAIConfig

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    "key",
    sorted(
        {*HuggingFaceConfig.model_fields, *(RouterConfig.model_fields.keys() - OpenAIConfig.model_fields)}
    ),
)
def test_every_key_is_explained(key: str) -> None:
    assert f"`{key}`" in README


def test_every_choice_is_explained() -> None:
    for name, schema in HuggingFaceConfig.model_json_schema()["properties"].items():
        for choice in schema.get("enum", ()):
            assert f'`"{choice}"`' in README, name
