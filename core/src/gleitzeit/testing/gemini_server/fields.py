"""The bodies of requests as Google publishes them, by method: of the Gemini API and of Vertex AI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.testing.shape import Each, Fields, Null, Number, Text, Values, Words

__all__ = ["METHODS"]

_BYTES: Final = Text(
    pattern=r"\A(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?\Z"
)
_WHOLE: Final = Number(-(2**31), 2**31 - 1, whole=True)
_LONG: Final = Text(pattern=r"\A-?\d+\Z")
_BLOB: Final = Fields({"mimeType": str, "data": _BYTES})
_FILE: Final = Fields({"mimeType": str, "fileUri": str})
_LEVEL: Final = Words(
    "MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM MEDIA_RESOLUTION_HIGH"
)
_TOOL_TYPES: Final = Words(
    "TOOL_TYPE_UNSPECIFIED GOOGLE_SEARCH_WEB GOOGLE_SEARCH_IMAGE URL_CONTEXT GOOGLE_MAPS FILE_SEARCH"
)
_PART: Final = Fields(
    {
        "text": str,
        "thought": bool,
        "thoughtSignature": _BYTES,
        "inlineData": _BLOB,
        "fileData": _FILE,
        "functionCall": Fields({"id": str, "name": str, "args": dict}),
        "functionResponse": Fields(
            {
                "id": str,
                "name": str,
                "response": dict,
                "parts": Each(Fields({"inlineData": _BLOB, "fileData": _FILE})),
                "willContinue": bool,
                "scheduling": Words("SCHEDULING_UNSPECIFIED SILENT WHEN_IDLE INTERRUPT"),
            }
        ),
        "executableCode": Fields({"id": str, "language": Words("LANGUAGE_UNSPECIFIED PYTHON"), "code": str}),
        "codeExecutionResult": Fields(
            {
                "id": str,
                "outcome": Words("OUTCOME_UNSPECIFIED OUTCOME_OK OUTCOME_FAILED OUTCOME_DEADLINE_EXCEEDED"),
                "output": str,
            }
        ),
        "toolCall": Fields({"id": str, "toolType": _TOOL_TYPES, "toolName": str, "args": dict}),
        "toolResponse": Fields({"id": str, "toolType": _TOOL_TYPES, "response": dict}),
        "mediaResolution": Fields(
            {
                "level": Words(
                    "MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM "
                    "MEDIA_RESOLUTION_HIGH MEDIA_RESOLUTION_ULTRA_HIGH"
                ),
            }
        ),
        "videoMetadata": Fields({"startOffset": str, "endOffset": str, "fps": float}),
        "partMetadata": dict,
    }
)
_CONTENT: Final = Fields({"role": Words("user model"), "parts": Each(_PART)})
_SYSTEM: Final = Fields({"role": str, "parts": Each(_PART)})


def _schema(depth: int) -> Fields:
    """The subset of OpenAPI, so deep; below that anything goes."""
    inner: Any = _schema(depth - 1) if depth else dict
    return Fields(
        {
            "type": Words("TYPE_UNSPECIFIED STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL"),
            "title": str,
            "description": str,
            "format": str,
            "pattern": str,
            "nullable": bool,
            "enum": Each(str),
            "required": Each(str),
            "propertyOrdering": Each(str),
            "properties": Values(inner),
            "items": inner,
            "anyOf": Each(inner),
            "minimum": float,
            "maximum": float,
            **dict.fromkeys(
                ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _LONG
            ),
            "default": object,
            "example": object,
        }
    )


_SCHEMA: Final = _schema(8)
_TOOLS: Final = Each(
    Fields(
        {
            "functionDeclarations": Each(
                Fields(
                    {
                        "name": str,
                        "description": str,
                        "parameters": _SCHEMA,
                        "parametersJsonSchema": object,
                        "response": _SCHEMA,
                        "responseJsonSchema": object,
                        "behavior": Words("UNSPECIFIED BLOCKING NON_BLOCKING"),
                    }
                )
            ),
            "googleSearch": Fields(
                {
                    "timeRangeFilter": Fields({"startTime": str, "endTime": str}),
                    "searchTypes": Fields({"webSearch": Fields({}), "imageSearch": Fields({})}),
                }
            ),
            "codeExecution": Fields({}),
            "urlContext": Fields({}),
            "googleMaps": Fields({"enableWidget": bool}),
            "fileSearch": Fields({"fileSearchStoreNames": Each(str), "topK": _WHOLE, "metadataFilter": str}),
            "computerUse": Fields(
                {
                    "environment": Words(
                        "ENVIRONMENT_UNSPECIFIED ENVIRONMENT_BROWSER ENVIRONMENT_MOBILE ENVIRONMENT_DESKTOP"
                    ),
                    "excludedPredefinedFunctions": Each(str),
                }
            ),
        }
    )
)
_MODES: Final = Words("MODE_UNSPECIFIED AUTO ANY NONE VALIDATED")
_TOOL_CONFIG: Final = Fields(
    {
        "functionCallingConfig": Fields({"mode": _MODES, "allowedFunctionNames": Each(str)}),
        "retrievalConfig": Fields(
            {"latLng": Fields({"latitude": float, "longitude": float}), "languageCode": str}
        ),
        "includeServerSideToolInvocations": bool,
    }
)
_HARMS: Final = (
    "HARM_CATEGORY_UNSPECIFIED HARM_CATEGORY_DEROGATORY HARM_CATEGORY_TOXICITY HARM_CATEGORY_VIOLENCE "
    "HARM_CATEGORY_SEXUAL HARM_CATEGORY_MEDICAL HARM_CATEGORY_DANGEROUS HARM_CATEGORY_HARASSMENT "
    "HARM_CATEGORY_HATE_SPEECH HARM_CATEGORY_SEXUALLY_EXPLICIT HARM_CATEGORY_DANGEROUS_CONTENT "
    "HARM_CATEGORY_CIVIC_INTEGRITY HARM_CATEGORY_JAILBREAK"
)
_SAFETY: Final = Each(
    Fields(
        {
            "category": Words(_HARMS),
            "threshold": Words(
                "HARM_BLOCK_THRESHOLD_UNSPECIFIED BLOCK_LOW_AND_ABOVE BLOCK_MEDIUM_AND_ABOVE BLOCK_ONLY_HIGH "
                "BLOCK_NONE OFF"
            ),
        }
    )
)
_VOICE: Final = Fields({"prebuiltVoiceConfig": Fields({"voiceName": str})})
_GENERATION: Final = Fields(
    {
        "temperature": float,
        "topP": float,
        "topK": _WHOLE,
        "candidateCount": _WHOLE,
        "maxOutputTokens": _WHOLE,
        "stopSequences": Each(str),
        "responseMimeType": str,
        "responseSchema": _SCHEMA,
        "responseJsonSchema": object,
        "seed": _WHOLE,
        "presencePenalty": float,
        "frequencyPenalty": float,
        "responseModalities": Each(Words("MODALITY_UNSPECIFIED TEXT IMAGE AUDIO VIDEO")),
        "mediaResolution": _LEVEL,
        "thinkingConfig": Fields(
            {
                "includeThoughts": bool,
                "thinkingBudget": _WHOLE,
                "thinkingLevel": Words("THINKING_LEVEL_UNSPECIFIED MINIMAL LOW MEDIUM HIGH"),
            }
        ),
        "responseLogprobs": bool,
        "logprobs": _WHOLE,
        "speechConfig": Fields({"voiceConfig": _VOICE, "languageCode": str}),
        "imageConfig": Fields({"aspectRatio": str, "imageSize": str}),
    }
)
_TIERS: Final = Words("unspecified standard flex priority")
_GENERATE: Final = Fields(
    {
        "model": str,
        "contents": Each(_CONTENT, 1),
        "systemInstruction": _SYSTEM,
        "tools": _TOOLS,
        "toolConfig": _TOOL_CONFIG,
        "safetySettings": _SAFETY,
        "generationConfig": _GENERATION,
        "cachedContent": str,
        "serviceTier": _TIERS,
        "store": bool,
    },
    ["contents"],
)
#: Vertex AI has these besides.
_VERTEX: Final = Fields(
    {**_GENERATE.fields, "labels": Values(str), "modelArmorConfig": Values(str)}, _GENERATE.required
)
_EMBED: Final = Fields(
    {
        "model": str,
        "content": Fields({"role": str, "parts": Each(_PART, 1)}, ["parts"]),
        "taskType": Words(
            "TASK_TYPE_UNSPECIFIED RETRIEVAL_QUERY RETRIEVAL_DOCUMENT SEMANTIC_SIMILARITY CLASSIFICATION "
            "CLUSTERING QUESTION_ANSWERING FACT_VERIFICATION CODE_RETRIEVAL_QUERY"
        ),
        "title": str,
        "outputDimensionality": _WHOLE,
        "embedContentConfig": Fields(
            {
                "taskType": str,
                "title": str,
                "outputDimensionality": _WHOLE,
                "autoTruncate": bool,
                "documentOcr": bool,
                "audioTrackExtraction": bool,
            }
        ),
    },
    ["content"],
)
_COUNT: Final = Fields({"contents": Each(_CONTENT), "generateContentRequest": _GENERATE})
_VERTEX_COUNT: Final = Fields(
    {
        "contents": Each(_CONTENT),
        "systemInstruction": _SYSTEM,
        "tools": _TOOLS,
        "generationConfig": _GENERATION,
    }
)
_PREDICT: Final = Fields(
    {
        "instances": Each(Fields({"content": str, "task_type": str, "title": str}, ["content"]), 1),
        "parameters": Fields({"outputDimensionality": _WHOLE, "autoTruncate": bool}),
    },
    ["instances"],
)

#: The shape of each method's body, of the Gemini API and of Vertex AI.
METHODS: Final[Mapping[str, tuple[Any, Any]]] = {
    "generateContent": (_GENERATE, _VERTEX),
    "streamGenerateContent": (_GENERATE, _VERTEX),
    "countTokens": (_COUNT, _VERTEX_COUNT),
    "embedContent": (_EMBED, _EMBED),
    "batchEmbedContents": (
        Fields({"requests": Each(_EMBED, 1)}, ["requests"]),
        Null(dict),
    ),
    "predict": (_PREDICT, _PREDICT),
}
