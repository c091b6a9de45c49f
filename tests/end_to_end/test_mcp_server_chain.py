"""One Gleitzeit as the upstream of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from gleitzeit import Host
from gleitzeit.errors import ContentRefusedError, GleitzeitError, RateLimitedError, UnknownModelError
from gleitzeit.values import Chat
from tests.end_to_end.mcp_serving import PATIENT, chained, everything

WIRES = pytest.mark.parametrize(
    "wire, mode",
    [("stdio", "modern"), ("stdio", "legacy"), ("http", "auto"), ("http", "legacy")],
)


@WIRES
async def test_everything_passes_two_hosts(wire: str, mode: str, tmp_path: Path) -> None:
    async with chained(wire, tmp_path, mode=mode) as host:
        await everything(host)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_errors_keep_their_kind_across_hosts(mode: str) -> None:
    rules = [
        {"contains": "fast", "error": {"code": "rate_limited", "status": 429, "retry_after": 7}},
        {"contains": "evil", "error": {"code": "content_refused"}},
    ]
    answers = {"providers": {"refuses": {"plugin": "scripted", "answers": {"all": {"rules": rules}}}}}
    behind = {**answers, "host": {**PATIENT, "retry": {"max_retries": 0}}}
    async with Host(behind, environ={}) as inner, inner.mcp_server().http() as url:
        entry = {"url": url, "mode": mode, "models": ["refuses/all", "refuses/none"]}
        config = {"servers": {"inner": entry}, "host": {**PATIENT, "retry": {"max_retries": 0}}}
        async with Host(config, environ={}) as host:
            cases: list[tuple[str, str, type[GleitzeitError]]] = [
                ("too evil", "refuses/all", ContentRefusedError),
                ("hi", "refuses/none", UnknownModelError),
                ("too fast", "refuses/all", RateLimitedError),
            ]
            for prompt, model, kind in cases:
                with pytest.raises(kind) as caught:
                    await host.call(Chat(prompt).to(f"inner/{model}"))
                assert caught.value.provider == "inner"
                assert caught.value.retry_after == (7 if kind is RateLimitedError else None)
