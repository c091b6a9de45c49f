"""What a server may ask of its client: the host's models, a person, the directories to work in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from mcp.client.session import ClientRequestContext
from mcp_types import (
    INVALID_REQUEST,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    ListRootsResult,
)
from pydantic import ValidationError

from gleitzeit.errors import GleitzeitError, PermissionDeniedError, UnsupportedError
from gleitzeit.kinds import Context
from gleitzeit.values import Chat, Elicitation, Message, Reply, ToolResultPart
from gleitzeit_plugin_mcp.content import block, parts
from gleitzeit_plugin_mcp.riding import peer_of, unrelated

__all__ = ["Asks", "callbacks"]

_STOPS = {"stop": "endTurn", "length": "maxTokens", "tool_calls": "toolUse"}


class Asks:
    """Answers a server's requests; `model` names who answers where the server names nobody.

    Only what it may ask is told to the server: models with the operator's `may_ask`, a person where
    the application has a handler for it, directories where the entry has `roots`.
    """

    def __init__(
        self,
        context: Context,
        server: str,
        model: str | None,
        roots: Sequence[Mapping[str, str]] = (),
        *,
        tasks: bool = True,
    ) -> None:
        self._context = context
        self._server = server
        self._model = model
        self.roots = [dict(root) for root in roots]
        # Clients of a server of ours may be asked, each during its own calls.
        serves = context.serves
        #: Does the operator let the server ask the host's models?
        self.samples: bool = context.may_ask or serves
        #: Does the application put questions to a person?
        self.elicits: bool = context.may_elicit or serves
        self.capabilities = _offered(self.samples, self.elicits, bool(self.roots) or serves)
        #: Of them, what can be answered without a client.
        self.own = _offered(context.may_ask, context.may_elicit, bool(self.roots))
        #: May it answer calls of tools by tasks?
        self.tasks = tasks

    async def sample(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A message from the host's models, as the protocol's raw result."""
        if (peer := peer_of(self, "sampling")) is not None:
            return await peer.ask("sampling/createMessage", params)
        reply = await self._context.ask(_chat(params).to(self._model or _hint(params)))
        return _result(reply)

    async def elicit(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a person answers, as the protocol's raw result; declined where nobody can be asked."""
        if (peer := peer_of(self, "elicitation")) is not None:
            return await peer.ask("elicitation/create", params)
        if not self.elicits:
            return {"action": "decline"}
        schema, url, id = params.get("requestedSchema"), params.get("url"), params.get("elicitationId")
        answer = await self._context.elicit(
            Elicitation(
                str(params.get("message", "")),
                instance=self._server,
                schema=schema if isinstance(schema, Mapping) else None,
                url=url if isinstance(url, str) else None,
                id=id if isinstance(id, str) else None,
            )
        )
        found: dict[str, Any] = {"action": answer.action}
        if answer.action == "accept" and url is None:
            # What the person left out is as the form has it.
            found["content"] = {**_defaults(schema), **(answer.content or {})}
        return found

    async def answer(self, requests: Mapping[str, Any]) -> dict[str, Any]:
        """The answers to what a server wants to know before it goes on; raises where there is none."""
        keys = list(requests)
        answers = await asyncio.gather(*(self._one(requests[key]) for key in keys))
        return dict(zip(keys, answers, strict=True))

    async def listed(self) -> dict[str, Any]:
        """The directories to work in, as the protocol's raw result."""
        if not self.roots and (peer := peer_of(self, "roots")) is not None:
            return await peer.ask("roots/list", {})
        return {"roots": self.roots}

    async def _one(self, request: Any) -> dict[str, Any]:
        method = request.get("method") if isinstance(request, Mapping) else None
        if method == "sampling/createMessage" and self.samples:
            return await self.sample(request.get("params") or {})
        if method == "elicitation/create":
            return await self.elicit(request.get("params") or {})
        if method == "roots/list":
            return await self.listed()
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


def _offered(samples: bool, elicits: bool, roots: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if samples:
        found["sampling"] = {}
    if elicits:
        found["elicitation"] = {"form": {}, "url": {}}
    if roots:
        found["roots"] = {}
    return found


def callbacks(asks: Asks) -> dict[str, Any]:
    """`asks` in the shapes of the SDK's callbacks, for servers of the handshake era."""

    async def sample(
        context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> CreateMessageResult | ErrorData:
        try:
            with unrelated():
                raw = await asks.sample(params.model_dump(by_alias=True, mode="json", exclude_none=True))
            return CreateMessageResult.model_validate(raw)
        except GleitzeitError as error:
            # The message may name other instances and models; a server need not know them.
            return ErrorData(code=INVALID_REQUEST, message=f"sampling failed: {error.code}")
        except ValidationError:
            return ErrorData(code=INVALID_REQUEST, message="sampling failed: the answer has no text")

    async def elicit(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        try:
            with unrelated():
                raw = await asks.elicit(params.model_dump(by_alias=True, mode="json", exclude_none=True))
            return ElicitResult.model_validate(raw)
        except GleitzeitError as error:
            return ErrorData(code=INVALID_REQUEST, message=f"elicitation failed: {error.code}")
        except ValidationError:
            return ErrorData(code=INVALID_REQUEST, message="elicitation failed: the answer does not fit")

    async def roots(context: ClientRequestContext) -> ListRootsResult:
        try:
            with unrelated():
                return ListRootsResult.model_validate(await asks.listed())
        except (GleitzeitError, ValidationError):
            return ListRootsResult(roots=[])

    found: dict[str, Any] = {}
    if asks.samples:
        found["sampling_callback"] = sample
    if asks.elicits:
        found["elicitation_callback"] = elicit
    if "roots" in asks.capabilities:
        found["list_roots_callback"] = roots
    return found


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


def _defaults(schema: Any) -> dict[str, Any]:
    fields = schema.get("properties") if isinstance(schema, Mapping) else None
    return {
        name: field["default"]
        for name, field in (fields.items() if isinstance(fields, Mapping) else ())
        if isinstance(field, Mapping) and "default" in field
    }


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
