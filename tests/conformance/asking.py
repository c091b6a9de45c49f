"""How a server of both eras asks its client something: by requests of its own, or by a result that asks."""

from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from pydantic import TypeAdapter

__all__ = ["answers"]

_request: TypeAdapter[Any] = TypeAdapter(types.InputRequest)
_KINDS: dict[str, tuple[str, Any]] = {
    "elicitation/create": ("elicitation", types.ElicitResult),
    "sampling/createMessage": ("sampling", types.CreateMessageResult),
    "roots/list": ("roots", types.ListRootsResult),
}
Rounds = list[dict[str, dict[str, Any]]]


async def answers(
    ctx: Any, params: Any, rounds: Rounds, *, choosy: bool = False
) -> dict[str, Any] | types.InputRequiredResult:
    """The client's answers by key, or the result that asks for them.

    `choosy` leaves out what the client cannot answer; else that raises `MCPError`.
    """
    declared = ctx.session.client_capabilities or types.ClientCapabilities()
    offered = {kind for kind in ("elicitation", "sampling", "roots") if getattr(declared, kind) is not None}
    wanted = {_KINDS[request["method"]][0] for asked in rounds for request in asked.values()}
    if choosy:
        rounds = [
            {key: request for key, request in asked.items() if _KINDS[request["method"]][0] in offered}
            for asked in rounds
        ]
    elif wanted - offered:
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "the client cannot answer that",
            {"requiredCapabilities": {kind: {} for kind in sorted(wanted - offered)}},
        )
    if ctx.protocol_version < "2026-07-28":
        return await _pushed(ctx, rounds)
    return _returned(params, rounds)


async def _pushed(ctx: Any, rounds: Rounds) -> dict[str, Any]:
    found = {}
    for asked in rounds:
        for key, request in asked.items():
            found[key] = await ctx.session.send_request(
                _request.validate_python(request),
                _KINDS[request["method"]][1],
                metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
            )
    return found


def _returned(params: Any, rounds: Rounds) -> dict[str, Any] | types.InputRequiredResult:
    """The state is the number of the round that was asked; the server's boundary seals it."""
    at = int(params.request_state or 0)
    given = params.input_responses or {}
    asked = rounds[at]
    if not all(isinstance(given.get(key), _KINDS[request["method"]][1]) for key, request in asked.items()):
        return _ask(asked, at)
    if at + 1 < len(rounds):
        return _ask(rounds[at + 1], at + 1)
    return dict(given)


def _ask(asked: dict[str, dict[str, Any]], at: int) -> types.InputRequiredResult:
    requests = {key: _request.validate_python(request) for key, request in asked.items()}
    return types.InputRequiredResult(input_requests=requests, request_state=str(at))
