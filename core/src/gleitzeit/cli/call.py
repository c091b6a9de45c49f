"""`gleitzeit call`: any operation, written in JSON."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from gleitzeit.cli.chat import addressing
from gleitzeit.cli.output import Output
from gleitzeit.cli.pull import Pulling
from gleitzeit.cli.render import Renderer
from gleitzeit.cli.run import with_host
from gleitzeit.errors import ToolFailedError, UsageError
from gleitzeit.values import Reply, Request
from gleitzeit.wire.codec import from_json

if TYPE_CHECKING:
    from gleitzeit.host import Host

__all__ = ["read_json", "request", "run", "send"]


def run(options: Namespace, output: Output) -> int:
    """`gleitzeit call`"""
    asked = request(options, read_json(options.body, "JSON"))
    return with_host(
        options,
        output,
        lambda host: send(Pulling(host, options, output), asked, output, stream=options.stream),
        person=True,
    )


async def send(host: Host | Pulling, asked: Request, output: Output, *, stream: bool = False) -> int:
    """Send a request and show the answer; the answer of a tool that failed decides the exit code."""
    renderer = Renderer(output)
    try:
        if stream:
            async with host.stream(asked) as events:
                async for event in events:
                    renderer.event(event)
            reply: Reply = events.reply
        else:
            reply = await host.call(asked)
            renderer.reply(reply)
    finally:
        renderer.end()
    return ToolFailedError.exit_code if reply.is_error else 0


def request(options: Namespace, data: Any) -> Request:
    """The request in `data`, an operation or a whole request in the codec's form; options go before it."""
    if not isinstance(data, dict):
        raise UsageError("JSON: expected an object", hint='such as {"kind": "embedding", "inputs": ["text"]}')
    whole = data if isinstance(data.get("operation"), dict) else {"operation": data}
    operation = dict(whole["operation"])
    if options.operation is not None:
        operation["kind"] = options.operation
    if "kind" not in operation:
        raise UsageError("JSON: it does not say what kind of operation it is", hint="add --operation KIND")
    asked = from_json(Request, {**whole, "operation": operation, "target": options.target})
    fields = {name: value for name, value in addressing(options).items() if value not in (None, "public")}
    if options.idempotency_key is not None:
        fields["idempotency_key"] = options.idempotency_key
    if options.timeout is not None:
        fields["deadline"] = asked.operation.to("", timeout=options.timeout).deadline
    return asked.evolve(**fields)


def read_json(text: str, what: str) -> Any:
    """Decoded JSON from the command line, or from standard input for `-`; raises `UsageError`."""
    if text == "-":
        text = sys.stdin.read() if sys.stdin is not None else ""
        what = "standard input"
    try:
        return json.loads(text)
    except ValueError as error:
        place = (
            f" at line {error.lineno}, column {error.colno}: {error.msg}"
            if isinstance(error, json.JSONDecodeError)
            else ""
        )
        raise UsageError(
            f"{what} is no valid JSON{place}", hint='quote it for the shell: \'{"key": "value"}\''
        ) from None
    except RecursionError:
        raise UsageError(f"{what} is nested too deeply", hint="send less at once") from None
