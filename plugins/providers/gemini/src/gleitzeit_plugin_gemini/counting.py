"""What `Invoke("count_tokens", …)` counts, out of its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.errors import GleitzeitError, InvalidRequestError, MalformedAnswerError
from gleitzeit.values import Chat, Invoke, Message, Tool
from gleitzeit.wire.codec import from_json
from gleitzeit.wire.exchange import decoded

__all__ = ["chat_of", "read_count"]

_KNOWN: Final = frozenset({"model", "messages", "tools", "options"})


def chat_of(invoke: Invoke, name: str, instance: str) -> tuple[str, Chat]:
    """The model, and the chat whose tokens are asked for.

    `messages` is a text, or messages as values or as the codec's JSON; `tools` likewise. The model
    is the argument of that name, else the name that the request was sent to.
    """
    arguments = invoke.arguments
    unknown = sorted(set(arguments) - _KNOWN)
    if unknown or invoke.args:
        raise InvalidRequestError(
            f"count_tokens takes {', '.join(sorted(_KNOWN))}, not {', '.join(unknown) or 'positions'}",
        )
    model = arguments.get("model") or (name if name != instance else "")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("count_tokens needs the argument `model`")
    model = model.removeprefix(f"{instance}/")
    given = arguments.get("messages")
    if isinstance(given, str):
        messages = [Message.user(given)]
    else:
        messages = _values(Message, given, "messages")
    tools = _values(Tool, arguments.get("tools") or (), "tools")
    options = arguments.get("options")
    return model, Chat(messages, tools=tools, options=options if isinstance(options, Mapping) else {})


def _values(cls: Any, given: Any, name: str) -> list[Any]:
    try:
        if isinstance(given, cls):
            return [given]
        return [item if isinstance(item, cls) else from_json(cls, item) for item in given]
    except (TypeError, ValueError, GleitzeitError):
        raise InvalidRequestError(f"count_tokens: `{name}` does not hold what it should") from None


def read_count(body: bytes) -> dict[str, Any]:
    """The counts of an answer: `input_tokens`, and the vendor's own fields beside it."""
    answer = decoded(body, "the answer")
    if not isinstance(answer, dict) or type(answer.get("totalTokens", 0)) is not int:
        raise MalformedAnswerError("the answer is not the JSON of a count of tokens", body=body, sent=True)
    # A count of nothing is left out on this wire.
    return {"input_tokens": answer.get("totalTokens", 0), **answer}
