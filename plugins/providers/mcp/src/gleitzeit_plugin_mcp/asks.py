"""What a server may ask of its client: sampling, where the operator allows it, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from mcp.client.session import ClientRequestContext, SamplingFnT
from mcp_types import INVALID_REQUEST, CreateMessageRequestParams, CreateMessageResult, ErrorData
from pydantic import ValidationError

from gleitzeit.errors import GleitzeitError, PermissionDeniedError, UnsupportedError
from gleitzeit.kinds import Context
from gleitzeit.values import Chat, Message, Reply, ToolResultPart
from gleitzeit_plugin_mcp.content import block, parts

__all__ = ["Asks", "sampling_callback"]

_STOPS = {"stop": "endTurn", "length": "maxTokens", "tool_calls": "toolUse"}


class Asks:
    """Answers a server's requests; `model` names who answers where the server names nobody."""

    def __init__(self, context: Context, server: str, model: str | None) -> None:
        self._context = context
        self._server = server
        self._model = model
        #: Does the operator let the server ask? Only then is it told that it may.
        self.allowed: bool = context.may_ask
        self.capabilities: dict[str, Any] = {"sampling": {}} if self.allowed else {}

    async def sample(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A message from the host's models, as the protocol's raw result."""
        reply = await self._context.ask(_chat(params).to(self._model or _hint(params)))
        return _result(reply)

    async def answer(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """The answers to what a server wants to know before it goes on; raises where there is none."""
        keys = list(requests)
        answers = await asyncio.gather(*(self._one(requests[key]) for key in keys))
        return dict(zip(keys, answers, strict=True))

    async def _one(self, request: Any) -> dict[str, Any]:
        method = request.get("method") if isinstance(request, Mapping) else None
        if method == "sampling/createMessage" and self.allowed:
            return await self.sample(request.get("params") or {})
        if method == "elicitation/create":
            return {"action": "decline"}
        if method == "roots/list":
            return {"roots": []}
        if method == "sampling/createMessage":
            raise PermissionDeniedError(
                f"server {self._server!r} wants to ask a model, which it may not",
                hint=f"set may_ask = true for {self._server!r} to allow it",
                provider=self._server,
            )
        raise UnsupportedError(
            f"server {self._server!r} wants {method!r} of its client, which this host does not offer",
            provider=self._server,
        )


def sampling_callback(asks: Asks) -> SamplingFnT:
    """`asks` in the shape of the SDK's callback, for servers of the handshake era."""

    async def sample(
        context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> CreateMessageResult | ErrorData:
        try:
            raw = await asks.sample(params.model_dump(by_alias=True, mode="json", exclude_none=True))
            return CreateMessageResult.model_validate(raw)
        except GleitzeitError as error:
            # The message may name other instances and models; a server need not know them.
            return ErrorData(code=INVALID_REQUEST, message=f"sampling failed: {error.code}")
        except ValidationError:
            return ErrorData(code=INVALID_REQUEST, message="sampling failed: the answer has no text")

    return sample


def _chat(params: Mapping[str, Any]) -> Chat:
    messages = []
    if isinstance(system := params.get("systemPrompt"), str):
        messages.append(Message.system(system))
    for item in params.get("messages", ()):
        content = item.get("content")
        found = parts(content if isinstance(content, list) else [content])
        results = [part for part in found if isinstance(part, ToolResultPart)]
        messages.append(Message.tool(*results) if results else Message(item.get("role", "user"), found))
    return Chat(
        messages,
        max_tokens=params.get("maxTokens"),
        temperature=params.get("temperature"),
        stop=params.get("stopSequences") or (),
    )


def _hint(params: Mapping[str, Any]) -> str:
    """The first model that the server would like."""
    hints = (params.get("modelPreferences") or {}).get("hints") or [{}]
    name = hints[0].get("name")
    return name if isinstance(name, str) else ""


def _result(reply: Reply) -> dict[str, Any]:
    model = reply.model or (str(reply.target) if reply.target is not None else "unknown")
    first = reply.parts[0] if len(reply.parts) == 1 else None
    content = {"type": "text", "text": reply.text} if first is None else block(first)
    result = {"role": "assistant", "content": content, "model": model}
    if (stop := _STOPS.get(reply.finish_reason or "")) is not None:
        result["stopReason"] = stop
    return result
