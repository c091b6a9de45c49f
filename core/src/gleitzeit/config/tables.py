"""The tables that bound and repeat calls, as JSON Schema: of the host, an instance, a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gleitzeit.config.codes import NAMES

__all__ = ["CALLED", "DEFAULTS", "TABLES", "TOOL"]

Schema = Mapping[str, Any]

#: More than a day is a slip of the pen, and sums of it stay exact.
_LONGEST: Final = 86_400
_COUNT: Final = 1_000_000_000


def _table(description: str, properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "description": description,
        "properties": properties,
    }


def _seconds(default: float, description: str, **bounds: float) -> Schema:
    bounds = bounds or {"minimum": 0}
    return {
        "type": "number",
        **bounds,
        "maximum": _LONGEST,
        "default": default,
        "description": description,
    }


def _whole(default: int, least: int, description: str, most: int = _COUNT) -> Schema:
    return {
        "type": "integer",
        "minimum": least,
        "maximum": most,
        "default": default,
        "description": description,
    }


#: Both cases are written out for editors, which know no other way.
_CODE: Final[Schema] = {
    "type": "string",
    "title": "error code",
    "enum": [*NAMES, *(name.upper() for name in NAMES)],
    "examples": ["rate_limited", "overloaded", "server_fault"],
}
_BACKOFF: Final[Mapping[str, Schema]] = {
    "max_retries": _whole(2, 0, "How often a call is repeated; 0: never.", most=100),
    "base_delay": _seconds(0.5, "Seconds before the first repetition; each further one waits twice as long."),
    "max_delay": _seconds(30.0, "Seconds that a wait may take at most."),
    "jitter_factor": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.2,
        "description": "How far a wait may differ from that, as a part of it.",
    },
}
_PER_MINUTE: Final[Schema] = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e12, "examples": [600]}

#: Table -> what it may hold. A key with a default has that of `gleitzeit.config.resilience`.
TABLES: Final[Mapping[str, Schema]] = {
    "retry": _table(
        "When a failed call is repeated.",
        {
            **_BACKOFF,
            "retry_codes": {
                "type": "array",
                "items": _CODE,
                "examples": [["rate_limited", "overloaded"]],
                "description": "Only errors with these codes are repeated; absent: what the error says.",
            },
            "by_code": {
                "type": "object",
                "propertyNames": _CODE,
                "additionalProperties": _table("Other values for errors with this code.", _BACKOFF),
                "description": "Other values for single error codes.",
            },
        },
    ),
    "circuit_breaker": _table(
        "When a target that fails is left alone.",
        {
            "enabled": {"type": "boolean", "default": True, "description": "False: it is always asked."},
            "failure_threshold": _whole(5, 1, "Failures in a row that open the circuit."),
            "recovery_timeout": _seconds(30.0, "Seconds that the circuit stays open.", exclusiveMinimum=0),
            "half_open_max_calls": _whole(2, 1, "Trial calls that must succeed before it is closed again."),
        },
    ),
    "bulkhead": _table(
        "How many calls at once.",
        {
            "max_calls": {
                "type": "integer",
                "minimum": 1,
                "maximum": _COUNT,
                "description": "Calls at once; absent: any number.",
                "examples": [16],
            },
            "max_queue": _whole(1000, 0, "Calls that may wait for their turn; further ones fail at once."),
        },
    ),
    "rate_limit": _table(
        "How much in a minute.",
        {
            "requests_per_minute": {**_PER_MINUTE, "description": "Calls in a minute; absent: any number."},
            "tokens_per_minute": {**_PER_MINUTE, "description": "Tokens in a minute; absent: any number."},
        },
    ),
    "timeouts": _table(
        "Times in seconds; 0: no limit but the call's own.",
        {
            "attempt": _seconds(0.0, "Seconds for one attempt."),
            "first_event": _seconds(120.0, "Seconds until a stream's first event."),
            "idle": _seconds(60.0, "Seconds between two events of a stream."),
            "queue": _seconds(10.0, "Seconds that a call may wait for its turn at the target."),
        },
    ),
}

#: Those of `[host]`, which hold for everything that says nothing else.
DEFAULTS: Final[Mapping[str, Schema]] = {
    name: TABLES[name] for name in ("retry", "circuit_breaker", "timeouts")
}

#: What can be said of a tool alone, beside the tables.
TOOL: Final[Mapping[str, Schema]] = {
    "rename": {
        "type": "string",
        "minLength": 1,
        "examples": ["log"],
        "description": "The name that it is offered under; `*` stands for what the glob's `*` matches.",
    },
    "category": {
        "type": "string",
        "minLength": 1,
        "examples": ["version-control"],
        "description": "What kind of tool it is.",
    },
    "tags": {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "examples": [["read-only"]],
        "description": "Words to find it by, beside those that it has.",
    },
    "description": {
        "type": "string",
        "minLength": 1,
        "description": "What models are told instead of the tool's own words.",
    },
    "hidden": {"type": "boolean", "default": False, "description": "True: as if it were not there."},
    "idempotent": {
        "type": "boolean",
        "default": False,
        "description": "True: running it twice does no more than running it once.",
    },
    "fallback": {
        "type": "string",
        "minLength": 1,
        "examples": ["other/tool"],
        "description": "The tool that is run where this one fails and may be repeated, or was not reached.",
    },
}

#: The keys of what answers calls, `[providers.NAME]` and `[servers.NAME]`; elsewhere they are the plugin's.
CALLED: Final[Mapping[str, Schema]] = {
    **TABLES,
    "targets": {
        "type": "object",
        "propertyNames": {"type": "string", "minLength": 1, "examples": ["gpt-*"]},
        "additionalProperties": _table("The same tables, for each target that the glob matches.", TABLES),
        "description": "The same tables for single models and tools, by globs of their own names.",
    },
    "tools": {
        "type": "object",
        "propertyNames": {"type": "string", "minLength": 1, "examples": ["git_*"]},
        "additionalProperties": _table("What holds for each tool that the glob matches.", {**TOOL, **TABLES}),
        "description": "What holds for single tools, by globs of their own names; over `targets`.",
    },
}
