"""Configuration of an instance whose models run on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

__all__ = ["HuggingFaceConfig", "read_bytes"]

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B", re.I)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def read_bytes(value: int | str) -> int:
    """A size such as `"6 GB"`, `"512MiB"` or a number of bytes. Raises `ValueError`."""
    if isinstance(value, int):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError("expected a number of bytes, or a size such as 6 GB or 512 MiB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** _POWERS[found[2].lower()])


class HuggingFaceConfig(BaseModel):
    """Which models there are, and where and how they run."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    paths: Annotated[dict[str, str], Field(description="Folders of models by the names they have here.")] = {}
    folders: Annotated[
        tuple[str, ...], Field(description="Folders that hold one folder for each model.")
    ] = ()
    cache: Annotated[
        str | None, Field(description="Folder of downloaded models; unset: Hugging Face's own.")
    ] = None
    download: Annotated[
        bool, Field(description="Download a model that is not here yet, at its first call.")
    ] = False
    token: Annotated[
        SecretStr | None, Field(description="Token for downloads of models with conditions.")
    ] = None
    python: Annotated[
        str | None, Field(description="Interpreter that has torch and transformers; unset: the host's own.")
    ] = None
    env: Annotated[
        dict[str, SecretStr], Field(description="Further variables for the process of the models.")
    ] = {}
    device: Annotated[
        str,
        Field(
            pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
            description="Where models run: auto, cpu, mps, cuda, cuda:1.",
        ),
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "float16", "bfloat16"],
        Field(description="Numbers of the weights; auto: as they are stored."),
    ] = "auto"
    memory_budget: Annotated[
        int | str | None,
        Field(
            description="Most bytes of weights in memory, such as 6 GB; least recently used models make room."
        ),
    ] = None
    threads: Annotated[
        int | None, Field(ge=1, description="Threads of torch on the CPU; unset: torch decides.")
    ] = None
    concurrency: Annotated[int, Field(ge=1, description="Most calls that run at the same time.")] = 4
    preload: Annotated[
        tuple[str, ...],
        Field(description="Models to load when the instance starts, not at their first call."),
    ] = ()
    max_tokens: Annotated[
        int | None,
        Field(ge=1, description="Most tokens of an answer where a request does not say; unset: the model's."),
    ] = None
    embedding_batch: Annotated[int, Field(ge=1, description="Most texts to embed in one go.")] = 32
    truncate: Annotated[
        bool, Field(description="Cut texts to embed that are too long; else such a text is an error.")
    ] = False
    return_thinking: Annotated[
        bool, Field(description="Give thinking back to the template of the model that it came from.")
    ] = True

    @field_validator("memory_budget")
    @classmethod
    def _size(cls, value: int | str | None) -> int | None:
        if value is None:
            return None
        size = read_bytes(value)
        if size <= 0:
            raise ValueError("a budget is more than nothing")
        return size

    @property
    def budget(self) -> int | None:
        """`memory_budget` in bytes."""
        return None if self.memory_budget is None else read_bytes(self.memory_budget)

    def hub(self, environ: Mapping[str, str] = os.environ) -> Path:
        """The folder of downloaded models."""
        if self.cache is not None:
            return Path(self.cache).expanduser()
        if environ.get("HF_HUB_CACHE"):
            return Path(environ["HF_HUB_CACHE"])
        home = environ.get("HF_HOME")
        if not home:
            home = os.path.join(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
        return Path(home).expanduser() / "hub"
