"""The shape of a script and of the plugin's configuration."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from gleitzeit import errors
from gleitzeit.values import FinishReason
from gleitzeit_plugin_scripted.template import CONVERSIONS, WORDS, placeholders

__all__ = [
    "ERRORS",
    "Call",
    "Failure",
    "Fault",
    "ModelScript",
    "Piece",
    "Rule",
    "Script",
    "ScriptedConfig",
    "Tokens",
]

#: Every error class of Gleitzeit by its code.
ERRORS: Final[dict[str, type[errors.GleitzeitError]]] = {
    cls.code: cls
    for name in errors.__all__
    if issubclass(cls := getattr(errors, name), errors.GleitzeitError)
}

Milliseconds: TypeAlias = Annotated[float, Field(ge=0)]
FaultKind: TypeAlias = Literal["hang", "stall", "raise", "truncate", "die"]
Kind: TypeAlias = Literal["chat", "completion", "embedding", "classification"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Piece(_Table):
    """One piece of a stream: text or thinking, after a delay in milliseconds."""

    text: str | None = None
    thinking: str | None = None
    delay_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _one(self) -> Piece:
        if (self.text is None) == (self.thinking is None):
            raise ValueError("a piece has either `text` or `thinking`")
        return self


class Call(_Table):
    """A tool call. `name` is the outside name (`git/git_log`) or its last part, if that is unique."""

    name: str = Field(min_length=1)
    arguments: dict[str, Any] = {}
    #: The arguments' JSON text as it stands, also where it is broken; instead of `arguments`.
    raw: str | None = None
    #: Call the tool even where the request does not offer it, as a model may invent one.
    invented: bool = False

    @model_validator(mode="after")
    def _one(self) -> Call:
        if self.raw is not None and self.arguments:
            raise ValueError("give either `arguments` or `raw`")
        return self


class Tokens(_Table):
    """Usage to report; what is left out is not reported."""

    input: int | None = Field(default=None, ge=0)
    output: int | None = Field(default=None, ge=0)
    cache_read: int | None = Field(default=None, ge=0)
    cache_write: int | None = Field(default=None, ge=0)
    reasoning: int | None = Field(default=None, ge=0)


class Failure(_Table):
    """An error to raise: by the call itself, or after so many pieces of the stream."""

    code: str
    message: str = "the script says so"
    hint: str | None = None
    status: int | None = None
    vendor_code: str | None = None
    retry_after: float | None = Field(default=None, ge=0)
    retryable: bool | None = None
    sent: bool | None = None
    after: int | None = Field(default=None, ge=0)

    @field_validator("code")
    @classmethod
    def _known(cls, code: str) -> str:
        if code not in ERRORS:
            raise ValueError(f"no error has this code; there are {', '.join(sorted(ERRORS))}")
        return code


class Fault(_Table):
    """A fault to commit.

    "hang": the call never returns. "stall": the stream falls silent after so many pieces. "raise": a
    bare exception that is no `GleitzeitError`, after so many pieces or, by default, by the call itself.
    "truncate": the stream ends after so many pieces without its terminal event. "die": it ends
    before its first event.
    """

    kind: FaultKind
    after: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Fault:
        if self.after is not None and self.kind in ("hang", "die"):
            raise ValueError(f"`{self.kind}` happens before the first piece and takes no `after`")
        return self


def _range(value: int | str) -> int | str:
    low, high = bounds(value)
    if low < 1 or (high is not None and high < low):
        raise ValueError('count calls from 1: 2, "2-4" or "3-"')
    return value


def bounds(value: int | str) -> tuple[int, int | None]:
    """The first and last call that an `on_call` means; None for no last."""
    if isinstance(value, int):
        return value, value
    found = re.fullmatch(r"(\d+)(-(\d*))?", value.strip())
    if found is None:
        raise ValueError('write a number or a range: 2, "2-4" or "3-"')
    low = int(found[1])
    return low, low if found[2] is None else int(found[3]) if found[3] else None


class Rule(_Table):
    """When to answer, and what. All conditions given must hold; none given: always."""

    exact: str | None = None
    contains: str | None = None
    regex: str | None = None
    after_tool: bool | str | None = None
    on_call: Annotated[int | str, AfterValidator(_range)] | None = None
    operation: Kind | None = None

    text: str | None = None
    pieces: tuple[str | Piece, ...] = ()
    thinking: str | None = None
    calls: tuple[Call, ...] = ()
    labels: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    vector: tuple[float, ...] = ()
    usage: Tokens | Literal["words"] | None = None
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    delay_ms: Milliseconds = 0
    error: Failure | None = None
    fault: Fault | None = None

    @field_validator("error", "fault", mode="before")
    @classmethod
    def _short(cls, value: Any, info: Any) -> Any:
        return {"code" if info.field_name == "error" else "kind": value} if isinstance(value, str) else value

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str | None) -> str | None:
        try:
            re.compile(regex or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return regex

    @model_validator(mode="after")
    def _whole(self) -> Rule:
        if self.text is not None and self.pieces:
            raise ValueError("give either `text` or `pieces`")
        if self.error is not None and self.fault is not None:
            raise ValueError("give either `error` or `fault`")
        if not (self.speaks or self.labels or self.vector or self.error or self.fault):
            raise ValueError(
                "the rule answers nothing; give it `text`, `calls`, `labels`, `vector`, `error` or `fault`"
            )
        if self.error is not None and self.error.after is None and self.speaks:
            raise ValueError(
                "the error comes before any content; give `error.after`, or leave the content out"
            )
        self._check_placeholders()
        return self

    def _check_placeholders(self) -> None:
        pattern = re.compile(self.regex or "")
        known = WORDS | pattern.groupindex.keys() | {str(n) for n in range(pattern.groups + 1) if self.regex}
        texts = [piece if isinstance(piece, str) else piece.text or piece.thinking for piece in self.pieces]
        calls = [[call.name, call.arguments, call.raw or ""] for call in self.calls]
        for name, how in placeholders([self.text or "", self.thinking or "", texts, calls]):
            if name not in known:
                raise ValueError(
                    f"nothing is called {{{name}}}; there are {', '.join(sorted(known))}; "
                    f"write {{{{{name}}}}} for braces in the text"
                )
            if how is not None and how not in CONVERSIONS:
                raise ValueError(f"{{{name}:{how}}}: the conversions are {', '.join(sorted(CONVERSIONS))}")

    @property
    def speaks(self) -> bool:
        """Does the rule answer a chat or completion with content?"""
        return self.text is not None or bool(self.pieces or self.thinking or self.calls)

    def answers(self, operation: str) -> bool:
        """May this rule answer an operation of this kind?"""
        if self.operation is not None and self.operation != operation:
            return False
        if self.error is not None or self.fault is not None:
            return True
        if operation == "embedding":
            return bool(self.vector)
        if operation == "classification":
            return bool(self.labels)
        return self.speaks and not (self.calls and operation != "chat")


class ModelScript(_Table):
    """A scripted model: what it says of itself, and its rules, of which the first that fits answers."""

    description: str = ""
    operations: tuple[Kind, ...] = ("chat", "completion")
    capabilities: tuple[str, ...] = ()
    context_tokens: int | None = Field(default=None, gt=0)
    #: Length of the vectors of an embedding that no rule answers.
    dimensions: int = Field(default=8, gt=0, le=65_536)
    #: "words" counts words, as there are no tokens here; None reports nothing.
    usage: Tokens | Literal["words"] | None = None
    rules: tuple[Rule, ...] = ()


ModelName: TypeAlias = Annotated[str, Field(min_length=1)]


class Script(_Table):
    """A script file."""

    models: dict[ModelName, ModelScript] = Field(min_length=1)


class ScriptedConfig(_Table):
    """Configuration: a script file, or answers in place, or neither for the built-in script."""

    script: str | None = Field(default=None, description="path of a script file, .toml or .json")
    answers: dict[ModelName, ModelScript] | None = Field(
        default=None,
        min_length=1,
        description="the script in place: models by name, as under `models` in a script file",
    )
    remember: int = Field(
        default=32, ge=0, description="how many of the latest requests `seen.requests` keeps"
    )

    @model_validator(mode="after")
    def _one(self) -> ScriptedConfig:
        if self.script is not None and self.answers is not None:
            raise ValueError("give either `script` or `answers`")
        return self
