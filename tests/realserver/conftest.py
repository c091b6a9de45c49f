"""The tiny model, and real servers with it on loopback, once for all tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.realserver import servers
from tests.realserver.talk import Weather


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """The folder with the model as `tiny/` and as `tiny.gguf`: REALSERVER_MODELS, or made here."""
    if "REALSERVER_MODELS" in os.environ:
        return Path(os.environ["REALSERVER_MODELS"])
    folder = tmp_path_factory.mktemp("models")
    root = Path(__file__).parents[2]
    for module, *words in (("model", "tiny"), ("convert", "tiny", "tiny.gguf")):
        paths = [str(folder / word) for word in words]
        subprocess.run([sys.executable, "-m", f"tests.realserver.{module}", *paths], cwd=root, check=True)
    return folder


@pytest.fixture(scope="session")
def server(models):
    """The address of `transformers serve`, as `http://127.0.0.1:PORT/v1`; its model is `./tiny`."""
    with servers.transformers(models / "tiny") as url:
        yield url


@pytest.fixture(scope="session")
def llama(request):
    """The address of llama-cpp-python's server; its models are `tiny`, `small` and `vectors`."""
    if not servers.LLAMA:
        pytest.skip("llama-cpp-python is not here: it has to be compiled, see what the session said of it")
    with servers.llama(request.getfixturevalue("models") / "tiny.gguf") as url:
        yield url


@pytest.fixture
def local():
    """What a host is made of: `providers` by name, as tables of their configuration, and the tool."""

    def arguments(**providers):
        return {"config": {"providers": providers}, "plugins": {"weather": Weather}, "environ": {}}

    return arguments
