"""What a `[servers.NAME]` entry may say, and the same in the words of other programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from gleitzeit.values import Model

__all__ = ["Auth", "LogLevel", "McpConfig", "PerPrincipal"]

LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

#: What other programs call the wires.
_WIRES: Final = {
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
    "https": "http",
    "sse": "http",
    "http+sse": "http",
}
#: What addresses of gRPC begin with.
_GRPC: Final = ("grpc://", "grpcs://", "unix:")
#: Words for the wire of 2024-11-05 over HTTP.
_SSE: Final = frozenset({"sse", "http+sse"})
#: Keys of other programs that change what runs or how it is confined: ignoring them would be a lie.
_REFUSED: Final = {
    "envFile": "write its variables into `env`, or refer to them with ${NAME}",
    "sandboxEnabled": "name a sandbox plugin with `sandbox`",
}
#: Keys of other programs that mean nothing here and do no harm.
_IGNORED: Final = frozenset({"name", "id", "gallery", "version", "dev", "icon", "alwaysAllow", "autoApprove"})
#: Options of transports that may stand beside the address, as people write them.
_OPTIONS: Final = ("verify_ssl", "ca_file", "proxy")


def _text(value: object) -> object:
    """Numbers as JSON and TOML files have them; a process knows only text."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


_Kind = Literal["chat", "completion", "embedding", "classification"]
_Texts = dict[str, Annotated[str, BeforeValidator(_text)]]


class Auth(BaseModel):
    """How the host proves to a server who it is."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    type: Literal["none", "api_key", "bearer", "oauth"] = Field(
        description="`none`, `api_key` (with `key`), `bearer` (with `token`), or `oauth`."
    )
    key: SecretStr | None = Field(default=None, description="The API key.")
    header: str = Field(default="X-API-Key", description="The header that carries the API key.")
    token: SecretStr | None = Field(default=None, description="The bearer token.")

    @model_validator(mode="after")
    def _whole(self) -> Auth:
        for kind, key in (("api_key", "key"), ("bearer", "token")):
            if self.type == kind and not getattr(self, key):
                raise ValueError(f'`type = "{kind}"` needs `{key}`')
        if self.type != "oauth" and self.model_extra:
            raise ValueError(f'`type = "{self.type}"` knows no {", ".join(map(repr, self.model_extra))}')
        return self

    def headers(self) -> dict[str, str]:
        """The headers that it amounts to."""
        if self.type == "api_key" and self.key is not None:
            return {self.header: self.key.get_secret_value()}
        if self.type == "bearer" and self.token is not None:
            return {"Authorization": f"Bearer {self.token.get_secret_value()}"}
        return {}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Without the settings of OAuth, which may hold a secret."""
        return [("type", self.type)]


