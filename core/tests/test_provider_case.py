"""How the contract suite is used: what a case may leave out, what a report says, how pytest shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, SecretStr

from gleitzeit.errors import UnknownModelError, UnsupportedError
from gleitzeit.kinds import Context
from gleitzeit.plugin import Provider
from gleitzeit.testing import CaseError, ProviderCase, verify
from gleitzeit.testing.suite import RULES
from gleitzeit.values import Chat, Model, Reply, Request, Stream


class ParrotConfig(BaseModel):
    key: SecretStr = SecretStr("none")


class Parrot(Provider):
    Config: ClassVar = ParrotConfig

    def provide_models(self) -> Any:
        return [Model("parrot")]

    async def call(self, request: Request) -> Reply | Stream:
        if not isinstance(request.operation, Chat):
            raise UnsupportedError("a parrot only talks", provider=self.context.name, sent=False)
        if request.name != "parrot":
            raise UnknownModelError("there is one parrot", provider=self.context.name)
        reply = Reply(request.operation.messages[-1].text, finish_reason="stop")
        return Stream.of(reply) if request.stream else reply


class Twins(Parrot):
    def provide_models(self) -> Any:
        return [Model("parrot"), Model("parrot")]


class Whole(Parrot):
    async def call(self, request: Request) -> Reply | Stream:
        return await super().call(request.evolve(stream=False))


class Counting(Parrot):
    calls = 0

    async def call(self, request: Request) -> Reply | Stream:
        Counting.calls += 1
        answer = await super().call(request)
        if isinstance(answer, Reply):
            return Reply(f"call {Counting.calls}", finish_reason="stop")
        return Stream.of(Reply(f"call {Counting.calls}", finish_reason="stop"))


class Egg(Parrot):
    def __init__(self, config: ParrotConfig, context: Context) -> None:
        raise OSError("not hatched")


def case_of(plugin: type[Parrot], **values: Any) -> ProviderCase:
    return ProviderCase(plugin, **{"request": Chat("hi").to("parrot"), "text": "hi", **values})


async def test_a_report_names_the_faults_and_what_was_not_checked() -> None:
    report = await verify(case_of(Twins))
    assert [fault.rule for fault in report.faults] == ["models_are_listed"]
    assert report.faults[0].what == "`provide_models` lists twice: parrot"
    assert dict(report.skipped) == {
        "errors_are_typed": "the case has no `failing`",
        "retry_after_is_told": "the case has no `retry_after`",
        "cut_stream_is_an_error": "the case has no `truncated`",
        "error_in_a_stream_is_raised": "the case has no `breaking`",
        "cancelled_whole_answer": "the case has no `silent`",
        "cancelled_before_first_token": "the case has no `silent`",
        "cancelled_in_mid_stream": "the case has no `halting`",
        "connections_are_given_back": "the case has no `connections`",
        "ragged_answer_is_the_same": "the case has no `ragged`",
        "unknown_fields_survive": "the case has no `strange`",
        "secrets_stay_secret": "the case has no `secret`",
    }
    assert len(report.faults) + len(report.passed) + len(report.skipped) == len(RULES)


async def test_a_provider_that_does_not_stream_is_tested_without() -> None:
    assert (await verify(case_of(Whole))).faults != ()
    assert (await verify(case_of(Whole, streams=False))).faults == ()


async def test_an_answer_that_varies_is_not_compared() -> None:
    assert {fault.rule for fault in (await verify(case_of(Counting, text=None))).faults} == {
        "stream_gives_the_whole_answer",
        "concurrent_calls_do_not_mix",
    }
    assert (await verify(case_of(Counting, text=None, stable=False))).faults == ()


async def test_a_case_whose_silent_request_is_answered_is_itself_at_fault() -> None:
    with pytest.raises(CaseError, match=r"cancelled_whole_answer: .*was answered; see `silent`"):
        await verify(case_of(Parrot, silent=Chat("hi").to("parrot")))


async def test_a_mapping_is_read_by_the_config_of_the_plugin() -> None:
    report = await verify(case_of(Parrot, config={"key": "canary"}, secret="canary"))
    assert report.faults == ()
    assert "secrets_stay_secret" in report.passed


async def test_a_provider_that_cannot_be_built_breaks_every_rule() -> None:
    report = await verify(case_of(Egg))
    assert len(report.faults) + len(report.skipped) == len(RULES)
    assert {fault.what for fault in report.faults} == {"raised OSError: not hatched"}


PLUGIN_TEST = """
import pytest
from gleitzeit import Chat, Model, Provider, Reply
from gleitzeit.testing import ProviderCase, ProviderContract

class Parrot(Provider):
    def provide_models(self):
        return [Model("parrot"), Model("parrot")]

    async def call(self, request):
        return Reply("hello", finish_reason="stop")

class TestParrot(ProviderContract):
    @pytest.fixture
    async def case(self):
        return ProviderCase(Parrot, request=Chat("hi").to("parrot"), text="hello", streams=False)

class TestForgotten(ProviderContract):
    pass
"""


def test_an_author_runs_it_with_pytest_and_reads_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "test_parrot.py").write_text(PLUGIN_TEST)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\nasyncio_mode = auto\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--tb=line", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "models_are_listed: `provide_models` lists twice: parrot" in run.stdout
    assert "PASSED test_parrot.py::TestParrot::test_whole_answer_is_complete" in run.stdout
    assert "the case has no `secret`" in run.stdout
    assert "unknown_model_is_refused: an unknown model, whole, was answered" in run.stdout
    assert "TestForgotten needs a fixture `case`" in run.stdout
    assert run.returncode == 1
