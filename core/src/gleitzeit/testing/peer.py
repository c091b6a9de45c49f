"""The other side of a wire under test: a script for servers of any kind, and one over standard streams.

A server of `TransportCase.endpoint` hands each message that reaches it to `answers`, and sends what
that gives, in order, to the client that the message came from. `python -m gleitzeit.testing.peer`
does so over its standard input and output.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.wire.jsonrpc import dump, messages

__all__ = ["answers", "main"]

#: Begins the id of a question of the peer's own.
_ASKED: Final = "asked:"


def answers(message: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """What the peer says to a message; `headers` are those that came beside it, their names in lower case.

    `contract/echo` is answered with its parameters, `contract/count` after as many notifications as
    it says, `contract/headers` with the headers, `contract/ask` once a question has been answered
    in turn, and `contract/hold` never, but for a notification that it has come.
    """
    id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if method is None:  # the answer to our question
        if not isinstance(id, str) or not id.startswith(_ASKED):
            return []
        held = messages(id.removeprefix(_ASKED).encode())
        assert held is not None, "we wrote it there ourselves"
        return [_result(held[0]["result"], message.get("result"))]
    if id is None:
        return []
    if method == "contract/echo":
        return [_result(id, params)]
    if method == "contract/count":
        counted = [_note("contract/counted", number=number, of=id) for number in range(params["to"])]
        return [*counted, _result(id, {})]
    if method == "contract/headers":
        return [_result(id, dict(headers or {}))]
    if method == "contract/hold":
        return [_note("contract/held", id=id)]
    if method == "contract/ask":
        question = _ASKED + dump({"result": id}, "peer").decode()
        return [{"jsonrpc": "2.0", "id": question, "method": "contract/asked", "params": params}]
    error = {"code": -32601, "message": f"unknown method {method!r}"}
    return [{"jsonrpc": "2.0", "id": id, "error": error}]


def _result(id: Any, value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": {"value": value}}


def _note(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def main() -> None:
    """Serve standard input and output, a message a line, until the input ends."""
    for line in sys.stdin.buffer:
        for message in messages(line) or ():
            for answer in answers(message):
                sys.stdout.buffer.write(dump(answer, "client") + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
