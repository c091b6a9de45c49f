"""The shipped manifest says what the code says."""

from __future__ import annotations

from importlib.resources import files

from gleitzeit_plugin_ollama import Ollama

from gleitzeit.manifest import build, dumps


def test_the_manifest_is_the_one_that_the_code_makes() -> None:
    shipped = files("gleitzeit_plugin_ollama").joinpath("gleitzeit.json").read_text("utf-8")
    assert shipped == dumps(build(Ollama, "ollama", "provider"))
