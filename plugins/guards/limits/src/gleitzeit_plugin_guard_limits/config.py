"""The configuration of the guard."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["LimitsConfig", "Pattern", "Rules"]


def _can_match(pattern: str) -> str:
    if "/" not in pattern and not any(char in pattern for char in "*?["):
        raise ValueError(
            f'{pattern!r} never matches, as names are "instance/name"; write "*/{pattern}" or "{pattern}/*"'
        )
    return pattern


#: A glob over `instance/name`; `*` also stands for slashes.
Pattern: TypeAlias = Annotated[str, AfterValidator(_can_match)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Rules(_Table):
    """What one principal, or everybody, may do. A denial wins; an allow list denies all else."""

    # `models` would be the natural name of a table here, but the host keeps that key for itself.
    allow_models: tuple[Pattern, ...] | None = Field(
        default=None, description="globs over instance/model; without it all, [] allows nothing"
    )
    deny_models: tuple[Pattern, ...] = Field(
        default=(), description="globs over instance/model; upper and lower case are the same"
    )
    allow_tools: tuple[Pattern, ...] | None = Field(
        default=None, description="globs over instance/tool; holds for everything that is no model"
    )
    deny_tools: tuple[Pattern, ...] = Field(
        default=(), description="globs over instance/tool; upper and lower case are the same"
    )
    max_bytes: int | None = Field(default=None, ge=0, description="bytes of content in one request")
    max_messages: int | None = Field(default=None, ge=0, description="messages in one chat")
    max_tools: int | None = Field(default=None, ge=0, description="tools offered in one chat")


class LimitsConfig(Rules):
    """Rules for everybody, and further rules by principal; both must permit a call."""

    principals: dict[str, Rules] = Field(
        default={},
        description="rules by exact name, by glob, or `default`; a request without principal is `anonymous`",
    )
    arguments: Literal["strict", "known", "off"] = Field(
        default="strict",
        description="strict: tool arguments must satisfy the tool's schema, and a call without a known schema"
        " is denied; known: such a call is let through; off: arguments are not checked",
    )
    private_local: bool = Field(
        default=True, description="requests of data class private stay on local targets"
    )
