"""Servers that nobody here wrote, as processes on loopback with the tiny model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

__all__ = ["KEY", "LLAMA", "llama", "transformers"]

#: The Python that has llama-cpp-python, which is not everywhere: it is compiled where it is installed.
LLAMA = os.environ.get("REALSERVER_LLAMA_PYTHON", "")
#: What llama-cpp-python's server is told to ask for.
KEY = "key-of-the-tiny-server"
#: Seconds for a server to start; some ten where the machine is quiet.
_START = 400


@contextmanager
def transformers(model: Path) -> Generator[str, None, None]:
    """`transformers serve`; its model is `./NAME`, as the name is the path on the command line."""
    port = _free_port()
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, "serve", f"./{model.name}", "--host", "127.0.0.1", "--port", str(port)]
    home = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(model.parent / "home")}
    with _process([*command, "--device", "cpu"], model.parent, home, f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def llama(model: Path) -> Generator[str, None, None]:
    """llama-cpp-python's server; it asks for `KEY`.

    It has the model as `tiny`, as `small` with a window of 256 tokens, and as `vectors` for embeddings.
    """
    port = _free_port()
    base = {"model": str(model), "n_threads": 1, "n_threads_batch": 1, "verbose": False}
    models = [
        {**base, "model_alias": "tiny", "n_ctx": 1024},
        {**base, "model_alias": "small", "n_ctx": 256},
        {**base, "model_alias": "vectors", "n_ctx": 1024, "embedding": True},
    ]
    settings = model.parent / "llama.json"
    settings.write_text(
        json.dumps({"host": "127.0.0.1", "port": port, "api_key": KEY, "models": models}), "utf-8"
    )
    command = [LLAMA, "-m", "llama_cpp.server", "--config_file", str(settings)]
    with _process(command, model.parent, {}, f"http://127.0.0.1:{port}/v1/models"):
        yield f"http://127.0.0.1:{port}/v1"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def _process(
    command: list[str], folder: Path, environment: dict[str, str], ready: str
) -> Generator[None, None, None]:
    log = folder / f"server-on-{urlsplit(ready).port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        _wait(ready, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers, whatever it says: who asks for a key is there, too."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _START
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"the server ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            with direct.open(url, timeout=10):
                return
        except urllib.error.HTTPError as error:
            if error.code == 401:
                return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    pytest.fail(f"the server is not ready:\n{log.read_text()[-3000:]}")
