"""The same two turns in the words of every vendor: a thought with two parallel calls, then a sentence."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

from gleitzeit.testing.faulty import Answer, FaultyServer, sse

__all__ = ["CALLS", "READ", "SENTENCE", "THOUGHT", "VOICES", "WROTE", "Voice"]

THOUGHT: Final = "Two lookups at once."
SENTENCE: Final = "Rain at noon, says the desk."
CALLS: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("desk__weather", {"city": "Oslo"}),
    ("desk__clock", {"city": "Oslo", "zone": "CET"}),
)
MODEL: Final = "m-1"
KEY: Final = "k-voice"
#: Tokens read and written in each turn.
READ, WROTE = 20, 9


@frozen(kw_only=True)
class Voice:
    """A vendor: its fake, how its plugin is configured, and its two answers, whole or streamed."""

    plugin: str
    #: Module, class and arguments of the fake.
    fake: tuple[str, str, Mapping[str, Any]]
    #: What must come back to this vendor as it was, and go to no other.
    state: str
    calls: Callable[[], Any] = field(repr=False)
    sentence: Callable[[], Any] = field(repr=False)
    #: The frames of a stream that says the same as a whole body.
    frames: Callable[[Any], Iterable[bytes]] = field(repr=False)
    config: Mapping[str, Any] = field(factory=dict)

    def server(self) -> FaultyServer[Any]:
        """The fake, which refuses what its vendor would refuse."""
        module, name, arguments = self.fake
        made = getattr(importlib.import_module(f"gleitzeit.testing.{module}"), name)(**arguments)
        assert isinstance(made, FaultyServer)
        return made

    def configure(self, url: str) -> dict[str, Any]:
        """The configuration of an instance on a server at `url`."""
        return {"plugin": self.plugin, "base_url": url, "api_key": KEY, **self.config}

    def answers(self, stream: bool) -> list[Answer]:
        """Both turns."""
        return [self.answer(body(), stream) for body in (self.calls, self.sentence)]

    def answer(self, body: Any, stream: bool) -> Answer:
        """One turn, in the fake's own class of answers."""
        kind: type[Answer] = importlib.import_module(f"gleitzeit.testing.{self.fake[0]}").Answer
        return kind(frames=tuple(self.frames(body))) if stream else kind(body=body)


def _arguments(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments)


# --- chat completions -------------------------------------------------------------------------------------

_CHAT_STATE: Final = "gAAA+chat/state=="


def _chat(message: Mapping[str, Any], finish: str) -> dict[str, Any]:
    usage = {"prompt_tokens": READ, "completion_tokens": WROTE, "total_tokens": READ + WROTE}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    head = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": MODEL}
    return {**head, "choices": [choice], "usage": usage}


