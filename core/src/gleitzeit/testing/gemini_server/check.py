"""Refuses requests that Gemini would refuse, in its words: unknown fields, wrong types, calls unanswered."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["missing_signature", "problem"]

_NUMBER: Final = (int, float)
_LIST: Final = "*"
#: Fields by message: a type, a tuple of types, a list of words, the name of a message, or `*NAME` for a
#: list of such messages.
_SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "generateContent": {
        "model": str,
        "contents": "*content",
        "systemInstruction": "content",
        "tools": "*tool",
        "toolConfig": "toolConfig",
        "safetySettings": "*safety",
        "generationConfig": "generation",
        "cachedContent": str,
        "labels": dict,
        "modelArmorConfig": dict,
        "serviceTier": str,
        "store": bool,
    },
    "countTokens": {
        "contents": "*content",
        "generateContentRequest": "generateContent",
        "systemInstruction": "content",
        "tools": "*tool",
        "generationConfig": "generation",
    },
    "batchEmbedContents": {"requests": "*embedContent"},
    "embedContent": {
        "model": str,
        "content": "content",
        "taskType": str,
        "title": str,
        "outputDimensionality": int,
        "embedContentConfig": dict,
    },
    "predict": {"instances": "*instance", "parameters": dict},
    "instance": {"content": str, "task_type": str, "title": str},
    "content": {"role": ["user", "model"], "parts": "*part"},
    "part": {
        "text": str,
        "thought": bool,
        "thoughtSignature": bytes,
        "inlineData": "blob",
        "fileData": "file",
        "functionCall": "call",
        "functionResponse": "response",
        "executableCode": dict,
        "codeExecutionResult": dict,
        "toolCall": dict,
        "toolResponse": dict,
        "mediaResolution": dict,
        "videoMetadata": dict,
        "partMetadata": dict,
    },
    "blob": {"mimeType": str, "data": bytes},
    "file": {"mimeType": str, "fileUri": str},
    "call": {"id": str, "name": str, "args": dict},
    "response": {"id": str, "name": str, "response": dict, "parts": "*resultPart"},
    "resultPart": {"inlineData": "blob", "fileData": "file"},
    "tool": {
        "functionDeclarations": "*function",
        "googleSearch": dict,
        "codeExecution": dict,
        "urlContext": dict,
        "googleMaps": dict,
        "fileSearch": dict,
        "computerUse": dict,
    },
    "function": {
        "name": str,
        "description": str,
        "parameters": "schema",
        "parametersJsonSchema": dict,
        "response": "schema",
        "responseJsonSchema": dict,
        "behavior": str,
    },
    "schema": {
        "type": ["STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"],
        "title": str,
        "description": str,
        "format": str,
        "pattern": str,
        "nullable": bool,
        "enum": list,
        "required": list,
        "propertyOrdering": list,
        "properties": dict,
        "items": "schema",
        "anyOf": "*schema",
        "minimum": _NUMBER,
        "maximum": _NUMBER,
        "minLength": str,
        "maxLength": str,
        "minItems": str,
        "maxItems": str,
        "minProperties": str,
        "maxProperties": str,
        "default": object,
        "example": object,
    },
    "toolConfig": {
        "functionCallingConfig": "calling",
        "retrievalConfig": dict,
        "includeServerSideToolInvocations": bool,
    },
    "calling": {"mode": ["AUTO", "ANY", "NONE", "VALIDATED"], "allowedFunctionNames": list},
    "safety": {"category": str, "threshold": str},
    "generation": {
        "temperature": _NUMBER,
        "topP": _NUMBER,
        "topK": int,
        "candidateCount": int,
        "maxOutputTokens": int,
        "stopSequences": list,
        "responseMimeType": str,
        "responseSchema": "schema",
        "responseJsonSchema": dict,
        "seed": int,
        "presencePenalty": _NUMBER,
        "frequencyPenalty": _NUMBER,
        "responseModalities": list,
        "mediaResolution": str,
        "thinkingConfig": "thinking",
        "responseLogprobs": bool,
        "logprobs": int,
        "speechConfig": dict,
        "imageConfig": dict,
    },
    "thinking": {
        "includeThoughts": bool,
        "thinkingBudget": int,
        "thinkingLevel": ["MINIMAL", "LOW", "MEDIUM", "HIGH"],
    },
}
_CONTENT: Final = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)


def problem(method: str, body: Any) -> str | None:
    """What is wrong with the body of a method, such as `generateContent`; None if nothing."""
    method = "generateContent" if method == "streamGenerateContent" else method
    wrong = _message(body, method, "")
    if wrong is not None:
        return wrong
    inner = body.get("generateContentRequest", body)
    if method == "generateContent" and not body.get("contents"):
        return "* GenerateContentRequest.contents: contents is not specified"
    return _contents(inner.get("contents") or ()) or _functions(inner.get("tools") or ())


def missing_signature(body: Mapping[str, Any]) -> str | None:
    """The complaint of models that want a signature on the first call of each turn; None without reason."""
    for content in body["contents"]:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and "thoughtSignature" not in calls[0]:
            name = calls[0]["functionCall"]["name"]
            return f"Function call is missing a thought_signature in functionCall parts: {name}"
    return None


def _message(value: Any, shape: str, at: str) -> str | None:
    if not isinstance(value, dict):
        return f"Invalid value at '{at}': an object is expected"
    known = _SHAPES[shape]
    for name, inner in value.items():
        if name not in known:
            return f"Invalid JSON payload received. Unknown name \"{name}\" at '{at}': Cannot find field."
        wrong = _value(inner, known[name], f"{at}.{name}" if at else name)
        if wrong is not None:
            return wrong
    if shape == "schema":
        for name, inner in (value.get("properties") or {}).items():
            wrong = _message(inner, "schema", f"{at}.properties.{name}")
            if wrong is not None:
                return wrong
    return None


def _value(value: Any, wanted: Any, at: str) -> str | None:
    if isinstance(wanted, str):
        if not wanted.startswith(_LIST):
            return _message(value, wanted, at)
        if not isinstance(value, list):
            return f"Invalid value at '{at}': a list is expected"
        found = (_message(item, wanted[1:], f"{at}[{index}]") for index, item in enumerate(value))
        return next((wrong for wrong in found if wrong is not None), None)
    if isinstance(wanted, list):
        return None if value in wanted else f"Invalid value at '{at}': {value!r}"
    if wanted is bytes:
        return None if _is_base64(value) else f"Invalid value at '{at}' (TYPE_BYTES), Base64 decoding failed"
    fits = isinstance(value, wanted) and not (isinstance(value, bool) and wanted in (int, _NUMBER))
    return None if fits else f"Invalid value at '{at}': {type(value).__name__}"


def _is_base64(value: Any) -> bool:
    try:
        plain = value.replace("-", "+").replace("_", "/")
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (AttributeError, binascii.Error, ValueError):
        return False
    return True


def _contents(contents: Any) -> str | None:
    names: list[str] = []
    for index, content in enumerate(contents):
        at = f"GenerateContentRequest.contents[{index}]"
        if not content.get("parts"):
            return f"* {at}.parts: contents.parts must not be empty."
        for part in content["parts"]:
            held = [name for name in _CONTENT if name in part]
            if len(held) != 1:
                return f"* {at}.parts: required oneof field 'data' must have one initialized field"
        answers = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if answers and content.get("role") == "model":
            return f"* {at}: a function response is in a turn of the model"
        if [answer.get("name") for answer in answers] != names:
            return (
                "Please ensure that the number of function response parts is equal to the number of "
                "function call parts of the function call turn."
            )
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        if calls and content.get("role") != "model":
            return f"* {at}: a function call is in a turn of the user"
        names = [call.get("name", "") for call in calls]
    return None


def _functions(tools: Any) -> str | None:
    for tool in tools:
        for function in tool.get("functionDeclarations") or ():
            name = function.get("name", "")
            plain = name.translate({ord(mark): None for mark in "_.:-"})
            if not name or len(name) > 64 or not name.isascii() or not (plain.isalnum() or not plain):
                return f"Invalid function name {name!r}"
            if "parameters" in function and "parametersJsonSchema" in function:
                return "only one of parameters and parameters_json_schema can be set"
    return None
