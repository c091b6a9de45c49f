"""What rides on a part: state that the server wants back, and fields that an application adds."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import attrs
import msgspec

from gleitzeit.errors import InvalidRequestError
from gleitzeit.values import Part, ProviderState
from gleitzeit_plugin_anthropic.config import AnthropicConfig

__all__ = ["MARK", "PLUGIN", "Fields", "mark", "read_state", "state_owner"]

#: The key of our options in `Chat.options` and of our fields in `Tool.metadata`.
PLUGIN: Final = "anthropic"
#: The tag of what an application marked; it means the same to every server of this API.
MARK: Final = "anthropic:mark"
#: Fields of a block, each byte for byte as it came.
Fields = dict[str, msgspec.Raw]
P = TypeVar("P", bound=Part)
_decode: Final = msgspec.json.Decoder(Fields).decode


def state_owner(config: AnthropicConfig) -> str:
    """The tag of opaque state: Anthropic's own goes from model to model, others' stays at its server."""
    return PLUGIN if config.official else f"{PLUGIN}:{config.site}"


def mark(part: P, **fields: Any) -> P:
    """The part with fields of the Messages API on its block.

    `mark(part, cache_control={"type": "ephemeral"})`; `citations`, `title` and `context` for documents.
    What the server gave the part before is kept. Other vendors never see it.
    """
    state = part.provider_state
    ours = state is not None and (state.owner == PLUGIN or state.owner.startswith(f"{PLUGIN}:"))
    known: Fields = _decode(state.data) if state is not None and ours else {}
    added = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}
    data = msgspec.json.encode({**known, **added}).decode()
    owner = state.owner if state is not None and ours else MARK
    return attrs.evolve(part, provider_state=ProviderState(owner, data=data))


def read_state(part: Part, owner: str) -> Fields:
    """What rides on the part for this server; empty where nothing does."""
    state = part.provider_state
    if state is None or state.owner not in (owner, MARK):
        return {}
    try:
        return _decode(state.data)
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidRequestError(
            f"the provider_state of a {part.type} part is not what this server gave",
            hint="pass parts on as they came, or take the state away",
        ) from None