class PerPrincipal(BaseModel):
    """What a call shows of its principal, in place of what the entry itself has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    auth: Auth | None = Field(default=None, repr=False, description="How they prove who they are.")
    headers: _Texts = Field(default_factory=dict, repr=False, description="Their HTTP headers.")
    env: _Texts = Field(default_factory=dict, repr=False, description="Variables for their process.")
    lists: str | None = Field(
        default=None,
        min_length=1,
        description="The principal as whom the server's lists are read, where the entry has no such "
        "credentials of its own. Calls without a principal are refused then.",
    )


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
    auth: Auth | None = Field(default=None, repr=False, description="How to prove who we are.")
    per_principal: PerPrincipal | None = Field(
        default=None,
        repr=False,
        description="Credentials that depend on who calls: `{principal}` in a reference to a secret is "
        "the principal of the request. Each principal has sessions of its own then.",
    )
    transport: str | None = Field(
        default=None,
        description="The transport plugin; if not said, `stdio` for a command, else `grpc` or `http`.",
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
    slow_after: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that its last answers may take on average before it counts as degraded.",
    )
    max_concurrency: int | None = Field(
        default=None, ge=1, description="Most calls in flight at once in each instance."
    )

    instances: int = Field(
        default=1, ge=1, le=256, description="Processes or sessions that share the calls, for serial servers."
    )
    affinity: Literal["none", "session", "principal"] = Field(
        default="none",
        description="Who has an instance of its own: nobody, each `session` in the metadata of requests, or "
        "each principal.",
    )
    max_instances: int = Field(
        default=16, ge=1, le=4096, description="Most instances at once that sessions or principals have."
    )
    idle_timeout: float | None = Field(
        default=None,
        gt=0,
        description="Seconds without a call after which an instance sleeps.",
    )
    max_lifetime: float | None = Field(
        default=None, gt=0, description="Seconds after which an instance is replaced by a new one."
    )
    max_calls: int | None = Field(
        default=None, ge=1, description="Calls after which an instance is replaced by a new one."
    )

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
    roots: tuple[str | dict[str, str], ...] = Field(
        default=(), description="Directories, or `{uri, name}`, that it is told to work in."
    )
    tasks: bool = Field(
        default=True,
        description="May it answer calls of tools by tasks, which the host follows to their ends?",
    )
    log_level: LogLevel | None = Field(
        default=None,
        description="The least level of its messages that go to the host's log; None: none.",
    )
    kind: str = Field(default="", description="A word for people: what sort of server it is.")
    priority: int = Field(
        default=0, ge=0, le=255, description="Which server is asked first where several offer the same."
    )
    tags: tuple[str, ...] = Field(default=(), description="Words to find it by in listings.")
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
        options = dict(entry.get("options") or {}) if isinstance(entry.get("options", {}), Mapping) else {}
        if said:
            wire = said[0].lower()
            if wire in _SSE:
                options.setdefault("mode", "sse")
            entry["transport"] = _WIRES.get(wire, wire)
        if "server_type" in entry:
            entry.setdefault("kind", entry.pop("server_type"))
        if isinstance(entry.get("oauth"), Mapping):
            entry.setdefault("auth", {**entry.pop("oauth"), "type": "oauth"})
        options |= {key: entry.pop(key) for key in _OPTIONS if key in entry}
        if options and isinstance(entry.get("options", {}), Mapping):
            entry["options"] = options
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
        if any(isinstance(root, dict) and not root.get("uri") for root in self.roots):
            raise ValueError("a root is a directory, or a table with `uri`")
        if (self.command is None) == (self.url is None) and not self.disabled:
            raise ValueError("say either `command` (a local program) or `url` (a remote server)")
        return self

    @property
    def wire(self) -> str:
        """The name of the transport plugin."""
        if self.transport is not None:
            return self.transport
        if self.command is not None:
            return "stdio"
        return "grpc" if (self.url or "").startswith(_GRPC) else "http"

    @property
    def common(self) -> bool:
        """Has it itself what principals bring, for its lists and for calls without a principal?"""
        theirs = self.per_principal
        if theirs is None:
            return True
        mine = {key.lower() for key in (*self.headers, *({} if self.auth is None else self.auth.headers()))}
        return (
            (theirs.auth is None or self.auth is not None or "authorization" in mine)
            and {key.lower() for key in theirs.headers} <= mine
            and theirs.env.keys() <= self.env.keys()
        )

    def personal(self) -> McpConfig:
        """The entry with what is the principal's own in place of what is everybody's."""
        theirs = self.per_principal
        if theirs is None:
            return self
        auth = theirs.auth or self.auth
        taken = {key.lower() for key in theirs.headers}
        if theirs.auth is not None:
            taken |= {"authorization", *(key.lower() for key in theirs.auth.headers())}
        headers = {key: text for key, text in self.headers.items() if key.lower() not in taken}
        return self.model_copy(
            update={
                "auth": auth,
                "headers": {**headers, **theirs.headers},
                "env": {**self.env, **theirs.env},
                "per_principal": None,
            }
        )

    def rooted(self) -> list[dict[str, str]]:
        """The roots as the protocol has them."""
        found = []
        for root in self.roots:
            given = {"uri": root} if isinstance(root, str) else dict(root)
            if "://" not in given["uri"]:
                given["uri"] = Path(given["uri"]).expanduser().absolute().as_uri()
            found.append(given)
        return found

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
