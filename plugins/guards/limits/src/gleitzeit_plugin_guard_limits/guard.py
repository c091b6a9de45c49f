"""The guard: votes on every call by the rules of its configuration."""

from __future__ import annotations

from typing import ClassVar, Final

from gleitzeit.kinds import Context
from gleitzeit.plugin import Plugin
from gleitzeit.values import (
    Chat,
    Classification,
    Completion,
    Embedding,
    Invoke,
    ReadResource,
    Request,
    Target,
    ToolCall,
    Verdict,
)
from gleitzeit_plugin_guard_limits.arguments import Schemas
from gleitzeit_plugin_guard_limits.config import LimitsConfig
from gleitzeit_plugin_guard_limits.names import ANONYMOUS, Section, sections_for
from gleitzeit_plugin_guard_limits.size import size_of

__all__ = ["Limits"]

_ALLOW: Final = Verdict.allow()
_INFERENCE: Final = frozenset({Chat.kind, Completion.kind, Embedding.kind, Classification.kind})
_DATA_CLASSES: Final = frozenset({"public", "internal", "private"})
#: Principals and names come from outside; what is remembered of them stays bounded.
_MEMORY: Final = 4096


class Limits(Plugin):
    """Allows and denies calls by principal, name, size, arguments and data class; in doubt it denies.

    Reasons name the rule and its key in the configuration, never content or values of arguments.
    """

    Config: ClassVar = LimitsConfig

    def __init__(self, config: LimitsConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._key = f"plugins.{context.name}"
        self._everybody = Section(self._key, config)
        self._by_principal: dict[str | None, tuple[Section, ...] | None] = {}
        self._by_name: dict[tuple[str | None, str, str, str], str | None] = {}
        self._schemas = Schemas()
        self._sized = self._any_size()

    def security_check(self, request: Request, target: Target | None) -> Verdict:
        """Vote: without a target on the request alone, then on each target with its name and arguments."""
        try:
            reason = self._refusal(request, target)
        # A check that cannot be made is a check not passed. The error's text may quote content.
        except Exception as error:  # noqa: BLE001
            reason = f"the request cannot be checked ({type(error).__name__})"
        return _ALLOW if reason is None else Verdict.deny(reason)

    def _refusal(self, request: Request, target: Target | None) -> str | None:
        principal = request.principal
        try:
            sections = self._by_principal[principal]
        except KeyError:
            sections = self._remember_principal(principal)
        if sections is None:
            return f"no rule of {self._key}.principals covers {_who(principal)!r}, and there is no default"
        if self._sized:
            reason = self._size(request, sections)
            if reason is not None:
                return reason
        if request.data_class not in _DATA_CLASSES:
            return f"an unknown data class (not one of {', '.join(sorted(_DATA_CLASSES))})"
        if target is None:
            return None
        if request.data_class == "private" and self._config.private_local and target.local is not True:
            return f"private data stays on local targets, and {target} is none ({self._key}.private_local)"
        operation = request.operation
        if isinstance(operation, Invoke):
            return self._method(operation, principal, target, sections)
        inference = operation.kind in _INFERENCE
        if inference or target.model is not None:
            reason = self._name(principal, target.instance, target.name, "models", sections)
            if reason is not None:
                return reason
        if not inference or target.tool is not None:
            own = operation.uri if isinstance(operation, ReadResource) else target.name
            reason = self._name(principal, target.instance, own, "tools", sections)
            if reason is not None:
                return reason
        return self._arguments(operation, target) if isinstance(operation, ToolCall) else None

    def _method(
        self, operation: Invoke, principal: str | None, target: Target, sections: tuple[Section, ...]
    ) -> str | None:
        """A method reaches whatever it names, so it must pass as a tool."""
        reason = self._name(principal, target.instance, operation.method, "tools", sections)
        if reason is not None or self._config.arguments != "strict":
            return reason
        return (
            f"the arguments of a method of {target.instance} cannot be checked, as methods have no schema "
            f'({self._key}.arguments = "strict"; call it as a tool, or set "known")'
        )

    def _name(
        self, principal: str | None, instance: str, name: str, kind: str, sections: tuple[Section, ...]
    ) -> str | None:
        key = (principal, instance, name, kind)
        try:
            return self._by_name[key]
        except KeyError:
            pass
        reason = None
        for section in (self._everybody, *sections):
            refusal = section.refusal(kind, instance, name)
            if refusal is not None:
                # Names are shown, but not what may be an address: that may say more than a refusal should.
                shown = instance if "://" in name else f"{instance}/{name}"
                reason = f"{_who(principal)!r} may not use {kind[:-1]} {shown}: {refusal}"
                break
        if len(self._by_name) >= _MEMORY:
            self._by_name.clear()
        self._by_name[key] = reason
        return reason

    def _arguments(self, operation: ToolCall, target: Target) -> str | None:
        mode = self._config.arguments
        if mode == "off":
            return None
        if target.tool is None:
            if mode == "known":
                return None
            return f'the schema of tool {target} is not known ({self._key}.arguments = "strict")'
        fault = self._schemas.fault(target.tool.input_schema, operation.arguments)
        return None if fault is None else f"{target}: {fault} ({self._key}.arguments)"

    def _size(self, request: Request, sections: tuple[Section, ...]) -> str | None:
        operation = request.operation
        size: int | None = None
        for section in (self._everybody, *sections):
            rules = section.rules
            if isinstance(operation, Chat):
                messages, tools = len(operation.messages), len(operation.tools)
                if rules.max_messages is not None and messages > rules.max_messages:
                    return f"{messages} messages; {section.key}.max_messages = {rules.max_messages}"
                if rules.max_tools is not None and tools > rules.max_tools:
                    return f"{tools} tools; {section.key}.max_tools = {rules.max_tools}"
            if rules.max_bytes is not None:
                size = size_of(operation) if size is None else size
                if size > rules.max_bytes:
                    return f"{size} bytes of content; {section.key}.max_bytes = {rules.max_bytes}"
        return None

    def _any_size(self) -> bool:
        rules = (self._config, *self._config.principals.values())
        return any(
            limit is not None
            for rule in rules
            for limit in (rule.max_bytes, rule.max_messages, rule.max_tools)
        )

    def _remember_principal(self, principal: str | None) -> tuple[Section, ...] | None:
        sections = sections_for(self._config.principals, f"{self._key}.principals", _who(principal))
        if len(self._by_principal) >= _MEMORY:
            self._by_principal.clear()
        self._by_principal[principal] = sections
        return sections


def _who(principal: str | None) -> str:
    return principal or ANONYMOUS
