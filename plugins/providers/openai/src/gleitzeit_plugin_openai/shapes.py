"""Shapes of the wire, tolerant on purpose: published schemas are stricter than what servers send.

A stream's chunk and a whole answer share one shape; leaves are untyped, as each of them is sent
in several ways by somebody.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

__all__ = ["Answer", "Choice", "Function", "Message", "WireCall", "decode", "decode_loosely"]


class Function(msgspec.Struct, gc=False):
    """The function of a call; `arguments` is JSON text, or a fragment of it."""

    name: Any = None
    arguments: Any = None


class WireCall(msgspec.Struct, gc=False):
    """A tool call, or a fragment of one."""

    index: Any = None
    id: Any = None
    function: Function | None = None
    extra_content: Any = None


class Message(msgspec.Struct, gc=False):
    """A message, or a delta of one."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    thinking: Any = None
    reasoning_details: Any = None
    tool_calls: list[WireCall] | None = None
    function_call: Function | None = None
    extra_content: Any = None
    audio: Any = None
    annotations: Any = None


class Choice(msgspec.Struct, gc=False):
    """A choice: `message` in an answer, `delta` in a chunk, `text` in the older completions."""

    index: Any = 0
    delta: Message | None = None
    message: Message | None = None
    text: Any = None
    finish_reason: Any = None
    logprobs: Any = None
    content_filter_results: Any = None


class Answer(msgspec.Struct, gc=False):
    """A chunk or a whole answer, or an error in place of one."""

    id: Any = None
    model: Any = None
    choices: list[Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None
    object: Any = None
    type: Any = None
    detail: Any = None
    message: Any = None
    prompt_filter_results: Any = None

    @property
    def is_error(self) -> bool:
        """Is this an error in one of its dialects?"""
        return (
            bool(self.error)
            or self.type == "error"
            or self.object == "error"
            or (
                self.choices is None
                and (self.error is not None or self.detail is not None or self.message is not None)
            )
        )


decode: Final = msgspec.json.Decoder(Answer).decode


def decode_loosely(data: bytes) -> Answer:
    """The answer in `data`, where `decode` found none; raises `ValueError` where there is none.

    Reads what some servers write: raw control characters, NaN, bytes that are no UTF-8, and half
    surrogate pairs, which then stand in the text.
    """
    try:
        loose = json.loads(data.decode("utf-8", "replace"), strict=False)
        return msgspec.convert(loose, Answer)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None
