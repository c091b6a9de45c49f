"""How the worker is started: its interpreter, its options, its variables. No argument holds a secret."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gleitzeit.errors import PluginError
from gleitzeit.kinds import Launch
from gleitzeit.process import secrets_in
from gleitzeit_plugin_huggingface.config import HuggingFaceConfig

__all__ = ["ENGINE", "launch_of", "missing"]

#: What loads the models.
ENGINE: Final = "gleitzeit_plugin_huggingface.worker.engine:Transformers"
WORKER: Final = str(Path(__file__).with_name("worker"))
#: What the extra `local` brings.
NEEDED: Final = ("torch", "transformers")
#: Variables that hold places, whatever these look like.
_PLACES: Final = frozenset({"HOME", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR"})


def missing(config: HuggingFaceConfig) -> PluginError | None:
    """The error where the host's own interpreter is to run models and lacks the packages; imports nothing."""
    if config.python is not None:
        return None
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return PluginError(
        f"local models need {' and '.join(absent)}, and {sys.executable} has not",
        hint="pip install 'gleitzeit-plugin-huggingface[local]', or name one that has them in `python`",
        sent=False,
    )


def launch_of(
    config: HuggingFaceConfig, engine: str = ENGINE, environ: Mapping[str, str] = os.environ
) -> Launch:
    """The worker's command and variables."""
    options = {
        "device": config.device,
        "dtype": config.dtype,
        "download": config.download,
        "cache": str(config.hub(environ)),
        "threads": config.threads,
        "concurrency": config.concurrency,
        "budget": config.budget,
    }
    python = os.path.expanduser(config.python) if config.python is not None else sys.executable
    return Launch(
        (python, WORKER, engine, json.dumps(options)),
        env=_environment(config, environ),
        # A name of the hub must not lead to a folder of that name where the host happens to run.
        cwd=WORKER,
    )


def _environment(config: HuggingFaceConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The host's variables without its secrets: code of models has no business with them."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in _PLACES or (name.startswith("HF_") and name != "HF_TOKEN") or not secrets_in({name: value})
    }
    kept |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    kept |= {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if not config.download:
        kept |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    elif config.token is not None:
        kept["HF_TOKEN"] = config.token.get_secret_value()
    elif "HF_TOKEN" in environ:
        kept["HF_TOKEN"] = environ["HF_TOKEN"]
    return kept | {name: value.get_secret_value() for name, value in config.env.items()}
