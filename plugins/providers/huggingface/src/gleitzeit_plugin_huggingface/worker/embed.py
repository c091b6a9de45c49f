"""Vectors of a sentence-transformers model."""

from __future__ import annotations

import base64
import os
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from gleitzeit_plugin_huggingface.worker.engine import Transformers, bytes_of, place
from gleitzeit_plugin_huggingface.worker.jobs import Failure, Job

__all__ = ["Embedder"]


class Embedder:
    """A model of sentence-transformers."""

    def __init__(self, source: dict[str, Any], engine: Transformers) -> None:
        self._engine = engine
        told = engine.arguments(source)
        self._model: Any = SentenceTransformer(
            place(source),
            device=engine.device,
            revision=told["revision"],
            local_files_only=told["local_files_only"],
            cache_folder=told["cache_dir"],
            model_kwargs={"dtype": engine.dtype},
        ).eval()
        self.bytes = bytes_of(self._model)

    def close(self) -> None:
        """Drop the weights."""
        self._model = None
        self._engine.release()

    def run(self, job: Job) -> dict[str, Any]:
        """Embed the texts batch by batch; vectors are 32-bit numbers in base64, one row after the other."""
        ask, texts = job.ask, job.ask["inputs"]
        tokens = self._count(texts, ask)
        job.began()
        rows: list[Any] = []
        for start in range(0, len(texts), ask["batch"]):
            job.check()
            batch = texts[start : start + ask["batch"]]
            rows.append(
                self._model.encode(
                    batch,
                    batch_size=len(batch),
                    prompt_name=ask.get("prompt_name"),
                    normalize_embeddings=bool(ask.get("normalize", False)),
                    truncate_dim=self._size(ask.get("dimensions")),
                    show_progress_bar=False,
                    convert_to_tensor=True,
                )
            )
        vectors = torch.cat(rows).float().cpu().numpy()
        data = base64.b64encode(vectors.astype("<f4").tobytes()).decode("ascii")
        return {"vectors": data, "size": int(vectors.shape[1]), "input": tokens}

    def _size(self, wanted: int | None) -> int | None:
        if wanted is None:
            return None
        model = self._model
        get = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        if wanted > get():
            raise Failure("invalid", f"this model's vectors have {get()} dimensions, not {wanted}")
        return wanted

    def _count(self, texts: list[str], ask: dict[str, Any]) -> int | None:
        """The tokens of all texts; raises `Failure` where one is too long and must not be cut."""
        tokenizer, limit = self._model.tokenizer, self._model.max_seq_length
        if not callable(tokenizer):
            return None
        name = ask.get("prompt_name")
        if name is not None and name not in self._model.prompts:
            known = ", ".join(sorted(self._model.prompts)) or "none"
            raise Failure("invalid", f"this model has no prompt {name!r}; it has {known}")
        prefix = self._model.prompts.get(name or self._model.default_prompt_name or "", "")
        rows = tokenizer([prefix + text for text in texts], truncation=False, verbose=False)["input_ids"]
        if limit is not None and not ask.get("truncate"):
            for number, row in enumerate(rows):
                if len(row) > limit:
                    raise Failure(
                        "too_long",
                        f"text {number + 1} has {len(row)} tokens, and the model takes {limit}",
                        "shorten it, or set `truncate = true`",
                    )
        return sum(len(row) if limit is None else min(len(row), limit) for row in rows)


# The library that counts the words of a text in processes warns when others are forked from here.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
