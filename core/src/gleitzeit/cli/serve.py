"""`gleitzeit mcp serve`: everything the host has, as one MCP server."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from gleitzeit.cli.output import Output
from gleitzeit.cli.run import with_host
from gleitzeit.config.secrets import SCHEME, SecretRef
from gleitzeit.errors import UsageError

if TYPE_CHECKING:
    from gleitzeit.host import Host

__all__ = ["run"]


def run(options: Namespace, output: Output) -> int:
    """`gleitzeit mcp serve`; ends when its only client leaves (stdio), or by a signal."""
    if options.token is not None and not options.token.startswith(SCHEME):
        # It may be the token itself, which others can read in the list of processes.
        raise UsageError(
            "--token takes a reference to a secret, not the secret itself",
            hint="put the token into a variable, and say --token secret://env/NAME",
        )
    reference = None if options.token is None else SecretRef.parse(options.token)
    if options.transport == "stdio" and reference is not None:
        raise UsageError("--token says nothing to stdio", hint="who starts a process needs no token")
    settings = _settings(options)

    async def work(host: Host) -> int:
        token = None if reference is None else await host._secrets.resolve(reference)
        server = host.mcp_server(**settings)
        if options.transport == "stdio":
            await server.run_stdio()
            return 0
        async with _front(server, options, token) as address:
            output.note(f"serving MCP at {address}")
            await asyncio.Event().wait()
        return 0

    return with_host(options, output, work)


def _front(server: Any, options: Namespace, token: str | None) -> Any:
    if options.transport == "http":
        if options.option:
            raise UsageError("--option says nothing to http", hint="leave it out")
        return server.http(options.host, options.port, token=token, allowed_hosts=tuple(options.allow_host))
    given = dict(item.split("=", 1) for item in options.option if "=" in item)
    if len(given) != len(options.option):
        raise UsageError("--option takes KEY=VALUE", hint="such as --option cert_file=server.pem")
    if token is not None:
        given["token"] = token
    host = f"[{options.host}]" if ":" in options.host else options.host
    return server.listen(options.transport, f"{host}:{options.port}", given)


def _settings(options: Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": options.name,
        "instructions": options.instructions,
        "bare": options.bare,
    }
    for name in ("tool", "resource", "prompt", "model"):
        if (patterns := getattr(options, name)) is not None:
            found[f"{name}s"] = patterns
    if options.no_models:
        found["models"] = ()
    return found
