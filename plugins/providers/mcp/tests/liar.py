"""Answers the greeting; then says on stdout, byte for byte (Latin-1), what a call of `say` wants it to."""

import json
import sys
from typing import Any

WHOLE = {"resultType": "complete"}
GREETING = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {}, "logging": {}, "resources": {}},
    "serverInfo": {"name": "liar", "version": "1"},
    **WHOLE,
}
TOOLS = {
    "tools": [{"name": "say", "inputSchema": {"type": "object"}}],
    "ttlMs": 0,
    "cacheScope": "private",
    **WHOLE,
}


def put(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def send(id: Any, **said: Any) -> None:
    put(json.dumps({"jsonrpc": "2.0", "id": id, **said}).encode() + b"\n")


for line in sys.stdin.buffer:
    message = json.loads(line)
    id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if method == "server/discover":
        send(id, result=GREETING)
    elif method == "tools/list":
        send(id, result=TOOLS)
    elif method == "tools/call":
        token = json.dumps(params.get("_meta", {}).get("progressToken")).encode()
        raw = params["arguments"]["raw"].encode("latin-1")
        put(raw.replace(b"@ID@", json.dumps(id).encode()).replace(b"@TOKEN@", token))
        send(id, result={"content": [{"type": "text", "text": "fine"}], **WHOLE})
    elif id is not None and method is not None:
        send(id, error={"code": -32601, "message": "no"})
