"""The server: methods of models, the list of models, and keys."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs

import attrs

from gleitzeit.testing import faulty
from gleitzeit.testing.faulty import FaultyServer, as_bytes
from gleitzeit.testing.gemini_server.check import missing_signature, problem
from gleitzeit.testing.gemini_server.shapes import Answer, pieces, vector, whole
from gleitzeit.testing.loopback import Call

__all__ = ["GeminiServer"]

_VERTEX: Final = r"(?:/projects/[^/]+/locations/[^/]+)?/publishers/google"
_METHOD: Final = re.compile(rf"/v1[a-z0-9]*(?:{_VERTEX})?/models/(.+):([A-Za-z]+)")
_LIST: Final = re.compile(rf"/v1[a-z0-9]*(?:{_VERTEX})?/models")
_ECHO: Final = "I am a scripted fake, not a language model. You said: {user}"
_RESULTS: Final = "Scripted fake: the tools answered {results}"
_METHODS: Final = ("generateContent", "countTokens", "embedContent")


class GeminiServer(FaultyServer[Answer]):
    """Serves on 127.0.0.1 while its block is entered.

    `answers` go first, one a request, then what `models` says of the model; any other model whose
    name does not begin with `no-` echoes. With an `api_key`, requests without it are refused; with
    `signed`, histories whose calls lack a signature.
    """

    request_id = ""

    def __init__(self, *, port: int = 0, api_key: str | None = None, signed: bool = False) -> None:
        super().__init__(port=port)
        self.models: dict[str, Answer] = {}
        self.signed = signed
        #: Models on one page of the list.
        self.page = 2
        self._api_key = api_key

    def refuse(self, call: Call) -> Answer | None:
        """The refusal of a request without the key, which may be a bearer token as well."""
        key = call.headers.get("x-goog-api-key") or call.headers.get("authorization", "").removeprefix(
            "Bearer "
        )
        if self._api_key is None or key == self._api_key:
            return None
        detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        return Answer.error(400, "API key not valid. Please pass a valid API key.", details=[detail])

    def respond(self, call: Call) -> faulty.Answer:
        """What the queue or a model says, in the shape that was asked for."""
        if _LIST.fullmatch(call.path):
            return self._listed(call)
        found = _METHOD.fullmatch(call.path)
        if found is None:
            return Answer.error(404, "Not found.", word="NOT_FOUND")
        model, method = found[1], found[2]
        body = call.json
        wrong = problem(method, body, vertex="/publishers/" in call.path)
        if wrong is None and self.signed and "contents" in body:
            wrong = missing_signature(body)
        if wrong is not None:
            return Answer.error(400, wrong)
        if self.answers:
            answer = self.answers.popleft()
        elif model.startswith("no-"):
            told = f"models/{model} is not found for API version v1beta, or is not supported for {method}."
            return Answer.error(404, told, word="NOT_FOUND")
        else:
            answer = self.models.get(model, Answer())
        if answer.body is not None or answer.status != 200:
            return attrs.evolve(answer, frames=None)
        if method.endswith("enerateContent"):
            return _generated(answer, model, body, call)
        return attrs.evolve(answer, body=_counted(method, body), frames=None)

    def _listed(self, call: Call) -> Answer:
        names = [*self.models, *(["scripted-echo", "scripted-embedding"] if not self.models else [])]
        query = parse_qs(call.query)
        start = int(query.get("pageToken", ["0"])[0])
        rows = [
            {
                "name": f"{'publishers/google/' if 'publishers' in call.path else ''}models/{name}",
                "displayName": f"Scripted fake {name}",
                "inputTokenLimit": 1000,
                "outputTokenLimit": 100,
                "supportedGenerationMethods": list(_METHODS),
            }
            for name in names[start : start + self.page]
        ]
        key = "publisherModels" if "publishers" in call.path else "models"
        more = {"nextPageToken": str(start + self.page)} if start + self.page < len(names) else {}
        return Answer(body={key: rows, **more})


def _generated(answer: Answer, model: str, body: dict[str, Any], call: Call) -> Answer:
    if not (answer.text or answer.calls or answer.thinking or answer.parts is not None):
        results = any("functionResponse" in part for part in body["contents"][-1]["parts"])
        answer = attrs.evolve(answer, text=_RESULTS if results else _ECHO)
    if not call.path.endswith(":streamGenerateContent"):
        return attrs.evolve(answer, body=whole(answer, model, body), frames=None)
    frames = list(pieces(answer, model, body)) if answer.frames is None else list(answer.frames)
    if "alt=sse" in call.query:
        return attrs.evolve(answer, frames=frames)
    marks = [b"[", *[b",\r\n"] * (len(frames) - 1)]
    listed = [mark + as_bytes(frame) for mark, frame in zip(marks, frames, strict=False)]
    headers = {"content-type": "application/json; charset=UTF-8", **answer.headers}
    return attrs.evolve(answer, frames=[*listed, b"]"], headers=headers)


def _counted(method: str, body: dict[str, Any]) -> dict[str, Any]:
    """Embeddings and counts of tokens."""
    if method == "countTokens":
        inner = body.get("generateContentRequest", body)
        return {"totalTokens": len(str(inner.get("contents")).split())}
    if method == "predict":
        size = (body.get("parameters") or {}).get("outputDimensionality", 8)
        texts = [instance["content"] for instance in body["instances"]]
        made = [
            {"values": vector(text, size), "statistics": {"token_count": len(text.split())}} for text in texts
        ]
        return {"predictions": [{"embeddings": item} for item in made]}
    requests = body["requests"] if method == "batchEmbedContents" else [body]
    vectors = [
        {"values": vector(item["content"]["parts"][0]["text"], item.get("outputDimensionality", 8))}
        for item in requests
    ]
    usage = {"promptTokenCount": len(str(requests).split())}
    held = {"embeddings": vectors} if method == "batchEmbedContents" else {"embedding": vectors[0]}
    return {**held, "usageMetadata": usage}
