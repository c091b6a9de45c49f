"""Labels: of a model trained for them, or any at all by a model of textual entailment."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from gleitzeit_plugin_huggingface.worker.engine import Transformers, bytes_of, place
from gleitzeit_plugin_huggingface.worker.jobs import Failure, Job

__all__ = ["Classifier"]

TEMPLATE = "This example is {}."


class Classifier:
    """A model of sequence classification."""

    def __init__(self, source: dict[str, Any], engine: Transformers) -> None:
        self._engine = engine
        self._tokenizer: Any = AutoTokenizer.from_pretrained(place(source), **engine.arguments(source))
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            place(source), dtype=engine.dtype, **engine.arguments(source)
        )
        self._model: Any = model.to(engine.device).eval()
        self.bytes = bytes_of(self._model)
        config = self._model.config
        self._labels: list[str] = [config.id2label[number] for number in range(config.num_labels)]
        #: The label that says that a text follows from another; None where the model is not for that.
        self._entails = next(
            (n for n, label in enumerate(self._labels) if label.lower().startswith("entail")), None
        )

    def close(self) -> None:
        """Drop the weights."""
        self._model = self._tokenizer = None
        self._engine.release()

    def run(self, job: Job) -> dict[str, Any]:
        """Label each text; labels with their scores, the best first."""
        ask = job.ask
        wanted: list[str] = ask.get("labels") or []
        own = set(wanted) <= set(self._labels)
        if not own and self._entails is None:
            raise Failure(
                "unsupported",
                f"this model knows the labels {', '.join(self._labels)} only",
                "take its labels, or a model of natural language inference for labels of your own",
            )
        job.began()
        found, tokens = [], 0
        for text in ask["inputs"]:
            job.check()
            scores, count = self._own(text, wanted) if own else self._zero_shot(text, wanted, ask)
            tokens += count
            found.append(sorted(scores, key=lambda pair: -pair[1]))
        return {"labels": found, "input": tokens}

    def _own(self, text: str, wanted: list[str]) -> tuple[list[tuple[str, float]], int]:
        logits, count = self._logits([text])
        several = self._model.config.problem_type == "multi_label_classification" or len(self._labels) == 1
        scores = torch.sigmoid(logits[0]) if several else torch.softmax(logits[0], dim=-1)
        pairs = zip(self._labels, scores.tolist(), strict=True)
        return [pair for pair in pairs if not wanted or pair[0] in wanted], count

    def _zero_shot(
        self, text: str, wanted: list[str], ask: dict[str, Any]
    ) -> tuple[list[tuple[str, float]], int]:
        template = ask.get("hypothesis") or TEMPLATE
        logits, count = self._logits([text] * len(wanted), [template.format(label) for label in wanted])
        entails = logits[:, self._entails]
        if ask.get("multi_label") or len(wanted) == 1:
            # Each label for itself: against the one that says the contrary.
            against = -1 if self._entails == 0 else 0
            scores = torch.softmax(torch.stack([logits[:, against], entails], dim=-1), dim=-1)[:, 1]
        else:
            scores = torch.softmax(entails, dim=-1)
        return list(zip(wanted, scores.tolist(), strict=True)), count

    def _logits(self, texts: list[str], pairs: list[str] | None = None) -> tuple[Any, int]:
        padded = len(texts) > 1
        inputs = self._tokenizer(texts, pairs, return_tensors="pt", padding=padded, truncation=False)
        limit = getattr(self._model.config, "max_position_embeddings", None)
        length = inputs["input_ids"].shape[1]
        if limit is not None and length > limit:
            raise Failure("too_long", f"a text has {length} tokens, and the model takes {limit}")
        with torch.inference_mode():
            logits = self._model(**inputs.to(self._model.device)).logits.float()
        return logits, int(inputs["attention_mask"].sum())
