"""The server: models, answers in Ollama's shapes, and downloads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import attrs
from attrs import field, frozen

from gleitzeit.testing import faulty
from gleitzeit.testing.faulty import FaultyServer
from gleitzeit.testing.loopback import Call
from gleitzeit.testing.ollama_server.check import problem

__all__ = ["Answer", "Card", "OllamaServer"]

_PIECES: Final = re.compile(r"\s*\S+|\s+")
_MADE: Final = "2026-01-01T00:00:00Z"
_DIMENSIONS: Final = 8
#: Steps of a scripted download.
_STEPS: Final = 4


@frozen(kw_only=True)
class Answer(faulty.Answer):
    """One answer. `text` may hold {user}; `calls` are tool calls (`{"name": …, "arguments": {…}}`).

    `measured` are the counts and durations of the last line, None leaves them out.
    """

    text: str = field(default="", kw_only=False)
    thinking: str = ""
    calls: tuple[Mapping[str, Any], ...] = ()
    done_reason: str | None = "stop"
    measured: Mapping[str, Any] | Literal["count"] | None = "count"

    @classmethod
    def error(cls, status: int, message: str, **more: Any) -> Answer:
        """An error in Ollama's shape."""
        return cls(status=status, body={"error": message}, **more)


@frozen(kw_only=True)
class Card:
    """A model that the server has. `answer` is what it says where nothing is queued."""

    capabilities: tuple[str, ...] = ("completion", "tools")
    context: int = 4096
    answer: Answer = Answer("I am a scripted fake, not a language model. You said: {user}")
    remote: str | None = None


class OllamaServer(FaultyServer[Answer]):
    """Serves on 127.0.0.1 while its block is entered.

    `models` are there, by full name; `library` can be pulled, with sizes in bytes; `pulls` replaces the
    lines of the next downloads. With an `api_key`, requests without it are refused.
    """

    stream_type = "application/x-ndjson"
    request_id = ""

    def __init__(
        self, models: Mapping[str, Card] | None = None, *, port: int = 0, api_key: str | None = None
    ) -> None:
        super().__init__(port=port)
        self.models: dict[str, Card] = dict(
            {
                "scripted:latest": Card(),
                "embed:latest": Card(capabilities=("embedding",)),
            }
            if models is None
            else models
        )
        self.library: dict[str, int] = {}
        self.pulls: list[Answer] = []
        #: What a model is that was pulled.
        self.pulled = Card()
        self.loaded: dict[str, Any] = {}
        self._api_key = api_key

    def frame(self, item: Any, newline: str) -> bytes:
        """A line."""
        return faulty.ndjson(item, newline)

    def refuse(self, call: Call) -> Answer | None:
        """The refusal of a request without the key."""
        if self._api_key is None or call.headers.get("authorization") == f"Bearer {self._api_key}":
            return None
        return Answer.error(401, "unauthorized")

    def respond(self, call: Call) -> faulty.Answer:
        """What the server has, does, or is told to say."""
        body = call.json
        if call.method == "GET":
            return self._look(call.path)
        if call.path not in _DOERS:
            return faulty.Answer(
                status=404, body="404 page not found", headers={"content-type": "text/plain"}
            )
        wrong = problem(call.path, body)
        if wrong is not None:
            return Answer.error(400, wrong)
        if call.path == "/api/pull":
            return self._pull(body)
        name = _full(body["model"])
        if call.path != "/api/show" and self.answers:
            return self._shaped(call.path, body, self.answers.popleft())
        card = self.models.get(name)
        if card is None:
            return Answer.error(404, f"model '{body['model']}' not found")
        if call.path == "/api/show":
            return Answer(body=_shown(card))
        needs = "embedding" if call.path == "/api/embed" else "completion"
        idle = call.path == "/api/generate" and not body.get("prompt")
        if not idle and needs not in card.capabilities:
            return Answer.error(400, f'"{body["model"]}" does not support {_DOERS[call.path]}')
        if body.get("tools") and "tools" not in card.capabilities:
            return Answer.error(400, f"registry.ollama.ai/library/{body['model']} does not support tools")
        answer = card.answer
        if idle:
            self._load(name, body)
            reason = "unload" if name not in self.loaded else "load"
            answer = Answer(done_reason=reason, measured=None)
        return self._shaped(call.path, body, answer)

    def _look(self, path: str) -> faulty.Answer:
        if path == "/api/version":
            return Answer(body={"version": "0.0.0-scripted"})
        if path == "/api/tags":
            return Answer(body={"models": [_row(name, card) for name, card in self.models.items()]})
        if path == "/api/ps":
            rows = [{"name": name, "model": name, "expires_at": _MADE} for name in self.loaded]
            return Answer(body={"models": rows})
        return faulty.Answer(status=404, body="404 page not found", headers={"content-type": "text/plain"})

    def _load(self, name: str, body: Mapping[str, Any]) -> None:
        if body.get("keep_alive") in (0, "0", "0s"):
            self.loaded.pop(name, None)
        else:
            self.loaded[name] = body.get("keep_alive")

    def _pull(self, body: Mapping[str, Any]) -> faulty.Answer:
        name = _full(body["model"])
        if self.pulls:
            answer = self.pulls.pop(0)
            if answer.fault is None and answer.status == 200:
                self.models.setdefault(name, self.pulled)
            return answer
        streamed = body.get("stream", True)
        if name not in self.library:
            missing = "pull model manifest: file does not exist"
            if not streamed:
                return Answer.error(500, missing)
            return Answer(frames=[{"status": "pulling manifest"}, {"error": missing}])
        self.models[name] = self.pulled
        if not streamed:
            return Answer(body={"status": "success"})
        return Answer(frames=list(_download(name, self.library[name])))

    def _shaped(self, path: str, body: Mapping[str, Any], answer: Answer) -> Answer:
        answer = attrs.evolve(answer, text=answer.text.replace("{user}", _said(body)))
        if answer.body is not None or answer.status != 200:
            return attrs.evolve(answer, frames=None)
        if answer.frames is not None:
            return answer
        if path == "/api/embed":
            return attrs.evolve(answer, body=_vectors(body))
        if body.get("stream", True):
            return attrs.evolve(answer, frames=list(_lines(path, body, answer)))
        return attrs.evolve(answer, body=_whole(path, body, answer))


