"""What a provider wants to know of a person, and what the person answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

__all__ = ["Elicitation", "Elicited"]


@frozen(kw_only=True)
class Elicitation:
    """A question to a person: a form by its JSON Schema, or an address to visit.

    Its words come from whoever runs the provider: show whose question it is (`instance`), never open
    `url` without consent, and never ask for passwords in a form.
    """

    message: str = field(kw_only=False)
    #: The instance that asks.
    instance: str
    #: The form's schema: an object with flat properties. None for an address.
    schema: Mapping[str, Any] | None = None
    url: str | None = None
    #: What the provider calls the question, where it says so.
    id: str | None = None


@frozen(kw_only=True)
class Elicited:
    """The answer: "accept" (with the form's values), "decline", or "cancel" where nobody decided."""

    action: Literal["accept", "decline", "cancel"] = field(kw_only=False)
    content: Mapping[str, Any] | None = None

    @classmethod
    def accept(cls, content: Mapping[str, Any] | None = None) -> Elicited:
        """The form's values (its defaults hold for the rest), or consent to visit the address."""
        return cls("accept", content=content)

    @classmethod
    def decline(cls) -> Elicited:
        """The person says no."""
        return cls("decline")

    @classmethod
    def cancel(cls) -> Elicited:
        """The person made no choice."""
        return cls("cancel")
