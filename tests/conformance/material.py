"""What the everything-server has: the names and contents that the scenarios of the suite ask for."""

from typing import Any, Final

__all__ = ["AUDIO", "IMAGE", "PROMPTS", "QUESTIONS", "RESOURCES", "TASKS", "TEMPLATES", "TOOLS"]

#: One red pixel, and a WAV file without a sample.
IMAGE: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
AUDIO: Final = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _form(message: str, required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    schema = _object(required, **properties)
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def _sampling(text: str, tokens: int = 100) -> dict[str, Any]:
    said = {"role": "user", "content": {"type": "text", "text": text}}
    return {"method": "sampling/createMessage", "params": {"messages": [said], "maxTokens": tokens}}


_TEXT: Final = {"type": "string"}
_ROOTS: Final = {"method": "roots/list", "params": {}}
_NAME: Final = _form("What is your name?", ("name",), name=_TEXT)
_CONFIRM: Final = _form("Please confirm", ("ok",), ok={"type": "boolean"})
_STATES: Final = ["active", "inactive", "pending"]
_OPTIONS: Final = ["option1", "option2", "option3"]
_TITLED: Final = [
    {"const": f"value{number}", "title": title}
    for number, title in enumerate(("First Option", "Second Option", "Third Option"), 1)
]

#: What each asking tool asks, round by round; a prompt asks in the same way.
QUESTIONS: Final[dict[str, list[dict[str, dict[str, Any]]]]] = {
    "test_elicitation_sep1034_defaults": [
        {
            "user": _form(
                "Please say who you are",
                name={"type": "string", "default": "John Doe"},
                age={"type": "integer", "default": 30},
                score={"type": "number", "default": 95.5},
                status={"type": "string", "enum": _STATES, "default": "active"},
                verified={"type": "boolean", "default": True},
            )
        }
    ],
    "test_elicitation_sep1330_enums": [
        {
            "choices": _form(
                "Please choose",
                untitledSingle={"type": "string", "enum": _OPTIONS},
                titledSingle={"type": "string", "oneOf": _TITLED},
                legacyEnum={
                    "type": "string",
                    "enum": ["opt1", "opt2", "opt3"],
                    "enumNames": ["Option One", "Option Two", "Option Three"],
                },
                untitledMulti={"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
                titledMulti={"type": "array", "items": {"anyOf": _TITLED}},
            )
        }
    ],
    "test_input_required_result_elicitation": [{"user_name": _NAME}],
    "test_input_required_result_sampling": [
        {"capital_question": _sampling("What is the capital of France?")}
    ],
    "test_input_required_result_list_roots": [{"client_roots": _ROOTS}],
    "test_input_required_result_request_state": [{"confirm": _CONFIRM}],
    "test_input_required_result_tampered_state": [{"confirm": _CONFIRM}],
    "test_input_required_result_multiple_inputs": [
        {"user_name": _NAME, "greeting": _sampling("Generate a greeting", 50), "client_roots": _ROOTS}
    ],
    "test_input_required_result_multi_round": [
        {"step1": _form("Step 1: What is your name?", ("name",), name=_TEXT)},
        {"step2": _form("Step 2: What is your favorite color?", ("color",), color=_TEXT)},
    ],
    "test_input_required_result_capabilities": [
        {"name": _NAME, "capital": _sampling("What is the capital of France?"), "roots": _ROOTS}
    ],
    "test_streaming_elicitation": [{"user_name": _NAME}],
    "test_tool_with_task": [{"user_name": _NAME}],
    "confirm_delete": [{"confirm": _form("Delete the file?", ("confirm",), confirm={"type": "boolean"})}],
    "multi_input": [
        {
            "name": _form("What is your name?", ("name",), name=_TEXT),
            "consent": _form("Please confirm", ("confirm",), confirm={"type": "boolean"}),
        }
    ],
    "test_missing_capability": [{"capital": _sampling("What is the capital of France?")}],
    "test_input_required_result_prompt": [
        {"user_context": _form("What context should the prompt use?", ("context",), context=_TEXT)}
    ],
}
QUESTIONS_WITH_ARGUMENTS: Final = ("test_sampling", "test_elicitation")


def with_arguments(name: str, arguments: dict[str, Any]) -> list[dict[str, dict[str, Any]]]:
    """The questions of the two tools that are told what to ask."""
    if name == "test_sampling":
        return [{"answer": _sampling(arguments["prompt"])}]
    described = {"type": "string", "description": "Who answers"}
    form = _form(arguments["message"], ("username", "email"), username=described, email=described)
    return [{"answer": form}]


_SCHEMA: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": _TEXT, "city": _TEXT},
        }
    },
    "properties": {
        "name": _TEXT,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": _TEXT,
        "email": _TEXT,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _tool(name: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "description": "The suite asks for " + name.replace("_", " "),
        "inputSchema": _object() if schema is None else schema,
    }


TOOLS: Final[list[dict[str, Any]]] = [
    *(
        _tool(f"test_{name}")
        for name in (
            "simple_text",
            "image_content",
            "audio_content",
            "embedded_resource",
            "multiple_content_types",
            "tool_with_logging",
            "tool_with_progress",
            "error_handling",
            "logging_tool",
            "reconnection",
            "trigger_tool_change",
            "trigger_prompt_change",
        )
    ),
    *(_tool(name) for name in QUESTIONS if not name.endswith("_prompt")),
    _tool("test_sampling", _object(("prompt",), prompt=_TEXT)),
    _tool("test_elicitation", _object(("message",), message=_TEXT)),
    _tool("test_x_mcp_header", _object(region={"type": "string", "x-mcp-header": "Region"})),
    _tool("json_schema_2020_12_tool", _SCHEMA),
    _tool("greet", _object(name=_TEXT)),
    _tool("slow_compute", _object(seconds={"type": "number"}, label=_TEXT)),
    *(_tool(name) for name in ("failing_job", "protocol_error_job")),
]
#: Those of them that clients with the extension for it get as tasks, and those that others get not at all.
TASKS: Final = (
    "slow_compute",
    "failing_job",
    "protocol_error_job",
    "confirm_delete",
    "multi_input",
    "test_tool_with_task",
)
ONLY_TASKS: Final = ("failing_job",)


def _resource(uri: str, text: str, kind: str) -> dict[str, Any]:
    return {"uri": uri, "name": text, "description": f"A {text} of the suite", "mimeType": kind}


RESOURCES: Final[list[dict[str, Any]]] = [
    _resource("test://static-text", "static text", "text/plain"),
    _resource("test://static-binary", "static picture", "image/png"),
    _resource("test://watched-resource", "watched text", "text/plain"),
]
TEMPLATES: Final[list[dict[str, Any]]] = [
    {
        "uriTemplate": "test://template/{id}/data",
        "name": "data",
        "description": "Data by its id",
        "mimeType": "application/json",
    }
]


def _prompt(name: str, *arguments: str) -> dict[str, Any]:
    wanted = [{"name": item, "description": f"The {item}", "required": True} for item in arguments]
    return {"name": name, "description": "The suite asks for " + name.replace("_", " "), "arguments": wanted}


PROMPTS: Final[list[dict[str, Any]]] = [
    _prompt("test_simple_prompt"),
    _prompt("test_prompt_with_arguments", "arg1", "arg2"),
    _prompt("test_prompt_with_embedded_resource", "resourceUri"),
    _prompt("test_prompt_with_image"),
    _prompt("test_input_required_result_prompt"),
]
