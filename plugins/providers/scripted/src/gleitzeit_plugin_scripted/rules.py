"""Finds the rule that answers a request."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from attrs import field, frozen

from gleitzeit.values import Chat, Classification, Completion, Embedding, Message, Operation, ToolResultPart
from gleitzeit_plugin_scripted.config import ModelScript, Rule, bounds

__all__ = ["Asked", "Rules", "asked"]


@frozen(kw_only=True)
class Asked:
    """What the conditions and placeholders of a rule look at."""

    operation: str = field(kw_only=False)
    #: One prompt; for embeddings and classifications every input.
    prompts: tuple[str, ...] = ()
    system: str = ""
    #: Names and texts of the tool results that end the conversation.
    results: tuple[tuple[str, str], ...] = ()
    tools_allowed: bool = True


def asked(operation: Operation) -> Asked | None:
    """What `operation` asks; None where a scripted model cannot answer its kind."""
    if isinstance(operation, Chat):
        prompt = next(
            (message.text for message in reversed(operation.messages) if message.role == "user"), ""
        )
        return Asked(
            operation.kind,
            prompts=(prompt,),
            system="\n".join(message.text for message in operation.messages if message.role == "system"),
            results=_results(operation.messages),
            tools_allowed=operation.tool_choice != "none",
        )
    if isinstance(operation, Completion):
        return Asked(operation.kind, prompts=(operation.prompt,))
    if isinstance(operation, (Embedding, Classification)):
        return Asked(operation.kind, prompts=operation.inputs)
    return None


def _results(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    found: list[tuple[str, str]] = []
    for message in reversed(messages):
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        if not results:
            break
        found[:0] = [(part.name or names.get(part.id, ""), part.text) for part in results]
    return tuple(found)


class Rules:
    """The rules of one model; remembers how often each has fitted, for `on_call`."""

    def __init__(self, model: ModelScript) -> None:
        self._rules = [
            (rule, _matcher(rule), bounds(rule.on_call) if rule.on_call else None) for rule in model.rules
        ]
        self._fits: Counter[int] = Counter()

    def choose(self, asked: Asked) -> list[tuple[Rule, Mapping[str, str]] | None]:
        """For each prompt the first rule that fits, with the groups of its expression, or None.

        Every rule with `on_call` counts this request if its other conditions hold, whichever rule answers.
        """
        chosen: list[tuple[Rule, Mapping[str, str]] | None] = [None] * len(asked.prompts)
        for index, (rule, matches, calls) in enumerate(self._rules):
            if not rule.answers(asked.operation) or not _situation(rule, asked):
                continue
            if calls is None and None not in chosen:
                continue
            found = [matches(prompt) for prompt in asked.prompts]
            if calls is not None and any(groups is not None for groups in found):
                self._fits[index] += 1
                if self._fits[index] < calls[0] or (calls[1] is not None and self._fits[index] > calls[1]):
                    continue
            for place, groups in enumerate(found):
                if groups is not None and chosen[place] is None:
                    chosen[place] = (rule, groups)
        return chosen


def _situation(rule: Rule, asked: Asked) -> bool:
    wanted = rule.after_tool
    if rule.calls and not asked.tools_allowed:
        return False
    if wanted is None:
        # Without this a rule that calls a tool would answer the tool's result with the same call, for ever.
        return not (rule.calls and asked.results)
    if isinstance(wanted, bool):
        return wanted == bool(asked.results)
    return any(fnmatch.fnmatchcase(name, wanted) or name.endswith("/" + wanted) for name, _ in asked.results)


def _matcher(rule: Rule) -> Callable[[str], Mapping[str, str] | None]:
    pattern = re.compile(rule.regex) if rule.regex is not None else None

    def matches(prompt: str) -> Mapping[str, str] | None:
        if rule.exact is not None and prompt.strip() != rule.exact.strip():
            return None
        if rule.contains is not None and rule.contains not in prompt:
            return None
        if pattern is None:
            return {}
        found = pattern.search(prompt)
        if found is None:
            return None
        groups = {str(n): found[n] or "" for n in range(pattern.groups + 1)}
        return groups | {name: text or "" for name, text in found.groupdict().items()}

    return matches
