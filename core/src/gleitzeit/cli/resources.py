"""`gleitzeit resources` and `gleitzeit read`: what can be read, and what stands in it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gleitzeit.cli.call import send
from gleitzeit.cli.chat import addressing
from gleitzeit.cli.listings import matches, names, offered
from gleitzeit.cli.output import Output
from gleitzeit.cli.run import with_host
from gleitzeit.cli.table import Column
from gleitzeit.errors import UsageError
from gleitzeit.values import ReadResource, Reply, TextPart
from gleitzeit.wire.codec import to_json

if TYPE_CHECKING:
    from gleitzeit.host import Host

__all__ = ["read", "show"]

_COLUMNS: Final = (
    Column("RESOURCE", 9, least=30),
    Column("TYPE", 3),
    Column("SIZE", 2, right=True),
    Column("ABOUT", 1, least=22),
)


def show(options: Namespace, output: Output) -> int:
    """`gleitzeit resources`"""
    errors: dict[str, Any] = {}
    found = [
        (f"{offer.instance}/{item.uri}", item)
        for _, offer in offered(options, output, "resources", errors)
        for item in offer.items
        if matches(options.pattern, f"{offer.instance}/{item.uri}", item.name)
    ]
    if options.names:
        names(output, [name for name, item in found if not item.template])
    elif output.json:
        rows = [{"name": name, "resource": to_json(item)} for name, item in found]
        output.document({"resources": rows, "errors": errors})
    elif not found:
        output.note(f"no resource {f'like {options.pattern!r} ' if options.pattern else ''}is offered")
    else:
        output.table(
            _COLUMNS,
            [
                (
                    name,
                    item.media_type or "",
                    "" if item.size is None else str(item.size),
                    item.description or item.name,
                )
                for name, item in found
            ],
        )
    return 0


def read(options: Namespace, output: Output) -> int:
    """`gleitzeit read`"""
    instance, slash, uri = options.name.partition("/")
    if not slash or not uri:
        raise UsageError(
            f"{options.name!r} is no INSTANCE/URI", hint="see `gleitzeit resources` for what can be read"
        )
    asked = ReadResource(uri).to(instance, timeout=options.timeout, **addressing(options))
    if options.output is None:
        return with_host(options, output, lambda host: send(host, asked, output), person=True)

    async def work(host: Host) -> Reply:
        return await host.call(asked)

    data = b"".join(
        part.text.encode() if isinstance(part, TextPart) else getattr(part, "data", None) or b""
        for part in with_host(options, output, work, person=True).parts
    )
    try:
        Path(options.output).write_bytes(data)
    except OSError as error:
        raise UsageError(
            f"--output {options.output}: {error.strerror or error}", hint="see the path"
        ) from None
    output.note(f"{len(data)} bytes written to {options.output}")
    return 0