def _chat_calls() -> dict[str, Any]:
    calls = [
        {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": _arguments(value)}}
        for at, (name, value) in enumerate(CALLS)
    ]
    details = [{"type": "reasoning.encrypted", "data": _CHAT_STATE, "index": 0}]
    thought = {"reasoning_content": THOUGHT, "reasoning_details": details}
    return _chat({"content": None, **thought, "tool_calls": calls}, "tool_calls")


def _chat_frames(body: Any) -> Iterable[bytes]:
    head = {"id": body["id"], "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    (choice,) = body["choices"]
    message = choice["message"]

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        return sse({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant"})
    for name in ("reasoning_content", "content"):
        text = message.get(name) or ""
        for piece in filter(None, (text[:7], text[7:])):
            yield chunk({name: piece})
    if "reasoning_details" in message:
        yield chunk({"reasoning_details": message["reasoning_details"]})
    for index, call in enumerate(message.get("tool_calls", ())):
        written = call["function"]["arguments"]
        begun = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
        yield chunk({"tool_calls": [begun]})
        for piece in (written[:5], written[5:]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    yield sse({**head, "choices": [], "usage": body["usage"]})  # the fake adds the end


# --- responses --------------------------------------------------------------------------------------------

_RESPONSES_STATE: Final = "gAAA+responses/state=="


def _response(*output: Any) -> dict[str, Any]:
    usage = {"input_tokens": READ, "output_tokens": WROTE, "total_tokens": READ + WROTE}
    head = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": MODEL}
    more: dict[str, Any] = {
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": True,
        "tools": [],
    }
    return {**head, **more, "output": list(output), "usage": usage}


def _response_calls() -> dict[str, Any]:
    thought = {"type": "reasoning", "id": "rs_1", "encrypted_content": _RESPONSES_STATE}
    calls = [
        {
            "type": "function_call",
            "id": f"fc_{at}",
            "call_id": f"call_{at}",
            "name": name,
            "status": "completed",
        }
        | {"arguments": _arguments(value)}
        for at, (name, value) in enumerate(CALLS)
    ]
    return _response({**thought, "summary": [{"type": "summary_text", "text": THOUGHT}]}, *calls)


def _response_sentence() -> dict[str, Any]:
    text = {"type": "output_text", "text": SENTENCE, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    return _response(item)


def _response_frames(body: Any) -> Iterable[bytes]:
    numbers = iter(range(1000))

    def event(kind: str, **more: Any) -> bytes:
        return sse({"type": kind, "sequence_number": next(numbers), **more}, event=kind)

    yield event("response.created", response={**body, "status": "in_progress", "output": [], "usage": None})
    for index, item in enumerate(body["output"]):
        at = {"output_index": index}
        inside = {**at, "item_id": item["id"]}
        if item["type"] == "reasoning":
            (part,) = item["summary"]
            inside |= {"summary_index": 0}
            name, text, empty = "response.reasoning_summary", part["text"], {**item, "summary": []}
            yield event("response.output_item.added", item={**empty, "encrypted_content": ""}, **at)
            yield event(f"{name}_part.added", part={**part, "text": ""}, **inside)
            yield event(f"{name}_text.delta", delta=text[:5], **inside)
            yield event(f"{name}_text.delta", delta=text[5:], **inside)
            yield event(f"{name}_text.done", text=text, **inside)
            yield event(f"{name}_part.done", part=part, **inside)
        elif item["type"] == "message":
            (part,) = item["content"]
            inside |= {"content_index": 0}
            yield event("response.output_item.added", item={**item, "content": []}, **at)
            yield event("response.content_part.added", part={**part, "text": ""}, **inside)
            yield event("response.output_text.delta", delta=part["text"][:5], **inside)
            yield event("response.output_text.delta", delta=part["text"][5:], **inside)
            yield event("response.output_text.done", text=part["text"], **inside)
            yield event("response.content_part.done", part=part, **inside)
        else:
            name, text = "response.function_call_arguments", item["arguments"]
            yield event("response.output_item.added", item={**item, "arguments": ""}, **at)
            yield event(f"{name}.delta", delta=text[:5], **inside)
            yield event(f"{name}.delta", delta=text[5:], **inside)
            yield event(f"{name}.done", arguments=text, **inside)
        yield event("response.output_item.done", item=item, **at)
    yield event("response.completed", response=body)


# --- messages ---------------------------------------------------------------------------------------------

_MESSAGES_STATE: Final = "EpAC+messages/state=="


def _message(content: list[Any], reason: str) -> dict[str, Any]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}
    usage = {"input_tokens": READ, "output_tokens": WROTE}
    return {**head, "content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage}


def _message_calls() -> dict[str, Any]:
    thought = {"type": "thinking", "thinking": THOUGHT, "signature": _MESSAGES_STATE}
    calls = [
        {"type": "tool_use", "id": f"toolu_{at}", "name": name, "input": dict(value)}
        for at, (name, value) in enumerate(CALLS)
    ]
    return _message([thought, *calls], "tool_use")


def _message_frames(body: Any) -> Iterable[bytes]:
    def event(kind: str, **more: Any) -> bytes:
        return sse({"type": kind, **more}, event=kind)

    begun = {**body, "content": [], "stop_reason": None, "usage": {"input_tokens": READ, "output_tokens": 1}}
    yield event("message_start", message=begun)
    yield event("ping")
    empty: dict[str, Any]
    for index, block in enumerate(body["content"]):
        if block["type"] == "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": ""}
            text, name, kind = block["thinking"], "thinking", "thinking_delta"
        elif block["type"] == "text":
            empty, text, name, kind = {"type": "text", "text": ""}, block["text"], "text", "text_delta"
        else:
            empty, text = {**block, "input": {}}, _arguments(block["input"])
            name, kind = "partial_json", "input_json_delta"
            yield event("content_block_start", index=index, content_block=empty)
            yield event("content_block_delta", index=index, delta={"type": kind, name: ""})
        if block["type"] != "tool_use":
            yield event("content_block_start", index=index, content_block=empty)
        for piece in (text[:5], text[5:]):
            yield event("content_block_delta", index=index, delta={"type": kind, name: piece})
        if "signature" in block:
            signed = {"type": "signature_delta", "signature": block["signature"]}
            yield event("content_block_delta", index=index, delta=signed)
        yield event("content_block_stop", index=index)
    ended = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=ended, usage={"output_tokens": WROTE})
    yield event("message_stop")


# --- generateContent --------------------------------------------------------------------------------------

_GENERATE_STATE: Final = "CpAC+generate/stateA"
_WROTE_ALOUD: Final = 5


def _generated(parts: list[Any]) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": READ, "candidatesTokenCount": _WROTE_ALOUD}
    usage |= {"thoughtsTokenCount": WROTE - _WROTE_ALOUD, "totalTokenCount": READ + WROTE}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL, "responseId": "r-1"}


def _generated_calls() -> dict[str, Any]:
    calls: list[Any] = [{"functionCall": {"name": name, "args": dict(value)}} for name, value in CALLS]
    calls[0]["thoughtSignature"] = _GENERATE_STATE
    return _generated([{"text": THOUGHT, "thought": True}, *calls])


def _generated_frames(body: Any) -> Iterable[bytes]:
    (candidate,) = body["candidates"]
    parts = candidate["content"]["parts"]
    for at, part in enumerate(parts):
        held = {"content": {"role": "model", "parts": [part]}, "index": 0}
        if at == len(parts) - 1:
            held["finishReason"] = candidate["finishReason"]
        yield sse({**body, "candidates": [held]}, "\r\n")


# --- native Ollama ----------------------------------------------------------------------------------------


def _line(message: Mapping[str, Any], *, done: bool = True) -> dict[str, Any]:
    head = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z"}
    ended = {"done_reason": "stop", "prompt_eval_count": READ, "eval_count": WROTE, "total_duration": 5}
    return {**head, "message": {"role": "assistant", **message}, "done": done, **(ended if done else {})}


def _line_calls() -> dict[str, Any]:
    calls = [{"function": {"name": name, "arguments": dict(value)}} for name, value in CALLS]
    return _line({"content": "", "thinking": THOUGHT, "tool_calls": calls})


def _lines(body: Any) -> Iterable[bytes]:
    message = body["message"]
    for name in ("thinking", "content"):
        text = message.get(name, "")
        for piece in filter(None, (text[:5], text[5:])):
            yield json.dumps(_line({"content": "", name: piece}, done=False)).encode() + b"\n"
    if "tool_calls" in message:
        shown = _line({"content": "", "tool_calls": message["tool_calls"]}, done=False)
        yield json.dumps(shown).encode() + b"\n"
    yield json.dumps(_line({"content": ""})).encode() + b"\n"


#: By the name of the instance.
VOICES: Final[Mapping[str, Voice]] = {
    "chat": Voice(
        plugin="openai",
        fake=("openai_server", "OpenAIServer", {"api_key": KEY}),
        state=_CHAT_STATE,
        calls=_chat_calls,
        sentence=lambda: _chat({"content": SENTENCE}, "stop"),
        frames=_chat_frames,
    ),
    "responses": Voice(
        plugin="openai",
        fake=("openai_server", "OpenAIServer", {"api_key": KEY}),
        config={"api": "responses"},
        state=_RESPONSES_STATE,
        calls=_response_calls,
        sentence=_response_sentence,
        frames=_response_frames,
    ),
    "claude": Voice(
        plugin="anthropic",
        fake=("anthropic_server", "AnthropicServer", {"api_key": KEY}),
        state=_MESSAGES_STATE,
        calls=_message_calls,
        sentence=lambda: _message([{"type": "text", "text": SENTENCE}], "end_turn"),
        frames=_message_frames,
    ),
    "gemini": Voice(
        plugin="gemini",
        fake=("gemini_server", "GeminiServer", {"api_key": KEY}),
        state=_GENERATE_STATE,
        calls=_generated_calls,
        sentence=lambda: _generated([{"text": SENTENCE}]),
        frames=_generated_frames,
    ),
    "ollama": Voice(
        plugin="ollama",
        fake=("ollama_server", "OllamaServer", {"api_key": KEY}),
        state=THOUGHT,  # nothing opaque here: the thought itself comes back
        calls=_line_calls,
        sentence=lambda: _line({"content": SENTENCE}),
        frames=_lines,
    ),
}
