"""The client that the conformance suite drives: a host with the suite's server in its configuration.

The suite starts `python -m tests.conformance.client URL` for each scenario, with the scenario's name, its
context and the revision of the protocol in the environment.
"""

import asyncio
import json
import logging
import os
import sys
from typing import Any, Final

import httpx2

from gleitzeit import Host
from gleitzeit.errors import GleitzeitError
from gleitzeit.values import Elicitation, Elicited, GetPrompt, ReadResource, ToolCall

SERVER: Final = "suite"
#: What the suite expects of a client that can be looked up; nobody fetches it.
DOCUMENT: Final = "https://conformance-test.local/client-metadata.json"
#: What each tool is called with where the suite says nothing.
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "add_numbers": {"a": 5, "b": 3},
    "valid_tool": {"region": "us-west1"},
}


class Person(logging.Handler):
    """Signs in at each address that the host shows in its log, as somebody with a browser would."""

    def __init__(self) -> None:
        super().__init__()
        self.visits: set[asyncio.Task[None]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and "sign in at" in str(record.msg):
            self.visits.add(asyncio.get_running_loop().create_task(self.visit(str(record.args[-1]))))

    async def visit(self, url: str) -> None:
        async with httpx2.AsyncClient(follow_redirects=True) as browser:
            await browser.get(url)


async def auth(url: str, scenario: str, context: dict[str, Any]) -> dict[str, Any]:
    """The `auth` of the server's entry."""
    given = {key: context[key] for key in ("client_id", "client_secret", "issuer") if context.get(key)}
    if "private_key_pem" in context:
        given |= {"private_key": context["private_key_pem"], "key_algorithm": context["signing_algorithm"]}
    if scenario.startswith("auth/client-credentials"):
        # An operator knows whose credentials they are; the suite does not say it.
        given.setdefault("issuer", await issuer(url))
        return {"type": "oauth", "grant": "client_credentials", **given}
    document = {} if "client_id" in given else {"client_metadata_url": DOCUMENT}
    return {"type": "oauth", "person": "log", **document, **given}


async def issuer(url: str) -> str:
    """The authorization server of the server at `url`."""
    parts = httpx2.URL(url)
    async with httpx2.AsyncClient() as client:
        for path in (
            f"/.well-known/oauth-protected-resource{parts.path}",
            "/.well-known/oauth-protected-resource",
        ):
            answer = await client.get(parts.copy_with(path=path))
            if answer.is_success:
                return str(answer.json()["authorization_servers"][0])
    raise SystemExit("the server names no authorization server")


async def elicited(asked: Elicitation) -> Elicited:
    """Consent to everything; the defaults of a form hold."""
    wanted = (asked.schema or {}).get("required", ())
    shapes = (asked.schema or {}).get("properties", {})
    values: dict[str, Any] = {
        name: True if shapes[name].get("type") == "boolean" else "yes"
        for name in wanted
        if "default" not in shapes[name]
    }
    return Elicited.accept(values)


async def run(url: str, scenario: str, context: dict[str, Any], revision: str) -> None:
    entry: dict[str, Any] = {
        "url": url,
        "mode": "modern" if revision >= "2026-07-28" else "legacy",
    }
    if scenario.startswith("auth/"):
        entry["auth"] = await auth(url, scenario, context)
    # The suite starts all its clients at once: each may have to wait long for its turn.
    config = {
        "host": {"hook_timeout": 80.0, "timeout": 80.0},
        "servers": {SERVER: {**entry, "timeout": 80.0}},
    }
    async with Host(config, environ={}, on_elicit=elicited) as host:
        for offer in await host.offers("tools"):
            if offer.error is not None:
                raise offer.error
            calls = context.get("toolCalls") or [
                {"name": tool.name, "arguments": ARGUMENTS.get(tool.name, {})} for tool in offer.items
            ]
            schemas = {tool.name: tool.input_schema for tool in offer.items}
            if "json_schema_echo" in schemas:
                schema = schemas["json_schema_2020_12_tool"]
                calls = [{"name": "json_schema_echo", "arguments": {"schema": schema}}]
            requests = [
                host.call(ToolCall(call["arguments"]).to(f"{SERVER}/{call['name']}")) for call in calls
            ]
            for answer in await asyncio.gather(*requests, return_exceptions=True):
                if isinstance(answer, BaseException) and not isinstance(answer, GleitzeitError):
                    raise answer
                sys.stderr.write(f"{answer!r}\n")
        if scenario == "http-standard-headers":
            for offer in await host.offers("resources"):
                for resource in offer.items:
                    await host.call(ReadResource(resource.uri).to(SERVER))
            for offer in await host.offers("prompts"):
                for prompt in offer.items:
                    await host.call(GetPrompt().to(f"{SERVER}/{prompt.name}"))


def main() -> None:
    person = Person()
    logging.getLogger("gleitzeit").addHandler(person)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    environ = os.environ
    context = json.loads(environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    scenario = environ.get("MCP_CONFORMANCE_SCENARIO", "")
    revision = environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
    try:
        asyncio.run(run(sys.argv[-1], scenario, context, revision))
    except GleitzeitError as error:
        raise SystemExit(f"{type(error).__name__}: {error} ({error.hint})") from None


if __name__ == "__main__":
    main()
