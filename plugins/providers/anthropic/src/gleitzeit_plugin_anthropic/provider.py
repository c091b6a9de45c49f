"""The provider: operations to requests, answers to replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from gleitzeit.errors import InvalidRequestError
from gleitzeit.values import Chat, Invoke, Model, Reply, Request, Stream
from gleitzeit.wire.connection import revealed
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.provider import HttpProvider
from gleitzeit_plugin_anthropic.bodies import chat_body, count_body, options_of
from gleitzeit_plugin_anthropic.config import AnthropicConfig
from gleitzeit_plugin_anthropic.counting import COUNT, read_count, to_count
from gleitzeit_plugin_anthropic.listing import read_models
from gleitzeit_plugin_anthropic.marks import state_owner
from gleitzeit_plugin_anthropic.reader import AnswerReader
from gleitzeit_plugin_anthropic.refusals import Refusals
from gleitzeit_plugin_anthropic.stream import MessageParser

if TYPE_CHECKING:
    from gleitzeit.kinds import Context

__all__ = ["Anthropic"]


class Anthropic(HttpProvider):
    """Chat with the models of Anthropic, and of servers that speak its Messages API."""

    Config: ClassVar[Any] = AnthropicConfig
    config: AnthropicConfig
    complete: ClassVar[bool] = False
    offers: ClassVar[str] = f"chat or completion, or invoke {COUNT}"
    key_variable: ClassVar[str | None] = "ANTHROPIC_API_KEY"
    manifest: ClassVar[Mapping[str, Any]] = {
        "patterns": ("claude-*",),
        "capabilities": ("chat", "completion", "streaming", "tools", "vision", "documents", "thinking"),
        "secrets": {"api_key": "ANTHROPIC_API_KEY"},
        "model_data": "models.json",
    }

    def __init__(self, config: AnthropicConfig, context: Context) -> None:
        super().__init__(config, context)
        self._known: dict[str, Model] = {}
        self._refusals = Refusals()

    async def provide_models(self) -> list[Model]:
        """The models that the server lists, without those that are retired."""
        url = self.url("/v1/models").copy_set_param("limit", "1000")
        models = await self.listed(url, read_models)
        self._known = {model.name: model for model in models}
        return models

    async def chat(self, request: Request, chat: Chat) -> Reply | Stream:
        """Answer a chat; where the model refuses a sampling parameter, ask once more without it."""
        names, model = WireNames(), request.name
        body = chat_body(chat, model, request.stream, self.config, names, self._known.get(model))
        dialect = MessageParser(AnswerReader(names, state_owner(self.config)), self.exchange.error)
        headers, url = self._betas(chat), self.url("/v1/messages")
        if not self.config.adapt:
            return await self.generate(request.stream, url, body, dialect, headers)
        body = self._refusals.adapt(body)
        try:
            return await self.generate(request.stream, url, body, dialect, headers)
        except InvalidRequestError as error:
            if not self._refusals.learn(body, error):
                raise
        fewer = self._refusals.adapt(body)
        left_out = ", ".join(sorted(body.keys() - fewer.keys()))
        self.context.logger.info("%s: %s takes no %s", self.context.name, model, left_out)
        return await self.generate(request.stream, url, fewer, dialect, headers)

    async def invoke(self, request: Request, invoke: Invoke) -> Reply | Stream:
        """Count tokens."""
        if invoke.method != COUNT:
            raise self.unsupported(invoke.method)
        model, chat = to_count(invoke)
        body = count_body(chat, model, self.config, WireNames(), self._known.get(model))
        answer = await self.fetch("POST", self.url("/v1/messages/count_tokens"), body, self._betas(chat))
        reply = read_count(answer.body).evolve(limits=answer.limits)
        return Stream.of(reply) if request.stream else reply

    def own_headers(self) -> dict[str, str]:
        """The version of the API, and the configured betas."""
        own = {"anthropic-version": self.config.version}
        if self.config.betas:
            own["anthropic-beta"] = ",".join(self.config.betas)
        return own

    def credential(self) -> dict[str, str]:
        """A token, else the key."""
        if token := revealed(self.config.auth_token):
            return {"Authorization": f"Bearer {token}"}
        key = revealed(self.config.api_key)
        return {"x-api-key": key} if key else {}

    def _betas(self, chat: Chat) -> dict[str, str] | None:
        """The betas of a request whose options name further ones."""
        asked = options_of(chat, self.config).get("betas")
        if not asked:
            return None
        if isinstance(asked, str) or not all(isinstance(word, str) for word in asked):
            raise InvalidRequestError("option 'betas' is a list of names, as the vendor spells them")
        return {"anthropic-beta": ",".join(dict.fromkeys((*self.config.betas, *asked)))}
