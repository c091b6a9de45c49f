"""Text: chats and completions of a causal language model."""

from __future__ import annotations

import copy
import os
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from gleitzeit_plugin_huggingface.worker.engine import Transformers, bytes_of, place
from gleitzeit_plugin_huggingface.worker.jobs import Failure, Job
from gleitzeit_plugin_huggingface.worker.output import Pieces, StopStrings

__all__ = ["Generator"]

#: Special tokens that are part of the answer, as what they enclose is told apart by them.
TELLING = ("<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]")


class Generator:
    """A causal language model with its tokenizer; several jobs may run at the same time."""

    def __init__(self, source: dict[str, Any], engine: Transformers) -> None:
        self._engine = engine
        self._tokenizer: Any = AutoTokenizer.from_pretrained(place(source), **engine.arguments(source))
        model: Any = AutoModelForCausalLM.from_pretrained(
            place(source), dtype=engine.dtype, **engine.arguments(source)
        )
        self._model: Any = model.to(engine.device).eval()
        self.bytes = bytes_of(self._model)
        config = self._model.config.get_text_config()
        self._context = getattr(config, "max_position_embeddings", None)
        ends = self._model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or ())
        own = self._tokenizer.eos_token_id
        self._ends = frozenset(ends if own is None else [*ends, own])
        telling = {self._tokenizer.convert_tokens_to_ids(token) for token in TELLING}
        self._hidden = frozenset(self._tokenizer.all_special_ids) - telling | self._ends

    def close(self) -> None:
        """Drop the weights."""
        self._model = self._tokenizer = None
        self._engine.release()

    def run(self, job: Job) -> dict[str, Any]:
        """Write the answer; gives its end and its usage."""
        ask = job.ask
        prompt, facts = self._prompt(ask)
        tokens: list[int] = self._tokenizer(prompt, add_special_tokens="prompt" in ask)["input_ids"]
        if not tokens:
            raise Failure("invalid", "there is nothing to continue: the prompt is empty")
        wanted = ask.get("max_tokens") or self._model.generation_config.max_new_tokens
        room = None if self._context is None else self._context - len(tokens)
        if room is not None and room <= 0:
            raise Failure("too_long", f"the prompt has {len(tokens)} tokens, and the context {self._context}")
        limit = min(n for n in (wanted, room, 2**20) if n is not None)
        config = self._settings(limit, ask)
        job.began(input=len(tokens), **facts)
        writer = Writer(job, self._tokenizer, self._hidden, self._ends, ask["stop"])
        self._generate(tokens, config, ask, writer)
        job.check()
        writer.close()
        if writer.ended or writer.stops.found is not None:
            finish = "stop"
        else:
            finish = "length" if wanted is not None and writer.count >= wanted else "context"
        return {"finish": finish, "input": len(tokens), "output": writer.count, "stop": writer.stops.found}

    def _prompt(self, ask: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text to continue, and what its template says of the answer."""
        if "prompt" in ask:
            return ask["prompt"], {}
        if not self._tokenizer.chat_template:
            raise Failure("unsupported", "this model has no chat template", "ask for a completion")
        template = self._tokenizer.get_chat_template(tools=ask["tools"] or None)
        try:
            text: str = self._tokenizer.apply_chat_template(
                ask["messages"],
                tools=ask["tools"] or None,
                add_generation_prompt=True,
                tokenize=False,
                **ask["template"],
            )
        except Exception as error:
            # Templates refuse what they do not know with jinja2's errors, which need no import here.
            if type(error).__module__.split(".")[0] != "jinja2":
                raise
            raise Failure("invalid", f"the model's chat template refuses the messages: {error}") from error
        calls = next((tag for tag in ("<tool_call>", "[TOOL_CALLS]") if tag in template), None)
        return text, {"calls": calls, "thinking": text.rstrip().endswith("<think>")}

    def _settings(self, limit: int, ask: dict[str, Any]) -> Any:
        """What the model ships with, changed as the request says."""
        config = copy.deepcopy(self._model.generation_config)
        unknown = config.update(**ask["generation"])
        if unknown:
            raise Failure(
                "invalid", f"transformers knows no setting {', '.join(sorted(unknown))} of generation"
            )
        config.update(
            num_beams=1, max_length=None, max_new_tokens=limit, eos_token_id=sorted(self._ends) or None
        )
        if config.pad_token_id is None:
            own = self._tokenizer.pad_token_id
            config.pad_token_id = own if own is not None else next(iter(self._ends), 0)
        return config

    def _generate(self, tokens: list[int], config: Any, ask: dict[str, Any], writer: Writer) -> None:
        picker = Picker(config, ask, self._model.device)
        # The choice among the tokens is the picker's: torch's own would share one seed among all jobs.
        config.do_sample = False
        ids = torch.tensor([tokens], device=self._model.device)
        self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            logits_processor=LogitsProcessorList([picker] if picker.samples else []),
            stopping_criteria=StoppingCriteriaList([Stop(writer)]),
            streamer=writer,
        )


class Writer:
    """Writes the tokens of one job as text; transformers takes it for a streamer."""

    def __init__(
        self, job: Job, tokenizer: Any, hidden: frozenset[int], ends: frozenset[int], stops: list[str]
    ) -> None:
        self.job = job
        self.stops = StopStrings(stops)
        self.count = 0
        #: Has the model ended its answer by itself?
        self.ended = False
        self._pieces = Pieces(lambda ids: tokenizer.decode(ids, skip_special_tokens=False), hidden)
        self._ends = ends
        self._prompted = False

    def put(self, value: Any) -> None:
        """The prompt first, then each new token. Waits while the reader is behind."""
        if not self._prompted:
            self._prompted = True
            return
        for id in value.flatten().tolist():
            self.count += 1
            self.ended = id in self._ends
            self._write(self._pieces.feed(id))

    def end(self) -> None:
        """The last token has come."""

    def close(self) -> None:
        """Write what was held back."""
        self._write(self._pieces.close())
        rest = self.stops.close()
        if rest:
            self.job.text(rest)

    def _write(self, piece: str) -> None:
        text = self.stops.feed(piece) if piece else ""
        if text:
            self.job.text(text)


class Stop(StoppingCriteria):  # type: ignore[misc]  # transformers is not installed where types are checked
    """Ends the generation when nobody waits for it, or a stop string has come."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        done = self._writer.job.stopped or self._writer.stops.found is not None
        return torch.full((input_ids.shape[0],), done, device=input_ids.device, dtype=torch.bool)


class Picker(LogitsProcessor):  # type: ignore[misc]
    """Draws the next token with a random number generator of the job's own.

    The request's settings hold, then those that the model ships with.
    """

    def __init__(self, config: Any, ask: dict[str, Any], device: Any) -> None:
        temperature = ask.get("temperature")
        drawn = bool(config.do_sample)
        self._temperature = (config.temperature or 1.0) if temperature is None else temperature
        self._top_p = _first(ask.get("top_p"), config.top_p, 1.0)
        self._top_k = _first(ask.get("top_k"), config.top_k, 0)
        self._min_p = _first(ask.get("min_p"), config.min_p, 0.0)
        #: Is there anything to draw? Without, the likeliest token is taken.
        self.samples = self._temperature > 0 and (drawn or temperature is not None)
        self._random = torch.Generator(device=device)
        seed = ask.get("seed")
        self._random.manual_seed(int.from_bytes(os.urandom(7), "big") if seed is None else seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        likely = torch.softmax(scores.float() / self._temperature, dim=-1)
        if self._top_k:
            least = likely.topk(min(self._top_k, likely.shape[-1]), dim=-1).values[..., -1:]
            likely = likely.masked_fill(likely < least, 0.0)
        if self._min_p:
            likely = likely.masked_fill(likely < self._min_p * likely.amax(dim=-1, keepdim=True), 0.0)
        if self._top_p < 1.0:
            ordered, places = likely.sort(dim=-1, descending=True)
            # What comes before a token must not reach the share already; the first one always stays.
            over = ordered.cumsum(dim=-1) - ordered >= self._top_p * ordered.sum(dim=-1, keepdim=True)
            likely = likely.masked_fill(torch.zeros_like(over).scatter(-1, places, over), 0.0)
        drawn = torch.multinomial(likely, 1, generator=self._random)
        return torch.full_like(scores, float("-inf")).scatter(-1, drawn, 0.0)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
