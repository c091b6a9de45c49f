"""The budget holds whatever is asked in whatever order; what is in use stays."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from gleitzeit_plugin_huggingface.worker.jobs import Failure, Job, Slots, Stopped
from gleitzeit_plugin_huggingface.worker.shelf import Shelf
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

SIZES = {"a": 300, "b": 300, "c": 200, "d": 600, "huge": 1100}
BUDGET = 1000


class Engine:
    """Models that are names and sizes."""

    def __init__(self) -> None:
        self.memory: list[str] = []
        self.wrong = False
        self.expects = True

    def size(self, task: str, source: dict[str, Any]) -> int:
        return SIZES[source["path"]] if self.expects else 0

    def load(self, task: str, source: dict[str, Any]) -> Any:
        if self.wrong:
            raise Failure("unknown_model", "it cannot be loaded")
        return Model(self, source["path"])


class Model:
    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name, self.bytes = engine, name, SIZES[name]
        engine.memory.append(name)

    def run(self, job: Job) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self.engine.memory.remove(self.name)


def job(gate: threading.Condition, id: int = 1) -> Job:
    return Job({"id": id}, gate, lambda frame: None)


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class Loading(RuleBasedStateMachine):
    """Models come and go within a budget of 1000 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Condition()
        self.engine = Engine()
        self.shelf = Shelf(self.engine, self.gate, BUDGET)
        self.used: list[tuple[str, contextlib.ExitStack]] = []
        self.recent: list[str] = []

    def fits(self, name: str) -> bool:
        held = {each for each, _ in self.used}
        return name in held or sum(SIZES[each] for each in held) + SIZES[name] <= BUDGET

    @rule(name=st.sampled_from("abcd"), expects=st.booleans())
    def take(self, name: str, expects: bool) -> None:
        if not self.fits(name):
            return  # it would wait
        self.engine.expects = expects
        before, stack = set(self.engine.memory), contextlib.ExitStack()
        stack.enter_context(self.shelf.using(("text", name), {"path": name}, job(self.gate)))
        self.used.append((name, stack))
        gone = before - set(self.engine.memory)
        held = {each for each, _ in self.used}
        left = [each for each in self.recent if each in before - held - {name}]
        assert gone == set(left[: len(gone)]), "the least recently used goes first"
        if expects and gone:
            kept = sum(SIZES[each] for each in (before | {name}) - gone)
            assert kept + min(SIZES[each] for each in [left[len(gone) - 1]]) > BUDGET, "no more than needed"

    @precondition(lambda self: self.used)
    @rule(place=st.integers(0, 9))
    def give_back(self, place: int) -> None:
        name, stack = self.used.pop(place % len(self.used))
        stack.close()
        self.recent = [*(each for each in self.recent if each != name), name]

    @rule(name=st.sampled_from("abcd"))
    def unload(self, name: str) -> None:
        if any(each == name for each, _ in self.used):
            return  # it would wait
        loaded = name in self.engine.memory
        assert self.shelf.unload(("text", name), job(self.gate)) is loaded
        assert name not in self.engine.memory

    @rule(name=st.sampled_from("abcd"))
    def fail(self, name: str) -> None:
        if not self.fits(name) or name in self.engine.memory:
            return
        self.engine.wrong = True
        with pytest.raises(Failure), self.shelf.using(("text", name), {"path": name}, job(self.gate)):
            pass
        self.engine.wrong = False

    @rule()
    def refuse_what_never_fits(self) -> None:
        before = list(self.engine.memory)
        self.engine.expects = True
        with (
            pytest.raises(Failure, match="memory budget"),
            self.shelf.using(("text", "huge"), {"path": "huge"}, job(self.gate)),
        ):
            pass
        assert self.engine.memory == before

    @invariant()
    def the_books_are_right(self) -> None:
        listed = self.shelf.listing()
        assert sorted(row["model"] for row in listed) == sorted(self.engine.memory)
        assert self.shelf.total == sum(SIZES[name] for name in self.engine.memory) <= BUDGET
        assert {name for name, _ in self.used} <= set(self.engine.memory)

    def teardown(self) -> None:
        for _, stack in self.used:
            stack.close()


TestLoading = Loading.TestCase
TestLoading.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_what_fits_only_without_a_model_in_use_waits_for_it() -> None:
    gate, engine = threading.Condition(), Engine()
    shelf = Shelf(engine, gate, BUDGET)
    waiting = job(gate, 2)
    got: list[str] = []

    def other() -> None:
        with shelf.using(("text", "d"), {"path": "d"}, waiting):
            got.extend(engine.memory)

    with (
        shelf.using(("text", "a"), {"path": "a"}, job(gate)),
        shelf.using(("text", "b"), {"path": "b"}, job(gate)),
    ):
        thread = threading.Thread(target=other)
        thread.start()
        until(lambda: shelf._loading)
        assert sorted(engine.memory) == ["a", "b"]
    thread.join(60)
    assert "d" in got
    assert len(got) == 2


def test_a_job_whose_caller_left_does_not_wait_for_room() -> None:
    gate, engine = threading.Condition(), Engine()
    shelf = Shelf(engine, gate, BUDGET)
    waiting = job(gate, 2)
    waiting.stop()
    with (
        shelf.using(("text", "d"), {"path": "d"}, job(gate)),
        shelf.using(("text", "a"), {"path": "a"}, job(gate)),
        pytest.raises(Stopped),
        shelf.using(("text", "b"), {"path": "b"}, waiting),
    ):
        pass
    assert sorted(engine.memory) == ["a", "d"]


def test_a_model_that_two_want_at_once_is_loaded_once() -> None:
    gate, engine = threading.Condition(), Engine()
    shelf = Shelf(engine, gate, None)
    both = threading.Barrier(4, timeout=60)
    most: list[int] = []

    def use(id: int) -> None:
        with shelf.using(("text", "a"), {"path": "a"}, job(gate, id)):
            both.wait()
            most.append(len(engine.memory))

    threads = [threading.Thread(target=use, args=(id,)) for id in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1, 1, 1, 1]


def test_slots_are_given_in_turn() -> None:
    gate = threading.Condition()
    slots = Slots(1, gate)
    order: list[int] = []

    def run(id: int) -> None:
        with slots.taken(job(gate, id)):
            order.append(id)

    threads = []
    with slots.taken(job(gate)):
        for id in range(3):
            thread = threading.Thread(target=run, args=(id,))
            thread.start()
            threads.append(thread)
            until(partial(lambda want: len(slots._waiting) == want, id + 1))
    for thread in threads:
        thread.join(60)
    assert order == [0, 1, 2]
