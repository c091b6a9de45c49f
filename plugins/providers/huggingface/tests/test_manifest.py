"""The shipped manifests say what the code says."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from gleitzeit_plugin_huggingface import HuggingFace, HuggingFaceRouter

from gleitzeit.manifest import build, dumps


@pytest.mark.parametrize(
    "file, plugin, name",
    [
        ("gleitzeit.json", HuggingFace, "huggingface"),
        ("router.json", HuggingFaceRouter, "huggingface-router"),
    ],
)
def test_the_manifest_is_the_one_that_the_code_makes(file: str, plugin: Any, name: str) -> None:
    shipped = files("gleitzeit_plugin_huggingface").joinpath(file).read_text("utf-8")
    assert shipped == dumps(build(plugin, name, "provider"))
