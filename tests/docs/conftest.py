"""What the documentation's blocks find when they run."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.workshop import Workshop

#: Whatever model is asked, and whatever for.
ANSWERS = {"models": {"gpt-5.2": [{"text": "An answer of the loopback server."}]}}


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of an OpenAI-shaped server: pages name the vendor, tests talk to loopback only."""
    script = tmp_path_factory.mktemp("vendor") / "script.json"
    script.write_text(json.dumps({**ANSWERS, "default": ANSWERS["models"]["gpt-5.2"]}), encoding="utf-8")
    command = [sys.executable, "-m", "gleitzeit.testing.openai_server", "--script", str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.stdin.close()  # that ends it


@pytest.fixture(scope="session")
def _engine() -> Iterator[None]:
    """gRPC has one engine a process, which it ends at leisure once nothing uses it: keep it for all pages."""
    grpc = pytest.importorskip("grpc")
    with grpc.insecure_channel("127.0.0.1:1"):
        yield


@pytest.fixture
def workshop(
    _engine: None, vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workshop]:
    """A folder and an environment for the blocks of one page."""
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.setenv("GLEITZEIT__PROVIDERS__OPENAI__BASE_URL", vendor)
    yield Workshop(folder, monkeypatch)
    gc.collect()  # gRPC's objects end in circles, and its poller with the last of them
