"""News of what providers offer."""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["Change"]


@frozen(kw_only=True)
class Change:
    """What an instance offers has changed, or one resource of it that is subscribed to."""

    instance: str = field(kw_only=False)
    #: The URI of the resource; None where lists have changed.
    resource: str | None = None
