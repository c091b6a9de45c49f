"""Ask one model over each wire, whole and as a stream.

    python asking.py [CONFIG]

CONFIG is `models.toml` beside this file unless another is named; every server in it that serves models
is asked.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gleitzeit import Chat, GleitzeitError, Host, TextDelta

QUESTION = "Tell me a short story about a robot learning to paint."


async def whole(host: Host, model: str) -> None:
    """The answer when it is complete."""
    reply = await host.call(Chat(QUESTION, max_tokens=300).to(model))
    print(f"{model}: {reply.text} [{reply.finish_reason}]")


async def streamed(host: Host, model: str) -> None:
    """The answer piece by piece."""
    print(f"{model}: ", end="")
    async with host.stream(Chat(QUESTION, max_tokens=300).to(model)) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                print(event.text, end="|", flush=True)
    print(f" [{stream.reply.finish_reason}]")


async def main(config: Path) -> int:
    """Ask every model that a server of the file serves; gives the number of those that failed."""
    failed = 0
    async with Host(config) as host:
        servers = {server.name for server in await host.servers.list()}
        for offer in await host.offers("models"):
            if offer.instance not in servers:
                continue
            for model in offer.items:
                try:
                    await whole(host, f"{offer.instance}/{model.name}")
                    await streamed(host, f"{offer.instance}/{model.name}")
                except GleitzeitError as error:
                    failed += 1
                    print(f"{offer.instance}: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("models.toml")
    sys.exit(asyncio.run(main(chosen)))
