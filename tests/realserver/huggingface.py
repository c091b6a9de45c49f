"""Makes tiny models from random weights, and tells what their own libraries say of them.

    python -m tests.realserver.huggingface FOLDER

Writes `vectors` (sentence-transformers, 32 numbers), `labels` (a classifier with the labels of textual
entailment) and `large` (a language model of 40 MB, to be seen in memory), and prints what the libraries
answer as JSON. Nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import string
import sys
from pathlib import Path
from typing import Any

__all__ = ["TEXTS", "WANTED", "make", "oracle"]

TEXTS = ["hello", "other text", "hello, this is a longer text."]
WANTED = ["sport", "cooking"]
LABELS = {0: "contradiction", 1: "neutral", 2: "entailment"}
IDS = {label: id for id, label in LABELS.items()}


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    signs = string.ascii_lowercase + string.digits
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *".,!?'", *("##" + sign for sign in signs)]
    pieces = Tokenizer(models.WordPiece({word: id for id, word in enumerate(words)}, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=128, **special)


def make(folder: Path) -> None:
    """Write the three models."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertModel,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = _tokenizer()
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    BertModel(BertConfig(**size)).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    body = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension())]).save(str(folder / "vectors"))
    labels = BertForSequenceClassification(BertConfig(**size, num_labels=3, id2label=LABELS, label2id=IDS))
    torch.nn.init.normal_(labels.classifier.weight, std=2.0)  # else all scores are alike
    labels.save_pretrained(folder / "labels")
    tokenizer.save_pretrained(folder / "labels")
    large = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    Qwen2ForCausalLM(large).save_pretrained(folder / "large")
    tokenizer.save_pretrained(folder / "large")


def oracle(folder: Path) -> dict[str, Any]:
    """What the libraries answer, asked directly."""
    from sentence_transformers import SentenceTransformer
    from transformers import pipeline

    vectors = SentenceTransformer(str(folder / "vectors"), device="cpu").encode(TEXTS)
    own = pipeline("text-classification", model=str(folder / "labels"), top_k=None, device="cpu")
    zero = pipeline("zero-shot-classification", model=str(folder / "labels"), device="cpu")
    wanted = [zero(text, WANTED) for text in TEXTS]
    several = [zero(text, WANTED, multi_label=True) for text in TEXTS]
    return {
        "vectors": vectors.tolist(),
        "labels": [[(each["label"], each["score"]) for each in row] for row in own(TEXTS)],
        "zero": [list(zip(row["labels"], row["scores"], strict=True)) for row in wanted],
        "several": [list(zip(row["labels"], row["scores"], strict=True)) for row in several],
    }


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    make(Path(sys.argv[1]))
    print(json.dumps(oracle(Path(sys.argv[1]))))
