"""Recorded interactions with vendors. They lie beside the repository and are no part of it."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from attrs import field, frozen

__all__ = ["Interaction", "Recordings", "read_cassette"]


@frozen(kw_only=True)
class Interaction:
    """One request with its answer; `sent` is the JSON of the request, None where it had none."""

    provider: str
    op: str
    file: str
    n: int = 0
    method: str = "POST"
    path: str = "/"
    sent: Any = field(default=None, repr=False)
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    #: Is the answer an event stream?
    stream: bool = False
    #: Does it carry thinking, a signature or encrypted reasoning?
    reasoning: bool = False

    @property
    def name(self) -> str:
        """`FILE#N`, by which differences are listed."""
        return f"{self.file}#{self.n}"

    @property
    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Recordings:
    """The recordings in a folder with an `INDEX.json`; a file is read when it is first wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: list[dict[str, Any]] = json.loads((folder / "INDEX.json").read_text("utf-8"))
        self._files: dict[str, list[dict[str, Any]]] = {}

    def __iter__(self) -> Iterator[Interaction]:
        for row in self._index:
            yield self._interaction(row)

    def counts(self) -> Counter[tuple[str, str]]:
        """How many interactions there are, by provider and operation."""
        return Counter((row["provider"], row["op"]) for row in self._index)

    def find(self, providers: tuple[str, ...], ops: tuple[str, ...]) -> Iterator[Interaction]:
        """The interactions with any of these providers by any of these operations, in the index's order."""
        for row in self._index:
            if row["provider"] in providers and row["op"] in ops:
                yield self._interaction(row)

    def errors(self, providers: tuple[str, ...]) -> Iterator[Interaction]:
        """The interactions with any of these providers that were refused, or failed."""
        for row in self._index:
            if row["provider"] in providers and row["status"] >= 400:
                yield self._interaction(row)

    def _interaction(self, row: Mapping[str, Any]) -> Interaction:
        file = row["file"]
        if file not in self._files:
            self._files[file] = read_cassette(self._folder / file)
        return Interaction(
            provider=row["provider"],
            op=row["op"],
            file=file,
            n=row["n"],
            stream=bool(row["stream"]),
            reasoning=bool(row.get("reasoning")),
            **self._files[file][row["n"]],
        )


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML with `!binary` as some recorders write it."""


_Loader.add_constructor("!binary", lambda _, node: base64.b64decode(node.value))


def read_cassette(path: Path) -> list[dict[str, Any]]:
    """The HTTP interactions of a file of vcrpy's format, as fields of `Interaction`."""
    with path.open(encoding="utf-8") as file:
        document = yaml.load(file, Loader=_Loader)  # a safe loader with one more constructor
    items = document.get("interactions") or document.get("http_interactions") or []
    return [_fields(item["request"], item["response"]) for item in items if "request" in item]


def _fields(request: Mapping[str, Any], response: Mapping[str, Any]) -> dict[str, Any]:
    headers = {
        name.lower(): str(value[0] if isinstance(value, list) and value else value)
        for name, value in (response.get("headers") or {}).items()
    }
    try:
        sent = json.loads(_body(request) or b"null")
    except ValueError:
        sent = None
    path = urlsplit(request["uri"]).path
    status = response["status"]["code"]
    fields = {"method": request["method"].upper(), "path": path, "sent": sent}
    return {**fields, "status": status, "headers": headers, "body": _body(response)}


def _body(side: Mapping[str, Any]) -> bytes:
    """The body of a request or answer, whatever shape the recorder gave it; unpacked."""
    if "parsed_body" in side:
        parsed = side["parsed_body"]
        return (parsed if isinstance(parsed, str) else json.dumps(parsed, ensure_ascii=False)).encode()
    body = side.get("body")
    if isinstance(body, dict):
        body = base64.b64decode(body["base64_string"]) if "base64_string" in body else body.get("string", "")
    if isinstance(body, list):
        body = b"".join(piece if isinstance(piece, bytes) else str(piece).encode() for piece in body)
    data: bytes = body.encode() if isinstance(body, str) else body or b""
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
