"""What the scripted server says, and how badly it behaves on the way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs import field, frozen

from gleitzeit.testing import faulty

__all__ = ["BUILTIN", "Answer", "Rule", "Script"]

_MARKS: Final = re.compile(r"\{(user|result|tool|model)\}")


@frozen(kw_only=True)
class Answer(faulty.Answer):
    """One answer. `text` and `thinking` may hold {user}, {result}, {tool} and {model}.

    `calls` are tool calls (`{"name": …, "arguments": …}`), or "auto": the first offered tool that
    the user's text names, else the first, with sample arguments of its schema. `usage` None leaves
    usage out. `body` replaces the whole body, `frames` the data of the stream's events.
    """

    text: str = field(default="", kw_only=False)
    thinking: str = ""
    calls: tuple[Mapping[str, Any], ...] | Literal["auto"] = ()
    finish_reason: str | None = None
    usage: Mapping[str, Any] | Literal["count"] | None = "count"
    model: str | None = None
    #: Does a stream end with `[DONE]`?
    done: bool = True

    @classmethod
    def error(
        cls,
        status: int,
        message: str,
        *,
        code: str | None = None,
        type: str = "invalid_request_error",
        **more: Any,
    ) -> Answer:
        """An error in OpenAI's shape."""
        error = {"message": message, "type": type, "param": None, "code": code}
        return cls(status=status, body={"error": error}, **more)

    def filled(self, **marks: str) -> Answer:
        """This answer with the marks of its texts replaced."""
        text, thinking = (
            _MARKS.sub(lambda match: marks.get(match[1], ""), text) for text in (self.text, self.thinking)
        )
        return attrs.evolve(self, text=text, thinking=thinking)


@frozen(kw_only=True)
class Rule:
    """An answer for the requests that fit: `when` is searched in the last user text, `turn` spoke last."""

    answer: Answer = field(kw_only=False)
    when: str = ""
    turn: Literal["user", "tool", "any"] = "any"

    def fits(self, turn: str, user: str) -> bool:
        """Does the rule fit?"""
        return self.turn in ("any", turn) and re.search(self.when, user) is not None


@frozen(kw_only=True)
class Script:
    """Rules by model, the first that fits answers. A model without rules gives embeddings only."""

    models: Mapping[str, tuple[Rule, ...]] = field(kw_only=False)
    #: What a model is not known by name gets; None: the model is not found.
    default: tuple[Rule, ...] | None = None
    dimensions: int = 8

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Script:
        """A script from JSON: `{"models": {"NAME": [{"when": …, "turn": …, "text": …, …}]}}`."""

        def rules(items: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
            return tuple(map(_rule, items))

        default = data.get("default")
        return cls(
            {name: rules(items) for name, items in data["models"].items()},
            default=None if default is None else rules(default),
            dimensions=data.get("dimensions", 8),
        )

    @classmethod
    def read(cls, path: str) -> Script:
        """The script in a JSON file; "builtin" is the one that comes with the server."""
        if path == "builtin":
            return BUILTIN
        return cls.parse(json.loads(Path(path).read_text(encoding="utf-8")))

    def answer(self, model: str, turn: str, user: str) -> Answer | None:
        """The answer of `model`; None where no rule fits."""
        rules = self.models.get(model, self.default or ())
        return next((rule.answer for rule in rules if rule.fits(turn, user)), None)

    def knows(self, model: str) -> bool:
        """Is there such a model?"""
        return model in self.models or self.default is not None


def _rule(item: Mapping[str, Any]) -> Rule:
    fields = dict(item)
    when, turn = fields.pop("when", ""), fields.pop("turn", "any")
    for name in ("calls", "frames"):
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    return Rule(Answer(**fields), when=when, turn=turn)


BUILTIN: Final = Script(
    {
        "scripted-echo": (Rule(Answer("I am a scripted fake, not a language model. You said: {user}")),),
        "scripted-slow": (Rule(Answer("A scripted fake that takes its time over: {user}", delay=0.05)),),
        "scripted-thinking": (Rule(Answer("Scripted: 42.", thinking="A scripted thought about: {user}")),),
        "scripted-tools": (
            Rule(Answer("Scripted fake: the tool answered {result}"), turn="tool"),
            Rule(Answer(calls="auto"), turn="user"),
        ),
        "scripted-busy": (
            Rule(
                Answer.error(
                    429,
                    "The scripted fake plays a rate limit.",
                    code="rate_limit_exceeded",
                    type="requests",
                    headers={"retry-after-ms": "20"},
                )
            ),
        ),
        "scripted-broken": (
            Rule(Answer.error(500, "The scripted fake plays a server fault.", type="server_error")),
        ),
        "scripted-cut": (Rule(Answer("A scripted fake whose stream is cut", fault="cut", after=4)),),
        "scripted-embedding": (),
    }
)  # fmt: skip
