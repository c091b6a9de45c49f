"""Counting tokens: the method `count_tokens` of an instance."""

from __future__ import annotations

from typing import Any

import msgspec

from gleitzeit.errors import InvalidRequestError, MalformedAnswerError
from gleitzeit.values import Chat, Invoke, Reply
from gleitzeit.wire.codec import from_json

__all__ = ["COUNT", "read_count", "to_count"]

COUNT = "count_tokens"


def to_count(operation: Invoke) -> tuple[str, Chat]:
    """The model and the chat that a call asks to be counted."""
    given = dict(operation.arguments)
    given.update(zip(("model", "chat"), operation.args, strict=False))
    model, chat = given.pop("model", None), given.pop("chat", None)
    if given or len(operation.args) > 2 or not isinstance(model, str) or not model or chat is None:
        raise InvalidRequestError(
            f"{COUNT} takes `model`, a name, and `chat`: a prompt, a Chat, or a Chat as JSON",
            hint='Invoke("count_tokens", arguments={"model": "claude-…", "chat": Chat("hello")})',
        )
    if isinstance(chat, str):
        chat = Chat(chat)
    return model, chat if isinstance(chat, Chat) else from_json(Chat, chat)


def read_count(body: bytes) -> Reply:
    """The count, as `data={"input_tokens": …}` and as text."""
    try:
        data: Any = msgspec.json.decode(body)
        count = data["input_tokens"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        count = data = None
    if type(count) is not int:
        raise MalformedAnswerError("the answer holds no input_tokens", body=body, sent=True)
    return Reply(str(count), data=data, raw=body)
