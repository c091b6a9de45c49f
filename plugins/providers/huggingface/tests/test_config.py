"""The configuration, and what is said where the packages for local models are missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
from gleitzeit_plugin_huggingface import HuggingFace, HuggingFaceConfig, launch
from gleitzeit_plugin_huggingface.config import read_bytes
from pydantic import ValidationError

from gleitzeit.errors import PluginError
from gleitzeit.testing import FakeContext
from gleitzeit.values import Chat


@pytest.mark.parametrize(
    "text,size",
    [("6 GB", 6_000_000_000), ("512MiB", 2**29), ("1.5 kB", 1500), ("10B", 10), (7, 7), ("2tib", 2**41)],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert read_bytes(text) == size
    assert HuggingFaceConfig(memory_budget=text).budget == size


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory_budget": "much"},
        {"memory_budget": 0},
        {"device": "toaster"},
        {"dtype": "int8"},
        {"concurrency": 0},
        {"nonsense": 1},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HuggingFaceConfig(**wrong)


async def test_missing_packages_are_an_error_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    context = FakeContext("hf")
    provider = HuggingFace(HuggingFaceConfig(paths={"m": "/m"}, cache=str(tmp_path)), context)
    with pytest.raises(PluginError, match=r"huggingface\[local\]") as caught:
        await provider.call(Chat("x").to("m"))
    assert caught.value.sent is False
    assert caught.value.provider == "hf"
    assert "torch" in str((await provider.health()).detail)
    assert provider.worker.starts == 0


def test_the_worker_needs_nothing_of_ours_in_its_interpreter() -> None:
    """Its modules import the standard library only, until a model is loaded."""
    code = (
        f"import runpy, sys; runpy.run_path({launch.WORKER + '/__main__.py'!r})['find']();"
        "import gleitzeit_plugin_huggingface.worker.server, gleitzeit_plugin_huggingface.worker.engine;"
        "import gleitzeit_plugin_huggingface.worker.output;"
        "print([n for n in sys.modules if n.split('.')[0] in ('gleitzeit', 'msgspec', 'attrs', 'torch')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, gleitzeit_plugin_huggingface;"
        "print([n for n in ('torch', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert importlib.util.find_spec("gleitzeit_plugin_huggingface.worker") is not None
