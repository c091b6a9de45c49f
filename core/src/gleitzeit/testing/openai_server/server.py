"""The server: routes, and answers in OpenAI's shapes."""

from __future__ import annotations

import itertools
from typing import Final

import attrs

from gleitzeit.testing import faulty
from gleitzeit.testing.faulty import FaultyServer
from gleitzeit.testing.loopback import Call
from gleitzeit.testing.openai_server import responses
from gleitzeit.testing.openai_server.check import problem
from gleitzeit.testing.openai_server.script import BUILTIN, Answer, Script
from gleitzeit.testing.openai_server.shapes import embeddings, last, stream, whole

__all__ = ["OpenAIServer"]

_KINDS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embedding",
    "/v1/responses": "response",
}


class OpenAIServer(FaultyServer[Answer]):
    """Serves a script on 127.0.0.1 while its block is entered.

    `answers` go first, one a request, whatever the model; `faults["/v1/models"]` and so on answer a
    whole path. With an `api_key`, requests without it are refused.
    """

    prefix = "/v1"

    def __init__(self, script: Script = BUILTIN, *, port: int = 0, api_key: str | None = None) -> None:
        super().__init__(port=port)
        self.script = script
        self._api_key = api_key
        self._numbers = itertools.count(1)

    def refuse(self, call: Call) -> Answer | None:
        """The refusal of a request without the key."""
        bearer = call.headers.get("authorization", "").removeprefix("Bearer ")
        given = call.headers.get("api-key") or bearer  # Azure takes a key in either
        if self._api_key is None or given == self._api_key:
            return None
        message = f"Incorrect API key provided: {given}." if given else "You didn't provide an API key."
        return Answer.error(401, message, code="invalid_api_key")

    def respond(self, call: Call) -> faulty.Answer:
        """What the queue or the script says, in the shape that was asked for."""
        if call.path in _KINDS:
            return self._operate(call, _KINDS[call.path])
        if call.path == "/v1/models":
            models = [
                {"id": name, "object": "model", "created": 0, "owned_by": "scripted-fake"}
                for name in self.script.models
            ]
            return Answer(body={"object": "list", "data": models})
        return Answer.error(404, f"Unknown request URL: {call.method} {call.path}.")

    def _operate(self, call: Call, kind: str) -> Answer:
        body = call.json
        wrong = responses.problem(body) if kind == "response" else problem(kind, body)
        if wrong is not None:
            return Answer.error(400, wrong)
        model: str = body["model"]
        chat = responses.as_chat(body) if kind == "response" else body
        turn, user, result, tool = last(chat)
        answer = self._chosen(kind, model, turn, user)
        answer = answer.filled(user=user, result=result, tool=tool, model=model)
        number = next(self._numbers)
        if answer.body is not None or answer.status != 200:
            return attrs.evolve(answer, frames=None)
        if kind == "embedding":
            vectors = embeddings(body, answer.model or model, self.script.dimensions)
            return attrs.evolve(answer, body=vectors, frames=None)
        if kind == "response":
            shaped = responses.response(whole(answer, chat, "chat", number))
            if body.get("stream"):
                return attrs.evolve(answer, frames=tuple(responses.response_events(shaped, answer)))
            return attrs.evolve(answer, body=shaped, frames=None)
        if body.get("stream"):
            return attrs.evolve(answer, frames=tuple(stream(answer, body, kind, number)))
        return attrs.evolve(answer, body=whole(answer, body, kind, number), frames=None)

    def _chosen(self, kind: str, model: str, turn: str, user: str) -> Answer:
        if self.answers:
            return self.answers.popleft()
        if not self.script.knows(model):
            message = f"The model `{model}` does not exist or you do not have access to it."
            return Answer.error(404, message, code="model_not_found")
        if kind == "embedding":
            return Answer()
        answer = self.script.answer(model, turn, user)
        return answer or Answer.error(400, f"The script has no answer of `{model}` to this.")
