"""What an `Invoke` can ask of the server itself. Nothing here deletes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import Finished, Invoke, Reply, Stream
from gleitzeit.wire.exchange import Answer
from gleitzeit_plugin_ollama.config import duration
from gleitzeit_plugin_ollama.downloads import AfterPull, Ending
from gleitzeit_plugin_ollama.listing import record
from gleitzeit_plugin_ollama.pulls import Pulls

__all__ = ["METHODS", "Methods"]

#: Methods with the arguments that they take; `model` goes first, and may stand without its name.
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "load": ("model", "keep_alive"),
    "ps": (),
    "pull": ("model",),
    "show": ("model",),
    "unload": ("model",),
    "version": (),
}
#: Sends one request: method, path and body.
Send: TypeAlias = Callable[[str, str, object], Awaitable[Answer]]
_GETS: Final = {"ps": "/api/ps", "version": "/api/version"}


class Methods:
    """Runs the methods; the answer is in the `data` of the reply."""

    def __init__(self, send: Send, pulls: Pulls) -> None:
        self._send = send
        self._pulls = pulls

    async def call(self, operation: Invoke, stream: bool) -> Reply | Stream:
        """Run a method; `pull` gives its progress where it is streamed."""
        method, given = operation.method, _arguments(operation)
        if method in _GETS:
            return await self._reply("GET", _GETS[method], None)
        model = given["model"]
        if method == "pull":
            return await self._pull(model, stream)
        if method == "show":
            return await self._reply("POST", "/api/show", {"model": model})
        body: dict[str, Any] = {"model": model, "stream": False}  # without a prompt nothing is generated
        if method == "unload":
            body["keep_alive"] = 0
        elif "keep_alive" in given:
            try:
                body["keep_alive"] = duration(given["keep_alive"])
            except ValueError as error:
                raise InvalidRequestError(f"keep_alive: {error}") from None
        return await self._reply("POST", "/api/generate", body)

    async def _pull(self, model: str, stream: bool) -> Reply | Stream:
        follower = self._pulls.follow(model)
        data = {"model": model, "status": "success"}
        if stream:

            async def ending() -> Ending:
                return Ending(Finished(data=data))

            return Stream(AfterPull(follower, ending))
        try:
            await follower.wait()
        finally:
            await follower.aclose()
        return Reply(data=data, finish_reason="stop")

    async def _reply(self, method: str, path: str, body: Mapping[str, Any] | None) -> Reply:
        answer = await self._send(method, path, body)
        return Reply(data=record(answer.body, "the answer"), finish_reason="stop")


def _arguments(operation: Invoke) -> dict[str, Any]:
    """The arguments by name; refuses what the method does not take."""
    method = operation.method
    if method not in METHODS:
        raise UnsupportedError(
            f"Ollama has no method {method!r} here", hint=f"take one of {', '.join(METHODS)}", sent=False
        )
    takes = METHODS[method]
    if len(operation.args) > len(takes):
        raise InvalidRequestError(f"{method} takes {len(takes)} arguments at most", sent=False)
    given = {**dict(zip(takes, operation.args, strict=False)), **operation.arguments}
    unknown = sorted(map(str, set(given) - set(takes)))
    if unknown:
        raise InvalidRequestError(f"{method} takes no {', '.join(unknown)}", sent=False)
    if "model" in takes and (not isinstance(given.get("model"), str) or not given["model"]):
        raise InvalidRequestError(f"{method} needs the name of a `model`", sent=False)
    return given
