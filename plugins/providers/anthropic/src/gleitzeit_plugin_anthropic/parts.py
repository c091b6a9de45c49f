"""Parts as content blocks. What the wire cannot carry is refused before anything is sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import (
    FilePart,
    ImagePart,
    Part,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from gleitzeit.wire.names import WireNames
from gleitzeit.wire.parts import IMAGES, as_base64, image_type, kinds, own_arguments, read_data_url
from gleitzeit_plugin_anthropic.marks import read_state

__all__ = ["BlockWriter"]

_IMAGE_TYPES: Final = frozenset(kind for _, kind in IMAGES)
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_PDF: Final = "application/pdf"


class BlockWriter:
    """Writes the blocks of one request. `owner` tags the state that this server gave and gets back."""

    def __init__(self, names: WireNames, owner: str) -> None:
        self._names = names
        self._owner = owner

    def text(self, part: TextPart) -> dict[str, Any] | None:
        """A text block; None for blank text, which the API refuses."""
        if not part.text.strip():
            return None
        return {"type": "text", "text": part.text, **self._extras(part)}

    def texts(self, parts: Iterable[Part], where: str) -> list[dict[str, Any]]:
        """Text blocks of parts that must be text."""
        written = []
        for part in parts:
            if not isinstance(part, TextPart):
                raise UnsupportedError(
                    f"{where} cannot hold {kinds([part])} in the Messages API", hint="send it in a user turn"
                )
            block = self.text(part)
            if block is not None:
                written.append(block)
        return written

    def content(self, part: Part) -> dict[str, Any] | None:
        """The block of a part of a user turn or of a tool's result; None where nothing is to be sent."""
        if isinstance(part, TextPart):
            return self.text(part)
        if isinstance(part, ImagePart):
            return {"type": "image", "source": _image_source(part), **self._extras(part)}
        if isinstance(part, FilePart):
            return {**_file(part), **self._extras(part)}
        raise UnsupportedError(
            f"a user turn or tool result cannot hold {kinds([part])} in the Messages API",
            hint="send text, images or documents",
        )

    def result(self, part: ToolResultPart) -> dict[str, Any]:
        """The answer to a tool call."""
        written: dict[str, Any] = {"type": "tool_result", "tool_use_id": _wire_id(part.id)}
        blocks = [block for each in part.parts if (block := self.content(each)) is not None]
        if blocks:
            plain = len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
            written["content"] = blocks[0]["text"] if plain else blocks
        if part.is_error:
            written["is_error"] = True
        return {**written, **self._extras(part)}

    def call(self, part: ToolCallPart) -> dict[str, Any]:
        """A tool call of the model."""
        return {
            "type": "tool_use",
            "id": _wire_id(part.id),
            "name": self._names.encode(part.name),
            "input": _arguments(part),
            **self._extras(part),
        }

    def _extras(self, part: Part) -> dict[str, Any]:
        extras = read_state(part, self._owner)
        if "type" in extras:
            raise InvalidRequestError(
                f"the provider_state of a {part.type} part is that of another kind of block",
                hint="pass parts on as they came",
            )
        return dict(extras)


def _arguments(part: ToolCallPart) -> Any:
    """The input of a call: its own bytes where they still say the same, as caches compare bytes."""
    if part.arguments is None:
        # The wire takes objects only; the vendor's documentation wraps broken JSON in this way.
        return {"INVALID_JSON": part.raw or ""}
    return own_arguments(part) or part.arguments


def _wire_id(id: str) -> str:
    """An id that the API takes; ids of other vendors may hold anything."""
    if _ID.fullmatch(id):
        return id
    return f"toolu_{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _image_source(part: ImagePart | FilePart) -> dict[str, Any]:
    if part.data is None and part.url is None:
        raise InvalidRequestError("an image needs a `url`, or `data` with its `media_type`")
    if part.data is None and part.url is not None and not part.url.startswith("data:"):
        return {"type": "url", "url": part.url}
    data, kind = _data(part)
    kind = kind or image_type(data)
    if kind not in _IMAGE_TYPES:
        raise UnsupportedError(
            f"the Messages API takes no image of type {kind or 'unknown'}",
            hint=f"give one of {', '.join(sorted(_IMAGE_TYPES))} with its `media_type`",
        )
    return {"type": "base64", "media_type": kind, "data": as_base64(data)}


def _file(part: FilePart) -> dict[str, Any]:
    kind = (part.media_type or "").lower()
    if part.file_id is not None:
        source = {"type": "file", "file_id": part.file_id}
        if kind.startswith("image/"):
            return {"type": "image", "source": source}
        if kind and kind != _PDF and not kind.startswith("text/"):  # for the container of server tools
            return {"type": "container_upload", "file_id": part.file_id}
        return _document(part, source)
    if kind.startswith("image/"):
        return {"type": "image", "source": _image_source(part)}
    if part.data is None and part.url is not None and not part.url.startswith("data:"):
        if kind in ("", _PDF):
            return _document(part, {"type": "url", "url": part.url})
        raise UnsupportedError(
            f"the Messages API fetches images and PDF files only, not {kind}", hint="give its `data`"
        )
    if part.data is None and part.url is None:
        raise InvalidRequestError("a file needs `data`, a `url` or a `file_id`")
    data, found = _data(part)
    kind = found or _PDF
    if kind == _PDF:
        return _document(part, {"type": "base64", "media_type": _PDF, "data": as_base64(data)})
    if kind.startswith("text/"):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidRequestError(f"file {part.name or ''}: text is sent as UTF-8") from None
        return _document(part, {"type": "text", "media_type": "text/plain", "data": text})
    raise UnsupportedError(
        f"the Messages API takes no file of type {kind}",
        hint="give a PDF, text, or the `file_id` of an upload",
    )


def _document(part: FilePart, source: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"type": "document", "source": source}
    if part.name:
        document["title"] = part.name[:500]
    return document


def _data(part: ImagePart | FilePart) -> tuple[bytes, str | None]:
    """The bytes of a part and their type, from its data or a `data:` address."""
    if part.data is not None:
        return part.data, part.media_type.lower() if part.media_type else None
    data, kind = read_data_url(part.url or "")
    return data, (part.media_type or kind).lower() or None
