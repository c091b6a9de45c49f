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
    references = _references(options.token)
    if options.transport == "stdio" and references:
        raise UsageError("--token says nothing to stdio", hint="who starts a process needs no token")
    keys = [_reference("--state-key", text) for text in options.state_key]
    settings = _settings(options)
    if options.transport == "grpc" and len(references) == 1 and options.principal is None:
        settings["principal"] = next(iter(references))  # its wire has no other way to tell who it is

    async def work(host: Host) -> int:
        tokens = {name: await host._secrets.resolve(reference) for name, reference in references.items()}
        settings["state_keys"] = [await host._secrets.resolve(each) for each in keys]
        server = host.mcp_server(**settings)
        if options.transport == "stdio":
            await server.run_stdio()
            return 0
        async with _front(server, options, tokens) as address:
            output.note(f"serving MCP at {address}")
            await asyncio.Event().wait()
        return 0

    return with_host(options, output, work)


def _references(given: list[str]) -> dict[str, SecretRef]:
    """The references to tokens by principal; a lone one without a name is of the principal `token`."""
    found: dict[str, SecretRef] = {}
    for text in given:
        name, _, reference = text.rpartition("=" + SCHEME)
        name, reference = (name, SCHEME + reference) if name else ("token", text)
        if name in found:
            raise UsageError(f"{name!r} has two tokens", hint="say --token PRINCIPAL=REFERENCE for each")
        found[name] = _reference("--token", reference)
    return found


def _reference(option: str, text: str) -> SecretRef:
    if not text.startswith(SCHEME):
        # It may be the secret itself, which others can read in the list of processes.
        raise UsageError(
            f"{option} takes a reference to a secret, not the secret itself",
            hint=f"put it into a variable, and say {option} secret://env/NAME",
        )
    return SecretRef.parse(text)


def _front(server: Any, options: Namespace, tokens: dict[str, str]) -> Any:
    if options.transport == "http":
        if options.option:
            raise UsageError("--option says nothing to http", hint="leave it out")
        hosts = tuple(options.allow_host)
        return server.http(options.host, options.port, token=tokens or None, allowed_hosts=hosts)
    given = dict(item.split("=", 1) for item in options.option if "=" in item)
    if len(given) != len(options.option):
        raise UsageError("--option takes KEY=VALUE", hint="such as --option cert_file=server.pem")
    if len(tokens) > 1:
        raise UsageError(f"{options.transport} knows one token", hint="give one, or serve over http")
    if tokens:
        given["token"] = next(iter(tokens.values()))
    host = f"[{options.host}]" if ":" in options.host else options.host
    return server.listen(options.transport, f"{host}:{options.port}", given)


def _settings(options: Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": options.name,
        "principal": options.principal,
        "instructions": options.instructions,
        "bare": options.bare,
    }
    for name in ("tool", "resource", "prompt", "model"):
        if (patterns := getattr(options, name)) is not None:
            found[f"{name}s"] = patterns
    if options.no_models:
        found["models"] = ()
    return found
