"""The rules of the provider contract in order, and how they are run without any test framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, Final, Generic, TypeVar

from attrs import frozen

from gleitzeit.testing import answers, endings, framing, secrecy
from gleitzeit.testing.case import Bench, CaseError, ContractBroken, ProviderCase, on_bench
from gleitzeit.testing.network import forbid_network

__all__ = ["RULES", "Fault", "Report", "Rule", "check", "verify"]


B = TypeVar("B")


@frozen
class Rule(Generic[B]):
    """A rule of a contract, and the field of the case that it cannot do without."""

    run: Callable[[B], Awaitable[None]]
    needs: str | None = None

    @property
    def name(self) -> str:
        """Its name, as in reports and names of tests."""
        return self.run.__name__

    def missing(self, case: Any) -> str | None:
        """Why the rule cannot be checked with `case`; None if it can."""
        if self.name in case.without:
            return str(case.without[self.name])
        if self.needs is None or getattr(case, self.needs):
            return None
        return f"the case has no `{self.needs}`"


RULES: Final = (
    Rule(answers.hooks_fit_the_contract),
    Rule(answers.models_are_listed),
    Rule(answers.health_is_told),
    Rule(answers.whole_answer_is_complete),
    Rule(answers.stream_gives_the_whole_answer, "streams"),
    Rule(answers.stream_ends_once, "streams"),
    Rule(answers.usage_is_told_once, "streams"),
    Rule(answers.concurrent_calls_do_not_mix),
    Rule(endings.unknown_operation_is_refused_unsent),
    Rule(endings.unknown_model_is_refused),
    Rule(endings.errors_are_typed, "failing"),
    Rule(endings.retry_after_is_told, "retry_after"),
    Rule(endings.cut_stream_is_an_error, "truncated"),
    Rule(endings.error_in_a_stream_is_raised, "breaking"),
    Rule(endings.cancelled_whole_answer, "silent"),
    Rule(endings.cancelled_before_first_token, "silent"),
    Rule(endings.cancelled_in_mid_stream, "halting"),
    Rule(endings.closing_early_is_idempotent, "streams"),
    Rule(endings.nothing_is_left_behind),
    Rule(framing.connections_are_given_back, "connections"),
    Rule(framing.ragged_answer_is_the_same, "ragged"),
    Rule(framing.unknown_fields_survive, "strange"),
    Rule(secrecy.secrets_stay_secret, "secret"),
)


@frozen
class Fault:
    """A rule that a provider breaks, and how."""

    rule: str
    what: str


@frozen
class Report:
    """What a verification found; `skipped` says of rules why they were not checked."""

    faults: tuple[Fault, ...]
    passed: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


async def check(rule: Rule[Bench], case: ProviderCase) -> None:
    """Run one rule on a fresh provider; raises `ContractBroken` naming rule, fault and next step.

    Without `case.online` nothing beyond this machine can be reached meanwhile.
    """
    deadline = asyncio.timeout(case.patience * 10)
    try:
        with nullcontext() if case.online else forbid_network():
            async with deadline, on_bench(case) as bench:
                await rule.run(bench)
    except ContractBroken as error:
        raise ContractBroken(f"{rule.name}: {error}") from error.__cause__
    except CaseError as error:
        raise CaseError(f"{rule.name}: {error}") from error.__cause__
    except Exception as error:
        what = (
            f"hangs for {case.patience * 10} s"
            if deadline.expired()
            else f"raised {type(error).__name__}: {error}"
        )
        raise ContractBroken(f"{rule.name}: {what}") from error


async def verify(case: ProviderCase) -> Report:
    """Run all rules and tell what was found; raises `CaseError` where the case itself does not hold."""
    faults: list[Fault] = []
    passed: list[str] = []
    skipped: list[tuple[str, str]] = []
    for rule in RULES:
        reason = rule.missing(case)
        if reason is not None:
            skipped.append((rule.name, reason))
            continue
        try:
            await check(rule, case)
        except ContractBroken as error:
            faults.append(Fault(rule.name, str(error).removeprefix(f"{rule.name}: ")))
        else:
            passed.append(rule.name)
    return Report(tuple(faults), tuple(passed), tuple(skipped))
