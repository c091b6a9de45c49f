"""What a request asks for, checked before it is written in a vendor's words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gleitzeit.errors import InvalidRequestError
from gleitzeit.values import Chat, Completion, Request

__all__ = ["as_chat", "given_options", "idempotency", "wanted_tool"]


def as_chat(completion: Completion) -> Chat:
    """A text to continue as a conversation of one turn."""
    return Chat(
        completion.prompt,
        max_tokens=completion.max_tokens,
        temperature=completion.temperature,
        top_p=completion.top_p,
        stop=completion.stop,
        seed=completion.seed,
        options=completion.options,
    )


def given_options(
    options: Mapping[str, Mapping[str, Any]], plugin: str, ours: Collection[str] = ()
) -> dict[str, Any]:
    """The caller's options for a plugin, as `Chat.options` holds them, which may not name `ours`."""
    given = dict(options.get(plugin, ()))
    for name in given:
        if name in ours:
            raise InvalidRequestError(
                f"option {name!r} is set by the request itself", hint="leave it out of options"
            )
    return given


def idempotency(request: Request) -> dict[str, str] | None:
    """The header that tells a server of a repeated request; None where the caller gave no key."""
    key = request.idempotency_key
    return None if key is None else {"Idempotency-Key": key}


def wanted_tool(chat: Chat, others: Collection[str | None] = ()) -> str | None:
    """The `tool_choice` of a chat: "none", "required" or the name of a tool; None for the default.

    `others` are tools besides those of the chat, None for one without a name. Raises
    `InvalidRequestError` for what cannot be called.
    """
    choice = chat.tool_choice
    offered = {*(tool.name for tool in chat.tools), *others}
    if choice == "auto" or (choice == "none" and not offered):
        return None
    if choice in ("none", "required") and offered:
        return choice
    if choice not in offered:
        needs = "needs `tools`" if choice == "required" else "needs that tool among `tools`"
        raise InvalidRequestError(f"tool_choice {choice!r} {needs}")
    return choice
