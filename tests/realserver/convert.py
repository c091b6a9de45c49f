"""Writes the tiny model as one GGUF file, which llama.cpp reads.

    python -m tests.realserver.convert FOLDER FILE.gguf

Needs gguf and safetensors, which only the session `realserver` installs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

__all__ = ["convert"]

_TOP: Final = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_LAYER: Final = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
_CONTROL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def convert(folder: Path, file: Path) -> None:
    """Write the model in `folder` to `file`, with 32-bit weights, its tokens and its chat template."""
    import gguf
    from safetensors.numpy import load_file

    writer = gguf.GGUFWriter(str(file), "qwen2")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base((config.get("rope_parameters") or {}).get("rope_theta", 10000.0))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _tokens(writer, gguf, json.loads((folder / "tokenizer.json").read_text("utf-8")))
    writer.add_chat_template((folder / "chat_template.jinja").read_text("utf-8"))
    for name, weights in load_file(folder / "model.safetensors").items():
        writer.add_tensor(_name(name), weights.astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokens(writer: Any, gguf: Any, tokenizer: dict[str, Any]) -> None:
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    ids = {**tokenizer["model"]["vocab"], **special}
    tokens = sorted(ids, key=ids.__getitem__)
    kinds = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    # What a template writes is control and is not shown; the tags of calls are text.
    writer.add_token_types(
        [
            kinds.CONTROL if token in _CONTROL else kinds.USER_DEFINED if token in special else kinds.NORMAL
            for token in tokens
        ]
    )
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    writer.add_bos_token_id(ids[_CONTROL[0]])
    writer.add_pad_token_id(ids[_CONTROL[0]])
    writer.add_eos_token_id(ids[_CONTROL[2]])
    writer.add_add_bos_token(False)


def _name(name: str) -> str:
    """What llama.cpp calls a tensor."""
    if name in _TOP:
        return _TOP[name]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    inner, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{_LAYER[inner]}.{kind}"


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
