"""The server: routes, and answers in Anthropic's shapes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs

from gleitzeit.testing import faulty
from gleitzeit.testing.anthropic_server.check import problem
from gleitzeit.testing.anthropic_server.shapes import Answer, events, message
from gleitzeit.testing.faulty import FaultyServer, sse
from gleitzeit.testing.loopback import Call

__all__ = ["AnthropicServer"]

_ECHO: Final = Answer("I am a scripted fake, not a language model. You said: {user}")


class AnthropicServer(FaultyServer[Answer]):
    """Serves on 127.0.0.1 while its block is entered.

    `answers` go first, one a message, whatever the model; then `models` says what each one answers.
    With an `api_key`, requests without it are refused.
    """

    prefix: ClassVar[str] = ""
    request_id: ClassVar[str] = "request-id"

    def __init__(
        self, models: Mapping[str, Answer] | None = None, *, port: int = 0, api_key: str | None = None
    ) -> None:
        super().__init__(port=port)
        self.models: Mapping[str, Answer] = models or {"scripted-echo": _ECHO}
        #: What the list says of models beside their names.
        self.described: dict[str, Mapping[str, Any]] = {}
        #: Models on one page of the list.
        self.page = 20
        self._api_key = api_key
        self._numbers = itertools.count(1)

    def refuse(self, call: Call) -> Answer | None:
        """The refusal of a request without the key or without the header of the version."""
        bearer = call.headers.get("authorization", "").removeprefix("Bearer ")
        given = call.headers.get("x-api-key") or bearer  # the vendor takes a key in either
        if self._api_key is not None and given != self._api_key:
            told = f"invalid x-api-key: {given}" if given else "x-api-key header is required"
            return Answer.error(401, told, type="authentication_error")
        if "anthropic-version" not in call.headers:
            return Answer.error(400, "anthropic-version: header is required")
        return None

    def respond(self, call: Call) -> faulty.Answer:
        """What the queue or the model says, in the shape that was asked for."""
        if call.method == "POST" and call.path == "/v1/messages":
            return self._message(call.json)
        if call.method == "POST" and call.path == "/v1/messages/count_tokens":
            wrong = problem(call.json, count=True)
            counted = {"input_tokens": len(json.dumps(call.json).split())}
            return Answer.error(400, wrong) if wrong else Answer(body=counted)
        if call.method == "GET" and call.path == "/v1/models":
            return self._list(call.query)
        return Answer.error(404, f"Not found: {call.path}", type="not_found_error")

    def frame(self, item: Any, newline: str) -> bytes:
        """An event with its name beside its data, as this vendor writes them."""
        return sse(item, newline, event=item.get("type") if isinstance(item, dict) else None)

    def _message(self, body: Any) -> faulty.Answer:
        wrong = problem(body)
        if wrong is not None:
            return Answer.error(400, wrong)
        answer = self.answers.popleft() if self.answers else self.models.get(body["model"])
        if answer is None:
            return Answer.error(404, f"model: {body['model']}", type="not_found_error")
        if answer.body is not None or answer.status != 200:
            return attrs.evolve(answer, frames=None)
        if answer.frames is not None:
            return answer
        whole = message(answer, body, next(self._numbers))
        if body.get("stream"):
            return attrs.evolve(answer, frames=tuple(events(whole)))
        return attrs.evolve(answer, body=whole)

    def _list(self, query: str) -> Answer:
        names = list(self.models)
        asked = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
        start = names.index(asked["after_id"]) + 1 if asked.get("after_id") in names else 0
        shown = names[start : start + self.page]
        rows = [
            {
                "type": "model",
                "id": name,
                "display_name": f"Scripted fake {name}",
                "created_at": "2026-01-01T00:00:00Z",
                "capabilities": None,
                "max_input_tokens": None,
                "max_tokens": None,
                **self.described.get(name, {}),
            }
            for name in shown
        ]
        page = {
            "data": rows,
            "has_more": start + len(shown) < len(names),
            "first_id": shown[0] if shown else None,
            "last_id": shown[-1] if shown else None,
        }
        return Answer(body=page)
