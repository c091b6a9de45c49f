"""What every test of this repository gets: loopback only, nothing left behind, a clean environment, `shared`.

The root pyproject loads it with `-p tests.harness`, so it also serves core/tests and plugins/*/*/tests.
"""

import os
import re
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

# Servers of tests are on loopback; a proxy of the machine must not be asked for them.
_direct = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "", "localhost", "127.0.0.1", "::1"]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, _direct))

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
        for marker in item.iter_markers("feature"):
            if not marker.args or not all(re.fullmatch(r"S\d{3}-\d{2,}", str(one)) for one in marker.args):
                raise pytest.UsageError(
                    f"{item.nodeid}: feature takes ids such as 'S000-01', not {marker.args}"
                )