#: What a path does, in the words of a refusal.
_DOERS: Final[Mapping[str, str]] = {
    "/api/chat": "chat",
    "/api/generate": "generate",
    "/api/embed": "embeddings",
    "/api/show": "show",
    "/api/pull": "pull",
}


def _full(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _row(name: str, card: Card) -> dict[str, Any]:
    row = {
        "name": name,
        "model": name,
        "modified_at": _MADE,
        "size": 1000,
        "digest": hashlib.sha256(name.encode()).hexdigest(),
        "details": {"format": "gguf", "family": "fake", "parameter_size": "1K", "quantization_level": "F16"},
    }
    if card.remote is not None:
        row |= {"remote_model": name, "remote_host": card.remote}
    return row


def _shown(card: Card) -> dict[str, Any]:
    shown = {
        "details": {"family": "fake"},
        "capabilities": list(card.capabilities),
        "model_info": {
            "general.architecture": "fake",
            "fake.context_length": card.context,
            "fake.embedding_length": _DIMENSIONS,
        },
    }
    return shown if card.remote is None else {**shown, "remote_host": card.remote}


def _download(name: str, size: int) -> Iterator[dict[str, Any]]:
    digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
    yield {"status": "pulling manifest"}
    for step in range(_STEPS + 1):
        done = {"completed": size * step // _STEPS} if step else {}
        yield {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size, **done}
    for status in ("verifying sha256 digest", "writing manifest", "success"):
        yield {"status": status}


def _said(body: Mapping[str, Any]) -> str:
    users = [turn["content"] for turn in body.get("messages", ()) if turn["role"] == "user"]
    return str(users[-1] if users else body.get("prompt", ""))


def _last(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """The fields of the last line. It counts words: a fake has no tokens."""
    last: dict[str, Any] = {"done": True}
    if answer.done_reason is not None:
        last["done_reason"] = answer.done_reason
    if answer.measured == "count":
        read = len(json.dumps(body.get("messages", body.get("prompt", ""))).split())
        written = len(answer.text.split()) + len(answer.thinking.split()) + len(answer.calls)
        return {**last, "total_duration": 5, "prompt_eval_count": read, "eval_count": written}
    return {**last, **(answer.measured or {})}


def _piece(path: str, **content: Any) -> dict[str, Any]:
    if path == "/api/generate":
        if "content" in content:
            content["response"] = content.pop("content")
        return {"response": "", **content}
    return {"message": {"role": "assistant", "content": "", **content}}


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            **({"id": call["id"]} if "id" in call else {}),
            "function": {"name": call["name"], "arguments": call.get("arguments", {})},
        }
        for call in answer.calls
    ]


def _lines(path: str, body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    head = {"model": body["model"], "created_at": _MADE}
    for text in _PIECES.findall(answer.thinking):
        yield {**head, **_piece(path, thinking=text), "done": False}
    for text in _PIECES.findall(answer.text):
        yield {**head, **_piece(path, content=text), "done": False}
    for call in _calls(answer):
        yield {**head, **_piece(path, tool_calls=[call]), "done": False}
    yield {**head, **_piece(path), **_last(body, answer)}


def _whole(path: str, body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    content: dict[str, Any] = {"content": answer.text}
    if answer.thinking:
        content["thinking"] = answer.thinking
    if answer.calls:
        content["tool_calls"] = _calls(answer)
    head = {"model": body["model"], "created_at": _MADE}
    return {**head, **_piece(path, **content), **_last(body, answer)}


def _vectors(body: Mapping[str, Any]) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    size = body.get("dimensions") or _DIMENSIONS
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    vectors = [[digest[place % 32] / 255 for place in range(size)] for digest in digests]
    return {"model": body["model"], "embeddings": vectors, "prompt_eval_count": sum(map(len, texts))}
