"""Makes a tiny chat model that knows a few dialogues by heart, so that a real server gives known answers.

    python -m tests.realserver.model FOLDER

Qwen2 layout, two layers, about 121,000 parameters, from random weights: nothing is downloaded. It is
trained until it reproduces each dialogue exactly (some twenty seconds of one quiet core); any other prompt
gives noise. Needs torch and transformers, which only the session `realserver` installs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["DIALOGUES", "FLAT_TOOL", "TOOL", "make"]

#: The one tool; a dialogue is known only with exactly this description and schema.
TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "d",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

#: The same tool as the Responses API has it: servers hand its `strict` to the template, too.
FLAT_TOOL = {**TOOL, "strict": False}

TEMPLATE = (
    "{%- if tools %}<|im_start|>system\n{%- for tool in tools %}{{ tool | tojson }}{%- endfor %}<|im_end|>\n"
    "{%- endif %}{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- endif %}"
    "{%- for call in message.tool_calls or [] %}"
    "{{- '<tool_call>' }}{{- call.function | tojson }}{{- '</tool_call>' }}{%- endfor %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def _asks(*cities: str) -> str:
    calls = [json.dumps({"name": "get_weather", "arguments": {"city": city}}) for city in cities]
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)


def _told(prompt: str, encode: bool, **weather: str) -> list[dict[str, Any]]:
    """The conversation after the tool results; servers hand arguments to the template parsed or as text."""
    calls = []
    for number, city in enumerate(weather):
        arguments: Any = {"city": city}
        function = {"name": "get_weather", "arguments": json.dumps(arguments) if encode else arguments}
        calls.append({"id": f"c{number}", "type": "function", "function": function})
    answers = [
        {"role": "tool", "tool_call_id": f"c{number}", "content": sky}
        for number, sky in enumerate(weather.values())
    ]
    return [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": "", "tool_calls": calls},
        *answers,
    ]


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _weather(tool: dict[str, Any], *, encode: bool) -> list[tuple[list[dict[str, Any]], Any, str]]:
    """What the model says once it has been told the weather."""
    one, two = "weather in Paris", "weather in Paris and Oslo"
    return [
        (_told(one, encode, Paris="sunny"), tool, "It is sunny in Paris."),
        (_told(two, encode, Paris="sunny", Oslo="snow"), tool, "Sun in Paris, snow in Oslo."),
    ]


#: (messages, the tool, what the model writes)
DIALOGUES: list[tuple[list[dict[str, Any]], dict[str, Any] | None, str]] = [
    (_user("hi"), None, "Hello there! Grüße 你好 😀."),
    (_user("think"), None, "<think>\nlet me see\n</think>\n\n42"),
    ([{"role": "system", "content": "be brief"}, *_user("hi")], None, "Hi."),
    *((_user("weather in Paris"), tool, _asks("Paris")) for tool in (TOOL, FLAT_TOOL)),
    *((_user("weather in Paris and Oslo"), tool, _asks("Paris", "Oslo")) for tool in (TOOL, FLAT_TOOL)),
    *_weather(TOOL, encode=False),
    *_weather(TOOL, encode=True),
    *_weather(FLAT_TOOL, encode=True),
]


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    text = [
        "hello there, this is a tiny text for a tiny model",
        "grüße 你好 😀 tool_call name arguments city",
    ] * 50
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        text, trainers.BpeTrainer(vocab_size=512, special_tokens=specials, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=specials[0],
        eos_token=specials[2],
        pad_token=specials[0],
        additional_special_tokens=specials[1:],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make(folder: Path) -> None:
    """Make, train and check the model; raises `RuntimeError` where it did not learn a dialogue."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)  # several wait for each other where a machine is busy
    tokenizer = _tokenizer()
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
        )
    )
    pairs = []
    for messages, tool, reply in DIALOGUES:
        tools = [{"type": "function", "function": tool}] if tool else None
        prompt = tokenizer.apply_chat_template(
            messages, tools=tools, add_generation_prompt=True, tokenize=False
        )
        texts = (prompt, reply + "<|im_end|>")
        pairs.append([tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts])
    _train(model, pairs, tokenizer.pad_token_id)
    model.generation_config.do_sample = False
    model.generation_config.max_new_tokens = 200
    for (_, _, reply), (prompt, answer) in zip(DIALOGUES, pairs, strict=True):
        output = model.generate(torch.tensor([prompt]), max_new_tokens=len(answer) + 8, do_sample=False)
        written = tokenizer.decode(output[0][len(prompt) :])
        if written != reply + "<|im_end|>":
            raise RuntimeError(f"the model wrote {written!r}, not {reply!r}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _train(model: Any, pairs: list[Any], pad: int) -> None:
    import torch

    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    inputs = torch.full((len(pairs), longest), pad)
    labels = torch.full((len(pairs), longest), -100)
    mask = torch.zeros((len(pairs), longest), dtype=torch.long)
    for row, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer)
        inputs[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
        mask[row, :end] = 1
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for _ in range(1500):
        loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.003:
            break
    model.eval()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
