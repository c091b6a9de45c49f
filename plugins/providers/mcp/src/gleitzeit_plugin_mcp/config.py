"""What a `[servers.NAME]` entry may say, and the same in the words of other programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gleitzeit.values import Model

__all__ = ["McpConfig"]

#: What other programs call the wires.
_WIRES: Final = {
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
    "https": "http",
}
#: Keys of other programs that change what runs or how it is confined: ignoring them would be a lie.
_REFUSED: Final = {
    "envFile": "write its variables into `env`, or refer to them with ${NAME}",
    "sandboxEnabled": "name a sandbox plugin with `sandbox`",
    "oauth": "not supported yet; put a token into `headers`",
    "auth": "not supported yet; put a token into `headers`",
}
#: Keys of other programs that mean nothing here and do no harm.
_IGNORED: Final = frozenset(
    {"name", "id", "gallery", "version", "dev", "icon", "tags", "alwaysAllow", "autoApprove"}
)


def _text(value: object) -> object:
    """Numbers as JSON and TOML files have them; a process knows only text."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


_Kind = Literal["chat", "completion", "embedding", "classification"]
_Texts = dict[str, Annotated[str, BeforeValidator(_text)]]


class McpConfig(BaseModel):
    """The configuration of one MCP server: either `command` or `url`."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={"anyOf": [{"required": ["command"]}, {"required": ["url"]}]},
    )

    command: str | None = Field(
        default=None, description="The program that serves over its standard streams."
    )
    args: tuple[Annotated[str, BeforeValidator(_text)], ...] = Field(
        default=(), repr=False, description="Its arguments."
    )
    env: _Texts = Field(
        default_factory=dict,
        repr=False,
        description="Variables for it, beside a minimal safe base such as PATH, HOME and LANG; "
        "nothing else of the host's environment reaches it.",
    )
    cwd: str | None = Field(default=None, description="Its working directory; by default the host's.")
    url: str | None = Field(default=None, repr=False, description="The address of a remote server.")
    headers: _Texts = Field(default_factory=dict, repr=False, description="HTTP headers for a remote server.")
    transport: str | None = Field(
        default=None,
        description="The transport plugin: `stdio` for a command, `http` for a url, if not said.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="Options of the transport, such as `max_message_bytes`."
    )
    sandbox: str = Field(default="none", description="The sandbox plugin that launches it, or `none`.")
    disabled: bool = Field(default=False, description="True: neither started nor listed.")
    description: str = Field(default="", description="What it is for.")
    capabilities: tuple[str, ...] = Field(
        default=(), description="Capabilities of the models that it serves."
    )

    mode: Literal["auto", "modern", "legacy"] = Field(
        default="auto",
        description="The era of the protocol: 2026-07-28, the handshake before it, or find out.",
    )
    timeout: float = Field(default=30.0, gt=0, le=900, description="Seconds that it may take to start.")
    probe_timeout: float = Field(
        default=5.0,
        gt=0,
        description="Seconds to wait for an answer to the modern greeting at first contact.",
    )
    hang_timeout: float = Field(
        default=30.0,
        gt=0,
        description="Seconds to answer a ping once a call found it silent; after that it is replaced.",
    )
    call_timeout: float | None = Field(
        default=None, gt=0, description="Seconds for a call that brings no deadline of its own."
    )
    max_concurrency: int | None = Field(default=None, ge=1, description="Most calls in flight at once.")

    models: tuple[str | dict[str, Any], ...] = Field(default=(), description="The models that it serves.")
    operations: dict[_Kind, str | tuple[str, ...]] = Field(
        default_factory=dict,
        description="The tool that answers each operation on a model, or several to choose the first of.",
    )
    deltas: bool = Field(
        default=True,
        description="Are the messages of progress notifications of such a tool pieces of the text?",
    )
    sampling_model: str | None = Field(
        default=None, description="The model that answers its sampling requests, if it may ask."
    )
    local: bool = Field(
        default=False,
        description="Does every byte of a call stay on this machine? A process may talk to anybody.",
    )

    @model_validator(mode="before")
    @classmethod
    def _foreign(cls, data: Any) -> Any:
        """The entry in our words, whoever wrote it."""
        if not isinstance(data, Mapping):
            return data
        entry = dict(data)
        nested = entry.get("transport")
        if isinstance(nested, Mapping):
            entry = {**nested, **{key: value for key, value in entry.items() if key != "transport"}}
        if isinstance(entry.get("command"), (list, tuple)):
            command, *rest = entry["command"] or [None]
            entry["command"], entry["args"] = command, [*rest, *entry.get("args", ())]
        said = [
            entry.pop(key)
            for key in ("transport", "transportType", "type")
            if isinstance(entry.get(key), str)
        ]
        if said:
            entry["transport"] = _WIRES.get(said[0].lower(), said[0].lower())
        for key, hint in _REFUSED.items():
            if entry.pop(key, None):
                raise ValueError(f"`{key}` is not understood here: {hint}")
        if isinstance(entry.get("sandbox"), Mapping):
            raise ValueError('`sandbox` is a table of another program: name a sandbox plugin, or say "none"')
        if any("${input:" in text for text in _strings(entry)):
            raise ValueError("`${input:…}` asks a person of another program: use ${NAME} or secret://…")
        return entry

    @model_validator(mode="after")
    def _one_way(self) -> McpConfig:
        if (self.command is None) == (self.url is None) and not self.disabled:
            raise ValueError("say either `command` (a local program) or `url` (a remote server)")
        return self

    @property
    def wire(self) -> str:
        """The name of the transport plugin."""
        return self.transport or ("http" if self.command is None else "stdio")

    @property
    def unknown(self) -> tuple[str, ...]:
        """Keys that nobody understood, sorted."""
        return tuple(sorted(set(self.model_extra or {}) - _IGNORED))

    def offered(self) -> tuple[Model, ...]:
        """The models that the entry lists."""
        capabilities = frozenset(self.capabilities)
        found = []
        for item in self.models:
            fields: dict[str, Any] = {"name": item} if isinstance(item, str) else dict(item)
            name = fields.pop("name")
            fields["capabilities"] = capabilities | frozenset(fields.get("capabilities", ()))
            fields.setdefault("description", self.description)
            found.append(Model(name, **fields))
        return tuple(found)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Without keys of others, which may hold anything."""
        extra = self.model_extra or {}
        return [(key, value) for key, value in super().__repr_args__() if key not in extra]


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
