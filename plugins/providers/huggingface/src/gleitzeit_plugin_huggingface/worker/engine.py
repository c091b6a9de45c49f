"""Models of transformers and sentence-transformers. Heavy: imported with the first model."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import sys
from typing import Any

from gleitzeit_plugin_huggingface.worker.jobs import Failure
from gleitzeit_plugin_huggingface.worker.shelf import Loaded

__all__ = ["Transformers"]

WEIGHTS = (".safetensors", ".bin")
MODULES = {
    "text": ("gleitzeit_plugin_huggingface.worker.generate", "Generator"),
    "embedding": ("gleitzeit_plugin_huggingface.worker.embed", "Embedder"),
    "classification": ("gleitzeit_plugin_huggingface.worker.classify", "Classifier"),
}


class Transformers:
    """Loads models by their `source`: a `path` or a `repo`, with a `revision` or None.

    Options are `device`, `dtype`, `download`, `cache` and `threads`.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._ready = False

    def size(self, task: str, source: dict[str, Any]) -> int:
        """The weights' bytes on disk; 0 where they are not here yet."""
        folder = source.get("path")
        if folder is None:
            return 0
        found = [name for name in os.listdir(folder) if name.endswith(WEIGHTS)]
        kind = ".safetensors" if any(name.endswith(".safetensors") for name in found) else ".bin"
        return sum(os.path.getsize(os.path.join(folder, name)) for name in found if name.endswith(kind))

    def load(self, task: str, source: dict[str, Any]) -> Loaded:
        """A model, ready. Raises `Failure`."""
        self._prepare()
        module, name = MODULES[task]
        try:
            made: Loaded = getattr(importlib.import_module(module), name)(source, self)
        except ModuleNotFoundError as error:
            raise _missing(error) from None
        except (OSError, ValueError, KeyError) as error:
            self.release()
            raise _refused(error, source) from error
        return made

    @property
    def device(self) -> str:
        """Where models go, as torch names it."""
        import torch

        wanted: str = self._options["device"]
        if wanted != "auto":
            return wanted
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def arguments(self, source: dict[str, Any]) -> dict[str, Any]:
        """What every `from_pretrained` is told."""
        return {
            "revision": source.get("revision"),
            "local_files_only": not self._options["download"],
            "cache_dir": self._options["cache"],
        }

    @property
    def dtype(self) -> Any:
        """The numbers of the weights: "auto", or torch's own type."""
        import torch

        word: str = self._options["dtype"]
        return word if word == "auto" else getattr(torch, word)

    def release(self) -> None:
        """Give the memory of what was dropped back to the system."""
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        if sys.platform == "linux":
            try:
                ctypes.CDLL(None).malloc_trim(0)
            except (OSError, AttributeError):
                pass  # another C library than GNU's

    def _prepare(self) -> None:
        if self._ready:
            return
        try:
            import torch
            import transformers
        except ModuleNotFoundError as error:
            raise _missing(error) from None
        if self._options["threads"]:
            torch.set_num_threads(self._options["threads"])
        transformers.utils.logging.disable_progress_bar()
        self._ready = True


def bytes_of(model: Any) -> int:
    """What the parameters and buffers of a torch module take."""
    return sum(tensor.nbytes for group in (model.parameters(), model.buffers()) for tensor in group)


def place(source: dict[str, Any]) -> str:
    """Where `from_pretrained` finds the model."""
    found: str = source.get("path") or source["repo"]
    return found


def _missing(error: ModuleNotFoundError) -> Failure:
    return Failure(
        "missing",
        f"{sys.executable} has no package {error.name!r}",
        "pip install 'gleitzeit-plugin-huggingface[local]', or name an interpreter that has it in `python`",
    )


def _refused(error: Exception, source: dict[str, Any]) -> Failure:
    """The reason why a model cannot be loaded. transformers tells most of them as OSError or ValueError."""
    text = str(error).strip().split("\n")[0][:500]
    where = place(source)
    hint = None
    if source.get("path") is None:
        hint = "is the name right? It must be in the cache already, or `download = true`"
    if isinstance(error, OSError):
        return Failure("unknown_model", f"{where} cannot be loaded: {text}", hint)
    return Failure("unsupported", f"{where} cannot be loaded: {type(error).__name__}: {text}")
