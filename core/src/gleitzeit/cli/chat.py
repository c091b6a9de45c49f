"""`gleitzeit chat`: a question and its answer, or a dialogue."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from gleitzeit.cli.approve import approval
from gleitzeit.cli.output import Output
from gleitzeit.cli.pull import Pulling
from gleitzeit.cli.render import Renderer
from gleitzeit.cli.run import with_host
from gleitzeit.conversation import Approve, Conversation
from gleitzeit.errors import UsageError
from gleitzeit.values import (
    Chat,
    ImagePart,
    Message,
    Part,
    Request,
    ResponseSchema,
    TextPart,
    ToolResultPart,
    Usage,
)
from gleitzeit.wire.codec import to_json

if TYPE_CHECKING:
    from gleitzeit.config import Config
    from gleitzeit.host import Host

__all__ = ["Turn", "addressing", "default_model", "image", "read_file", "request", "run", "system", "turn"]

DEFAULT: Final = "default"
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"BM", 0, "image/bmp"),
)


@frozen(kw_only=True)
class Turn:
    """What a turn of a dialogue came to."""

    messages: tuple[Message, ...] = field(kw_only=False)
    usage: Usage | None


def run(options: Namespace, output: Output) -> int:
    """`gleitzeit chat`"""
    prompt = options.prompt
    if prompt is None and sys.stdin is not None and sys.stdin.isatty():
        from gleitzeit.cli.dialogue import dialogue

        return dialogue(options, output)
    if prompt is None or prompt == "-":
        prompt = sys.stdin.read() if sys.stdin is not None else ""
    if not prompt.strip() and not options.image:
        raise UsageError("the prompt is empty", hint='write gleitzeit chat "...", or pipe a text into it')
    parts = (*(image(each) for each in options.image), TextPart(prompt))
    asked = request(options, (*system(options.system), Message.user(parts)))
    approve = approval(options.approve, output) if options.tool else None

    async def work(host: Host) -> int:
        model = options.model or default_model(host.config)
        await turn(host, asked.evolve(target=model), options, output, approve)
        return 0

    return with_host(options, output, work, person=True)


async def turn(
    host: Host, asked: Request, options: Namespace, output: Output, approve: Approve | None
) -> Turn:
    """Ask, show the answer, and give what the next turn continues from."""
    renderer = Renderer(output, thinking=options.thinking, tools=bool(options.tool))
    caller = Pulling(host, options, output)
    try:
        done = await _turn(caller, asked, options, output, approve, renderer)
    finally:
        renderer.end()
    if options.usage and not output.json:
        renderer.usage(done.usage)
    return done


async def _turn(
    caller: Pulling,
    asked: Request,
    options: Namespace,
    output: Output,
    approve: Approve | None,
    renderer: Renderer,
) -> Turn:
    chat = asked.operation
    assert isinstance(chat, Chat)
    if options.tool:
        talk = Conversation(caller, asked, tools=options.tool, max_turns=options.max_turns, approve=approve)
        if options.no_stream:
            ending = await talk
            if output.json:
                output.document(to_json(ending))
            else:
                for message in ending.messages[len(chat.messages) :]:
                    for part in message.parts if message.role == "tool" else ():
                        if isinstance(part, ToolResultPart):
                            renderer.result(part)
                renderer.reply(ending.reply)
        else:
            async with talk:
                async for event in talk:
                    renderer.event(event)
            ending = talk.ending
            if output.json:
                output.event({"type": "ending", **to_json(ending)})
        if ending.stopped == "max_turns":
            output.note(
                f"the model still wanted tools after {ending.turns} turns; --max-turns allows more", "yellow"
            )
        return Turn(ending.messages, usage=ending.usage)
    if options.no_stream:
        reply = await caller.call(asked)
        renderer.reply(reply)
    else:
        async with caller.stream(asked) as stream:
            async for piece in stream:
                renderer.event(piece)
        reply = stream.reply
    return Turn((*chat.messages, reply.message), usage=reply.usage)


def request(options: Namespace, messages: tuple[Message, ...]) -> Request:
    """The request that the options describe, without its target; the time counts from now."""
    chat = Chat(
        messages,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        seed=options.seed,
        stop=options.stop,
        reasoning=options.reasoning,
        response_schema=_schema(options.schema),
    )
    return chat.to("", timeout=options.timeout, **addressing(options))


def system(text: str | None) -> tuple[Message, ...]:
    """The turn that a conversation begins with; none without a text."""
    return (Message.system(text),) if text else ()


def addressing(options: Namespace) -> dict[str, Any]:
    """The fields of a request that are the same for every operation."""
    return {"principal": options.principal, "data_class": "private" if options.private else "public"}


def default_model(config: Config) -> str:
    """What answers where no model was named; raises `UsageError` where that is not settled."""
    if DEFAULT in config.routes or DEFAULT in config.aliases:
        return DEFAULT
    raise UsageError(
        "no model was named, and nothing is called `default`",
        hint='name one with -m (see `gleitzeit models`), or write [aliases] default = "instance/model"',
    )


def image(where: str) -> Part:
    """A picture from a file, or by its address; raises `UsageError`."""
    if where.startswith(("http://", "https://", "data:")):
        return ImagePart(url=where)
    data = read_file(where, "--image")
    for magic, at, kind in _MAGIC:
        if data.startswith(magic, at):
            return ImagePart(data=data, media_type=kind)
    raise UsageError(
        f"--image {where}: this is no PNG, JPEG, GIF, WebP or BMP", hint="give a picture in one of these"
    )


def read_file(where: str, option: str) -> bytes:
    """The bytes of a file that was named on the command line; raises `UsageError`."""
    try:
        return Path(where).read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {where}: {error.strerror or error}", hint="see the path") from None


def _schema(where: str | None) -> ResponseSchema | None:
    if where is None:
        return None
    data = None
    with suppress(ValueError, RecursionError):
        data = json.loads(read_file(where, "--schema"))
    if not isinstance(data, dict):
        raise UsageError(
            f"--schema {where}: this is no JSON Schema", hint='it is an object such as {"type": "object"}'
        )
    return ResponseSchema(data, name=str(data.get("title") or "answer"))
