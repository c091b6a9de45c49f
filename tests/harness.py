"""What every test of this repository gets: loopback only, nothing left behind, a clean environment, `shared`.

The root pyproject loads it with `-p tests.harness`, so it also serves core/tests and plugins/*/*/tests.
"""

import gc
import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["tests.network", "tests.leftovers"]

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# A developer's own keys and settings must not change what a test sees.
for _name in list(os.environ):
    if _name.startswith(("GLEITZEIT", "OPENAI_", "ANTHROPIC_", "GEMINI_", "OLLAMA_")) or _name.endswith(
        "_API_KEY"
    ):
        del os.environ[_name]

# Output is as wide as it likes. readline sets them for the processes that a process starts: so for workers.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# What one test found out about a server must not change what the next one sees.
os.environ["GLEITZEIT_CACHE"] = ""

# Servers of tests are on loopback; a proxy of the machine must not be asked for them.
_direct = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", "localhost", "127.0.0.1", "::1"]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, _direct))

# Nobody out there is asked, so nobody out there is trusted: reading the 150 authorities of the machine
# takes 20 ms for every host that a test opens. The key of this one was thrown away.
os.environ["SSL_CERT_FILE"] = str(ROOT / "tests" / "nobody.pem")
os.environ.pop("SSL_CERT_DIR", None)

# A job that a shell starts in the background ignores Ctrl-C, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is not a failing property.
hypothesis.settings.register_profile("gleitzeit", deadline=None)
hypothesis.settings.load_profile("gleitzeit")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the repository, with recorded traffic, specifications and recipes."""
    if not SHARED.is_dir():
        pytest.skip(_ABSENT)
    return SHARED


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return ROOT


_ABSENT = "needs the folder ../shared beside the repository; its recorded traffic is not part of the project"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=_ABSENT))
        if re.search(r"\bat 0x[0-9a-f]{4}", item.nodeid):
            raise pytest.UsageError(f"{item.nodeid}: give it ids that are the same in every process")
        for marker in item.iter_markers("feature"):
            if not marker.args or not all(re.fullmatch(r"S\d{3}-\d{2,}", str(one)) for one in marker.args):
                raise pytest.UsageError(
                    f"{item.nodeid}: feature takes ids such as 'S000-01', not {marker.args}"
                )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Take what the imports made out of every later garbage collection: it lives as long as the process.

    Tests that ask the collector for what they left behind ask about their own objects then, some
    hundreds of times as fast.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
