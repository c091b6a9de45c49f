"""What is known of a task, held against a server that says whatever the protocol lets it say."""

from typing import Any

import pytest
from gleitzeit_plugin_mcp.course import BOUNDS, PAUSE, Course
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gleitzeit.errors import GleitzeitError, MalformedAnswerError, ServerFaultError

KEYS = st.sets(st.sampled_from("abcdef"))


class Tasks(RuleBasedStateMachine):
    """A server works at a task, asks, and ends it; its client looks now and then, and answers."""

    def __init__(self) -> None:
        super().__init__()
        self.task: dict[str, Any] = {"taskId": "t", "status": "working"}
        self.course = Course(self.task, "s")
        self.answered: set[str] = set()
        self.said: list[str] = []
        self.end: str | None = None

    @rule(poll=st.none() | st.integers(-10, 10**6) | st.booleans() | st.text(max_size=3))
    def work(self, poll: Any) -> None:
        self.task = {"taskId": "t", "status": "working", "pollIntervalMs": poll}

    @rule(keys=KEYS)
    def ask(self, keys: set[str]) -> None:
        self.task = {"taskId": "t", "status": "input_required", "inputRequests": {key: {} for key in keys}}

    @rule(said=st.sampled_from(["one", "two", ""]))
    def say(self, said: str) -> None:
        self.task = {**self.task, "statusMessage": said}

    @rule(status=st.sampled_from(["completed", "failed", "cancelled"]))
    def finish(self, status: str) -> None:
        payload: dict[str, Any] = {
            "completed": {"result": {"n": 1}},
            "failed": {"error": {"code": -32603, "message": "no"}},
        }
        self.task = {"taskId": "t", "status": status, **payload.get(status, {})}

    @rule(
        wrong=st.sampled_from(
            [None, [], {}, {"status": "odd"}, {"status": ["working"]}, {"taskId": "u", "status": "working"}]
        )
    )
    def blunder(self, wrong: Any) -> None:
        before = self.course.status
        if self.end is None:
            with pytest.raises(MalformedAnswerError):
                self.course.saw(wrong)
        else:
            self.course.saw(wrong)
        assert self.course.status == before

    @rule()
    def look(self) -> None:
        self.course.saw(self.task)
        if self.end is None:
            assert self.course.status == self.task["status"]
            self.end = self.course.status if self.course.ended else None
            news, said = self.course.news(), self.task.get("statusMessage")
            assert (news is None) == (said is None or self.said[-1:] == [said])
            if news is not None:
                self.said.append(news["statusMessage"])
                assert news["progress"] == len(self.said)

    @precondition(lambda self: self.course.questions)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        keys = data.draw(st.sets(st.sampled_from(sorted(self.course.questions)), min_size=1))
        assert not keys & self.answered
        self.answered |= keys
        self.course.answered(keys)

    @rule()
    def wait(self) -> None:
        least, most = min(BOUNDS[0], PAUSE[0]), max(BOUNDS[1], PAUSE[1])
        assert least <= self.course.pause <= most

    @invariant()
    def an_end_is_an_end(self) -> None:
        assert self.course.ended == (self.end is not None)
        assert not set(self.course.questions) & self.answered
        if self.end is None:
            return
        assert self.course.status == self.end
        assert self.course.questions == {}
        if self.end == "completed":
            assert self.course.outcome() == {"n": 1}
        else:
            with pytest.raises(ServerFaultError):
                self.course.outcome()


Tasks.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestTasks = Tasks.TestCase


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: st.dictionaries(
            st.sampled_from(
                ["taskId", "status", "result", "error", "inputRequests", "ttlMs", "_meta", "message"]
            ),
            x,
        ),
        max_leaves=12,
    )
)
@settings(deadline=None)
def test_whatever_a_server_says_is_a_task_or_an_error_of_ours(created: Any) -> None:
    try:
        course = Course(created, "s")
        if course.ended:
            course.outcome()
    except GleitzeitError as error:
        wrong: GleitzeitError | None = error
    else:
        wrong = None
        assert course.id == created["taskId"]
    assert wrong is None or wrong.sent is True


def test_without_a_wish_the_looks_become_rarer() -> None:
    course = Course({"taskId": "t", "status": "working"}, "s")
    pauses = [course.pause for _ in range(8)]
    assert pauses[:3] == [0.05, 0.1, 0.2]
    assert pauses[-1] == PAUSE[1]
    course.saw({"taskId": "t", "status": "input_required"})
    assert course.pause == 0.05
    course.saw({"taskId": "t", "status": "input_required", "pollIntervalMs": 250})
    assert course.pause == 0.25


@pytest.mark.parametrize(
    "end",
    [
        {"status": "failed", "error": {"code": -32000, "message": "no good: canary-1"}},
        {"status": "failed", "statusMessage": "no good: canary-1"},
        {"status": "cancelled", "statusMessage": "no good: canary-1"},
    ],
    ids=["error", "failed", "cancelled"],
)
def test_the_end_of_a_task_quotes_no_secret(end: dict[str, Any]) -> None:
    course = Course({"taskId": "t", **end}, "s")
    with pytest.raises(GleitzeitError, match="no good") as caught:
        course.outcome(["canary-1"])
    assert "canary" not in str(caught.value)
