"""Pictures, sound and files as the API takes them."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from gleitzeit.errors import InvalidRequestError, UnsupportedError
from gleitzeit.values import AudioPart, FilePart, ImagePart
from gleitzeit.wire.parts import as_base64, read_data_url
from gleitzeit_plugin_gemini.config import GeminiConfig

__all__ = ["Medium", "medium"]

Medium: TypeAlias = ImagePart | AudioPart | FilePart

_MAGIC: Final = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/avi"}
_DETAIL: Final[Mapping[str, str]] = {
    "low": "MEDIA_RESOLUTION_LOW",
    "medium": "MEDIA_RESOLUTION_MEDIUM",
    "high": "MEDIA_RESOLUTION_HIGH",
}
_KNOWN: Final = ("http://", "https://", "gs://")


def medium(part: Medium, config: GeminiConfig) -> dict[str, Any]:
    """A part as `inlineData` or `fileData`; raises where neither can be made of it."""
    written: dict[str, Any]
    if part.data is not None:
        written = {"inlineData": {"mimeType": _type(part), "data": as_base64(part.data)}}
    elif part.url is not None and part.url[:5].lower() == "data:":
        written = {"inlineData": _data_url(part.url)}
    else:
        uri = _uri(part, config)
        kind = part.media_type or mimetypes.guess_type(uri.partition("?")[0])[0]
        written = {"fileData": {"fileUri": uri} if kind is None else {"mimeType": kind, "fileUri": uri}}
    if config.part_resolution and isinstance(part, ImagePart) and part.detail is not None:
        level = _DETAIL.get(part.detail)
        if level is not None:
            written["mediaResolution"] = {"level": level}
    return written


def _uri(part: Medium, config: GeminiConfig) -> str:
    if isinstance(part, FilePart) and part.file_id is not None:
        if part.file_id.startswith(_KNOWN):
            return part.file_id
        if config.vertex:
            raise UnsupportedError(
                "Vertex AI keeps no uploads",
                hint="give `data`, or a `url` that begins with gs://",
            )
        return f"{config.root}/files/{part.file_id.removeprefix('files/')}"
    if part.url is None:
        raise InvalidRequestError(f"a part of type {part.type} needs `data` or a `url`")
    if not part.url.startswith(_KNOWN):
        raise UnsupportedError(
            f"a {part.type} part's address must begin with https:, gs: or data:",
            hint="give `data`",
        )
    return part.url


def _type(part: Medium) -> str:
    if part.media_type:
        return part.media_type
    data = part.data or b""
    kind = next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)
    if kind is None and data[:4] == b"RIFF":
        kind = _RIFF.get(data[8:12])
    if kind is None and isinstance(part, FilePart) and part.name:
        kind = mimetypes.guess_type(part.name)[0]
    if kind is None:
        raise InvalidRequestError(f"a part of type {part.type} with `data` needs a `media_type`")
    return kind


def _data_url(url: str) -> dict[str, str]:
    data, kind = read_data_url(url)
    if not kind:
        raise InvalidRequestError("a data: address without a media type", hint="give `data` and `media_type`")
    return {"mimeType": kind, "data": as_base64(data)}
