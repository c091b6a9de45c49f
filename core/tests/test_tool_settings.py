"""What the operator says of single tools: names, words, limits, and what answers when one fails."""

import asyncio

import pytest

from core.tests.toys import host, running
from gleitzeit import BlockingHost, Provider, Reply
from gleitzeit.config import load
from gleitzeit.contracts import write_lock
from gleitzeit.discovery import Index
from gleitzeit.errors import (
    CannotConnectError,
    ConfigError,
    DeadlineError,
    GleitzeitError,
    RateLimitedError,
    ServerFaultError,
    ToolFailedError,
    UnknownModelError,
)
from gleitzeit.values import Invoke, Tool, ToolCall, ToolHints


class Desk(Provider):
    """Notes under which names it is called; each tool fails, or not, in its own way."""

    names: tuple[str, ...] = ("git_log", "git_commit", "wait")
    failure = None

    def __init__(self, config, context):
        super().__init__(config, context)
        self.context = context
        self.called = []

    def provide_tools(self):
        return [Tool(name, description=f"does {name}", tags={"own"}) for name in self.names]

    async def call(self, request):
        operation = request.operation
        self.called.append(operation.method if isinstance(operation, Invoke) else request.name)
        if request.name == "wait":
            await asyncio.Event().wait()
        if isinstance(self.failure, Exception):
            raise self.failure
        return self.failure or Reply("done")


class Spare(Desk):
    names = ("log",)


def desk(tools, failure=None, **more):
    kind = type("Failing", (Desk,), {"failure": failure})
    return host({"providers": {"desk": {"tools": tools}}, **more}, desk=kind, spare=Spare)


async def test_a_renamed_tool_is_called_by_its_new_name_and_its_provider_sees_its_own():
    async with desk({"git_*": {"rename": "vcs-*"}}) as h:
        names = [tool.name for _, _, tool in await h.find_tools(["desk/*"])]
        assert names == ["vcs-log", "vcs-commit", "wait"]
        reply = await h.call(ToolCall().to("desk/vcs-log"))
        assert (reply.target.name, reply.target.tool.name) == ("git_log", "vcs-log")
        await h.call(ToolCall().to("vcs-commit"))
        assert running(h, "desk").called == ["git_log", "git_commit"]
        with pytest.raises(UnknownModelError, match="did you mean desk/vcs-log"):
            await h.call(ToolCall().to("desk/git_log"))


@pytest.mark.feature("S004-25")
async def test_categories_tags_and_descriptions_are_the_operators():
    tools = {
        "git_*": {"category": "version-control", "tags": ["code"]},
        "git_log": {"description": "Reads the log.", "tags": ["reads"]},
    }
    async with desk(tools) as h:
        found = {each.name: each.tool for each in await h.tools(category="version-control")}
        assert set(found) == {"desk/git_log", "desk/git_commit"}
        assert found["desk/git_log"].description == "Reads the log."
        assert found["desk/git_log"].tags == {"own", "reads"}, "what a later glob says goes over the earlier"
        assert found["desk/git_commit"].description == "does git_commit"
        assert [each.name for each in await h.tools(tags=["own", "code"])] == ["desk/git_commit"]
        assert [each.name for each in await h.tools(tags="reads")] == ["desk/git_log"]


async def test_a_hidden_tool_is_as_if_it_were_not_there():
    async with desk({"git_commit": {"hidden": True}}) as h:
        assert "git_commit" not in [tool.name for _, _, tool in await h.find_tools(["desk/*"])]
        for asked in (ToolCall().to("desk/git_commit"), Invoke("git_commit").to("desk")):
            with pytest.raises(UnknownModelError, match="the operator hides it"):
                await h.call(asked)
        through = Invoke("tools/call", arguments={"name": "git_commit"}).to("desk")
        with pytest.raises(UnknownModelError, match="take out `hidden`"):
            await h.call(through)
        await h.call(Invoke("git_log").to("desk"))
        assert running(h, "desk").called == ["git_log"]
        [kept] = [each for each in await h.tools() if each.why]
        assert (kept.name, kept.why) == ("desk/git_commit", "hidden")


async def test_what_is_said_of_a_tool_that_is_not_there_is_told(caplog):
    """Above all of one that was to be hidden."""
    async with desk({"git_comit": {"hidden": True}, "x_*": {"category": "c"}, "git_*": {"tags": ["c"]}}) as h:
        await h.tools()
        await h.tools()
    said = [row.getMessage() for row in caplog.records if row.name == "gleitzeit.shaping"]
    assert said == [
        "[providers.desk.tools] git_comit: desk offers no such tool; did you mean 'git_commit'?",
        "[providers.desk.tools] x_*: desk offers no such tool",
    ]


async def test_tools_that_would_have_one_name_are_both_kept_back():
    async with desk({"git_*": {"rename": "git"}}) as h:
        kept = {each.own: each.reason for each in await h.tools() if each.why == "clash"}
        assert set(kept) == {"git_log", "git_commit"}
        assert "'git_log' and 'git_commit'" in kept["git_log"]
        with pytest.raises(Exception, match="rename"):
            await h.call(ToolCall().to("desk/git"))
        assert not running(h, "desk").called


@pytest.mark.feature("S004-27")
async def test_a_tool_has_its_own_limits():
    tools = {
        "git_log": {"rate_limit": {"requests_per_minute": 1}, "timeouts": {"queue": 0.001}},
        "wait": {"timeouts": {"attempt": 0.01}, "retry": {"max_retries": 0}},
    }
    async with desk(tools) as h:
        await h.call(ToolCall().to("desk/git_log"))
        with pytest.raises(RateLimitedError) as refused:  # the next turn comes after its deadline
            await h.call(ToolCall().to("desk/git_log", timeout=20))
        assert refused.value.retry_after is not None
        assert running(h, "desk").called == ["git_log"]
        with pytest.raises(DeadlineError):
            await h.call(ToolCall().to("desk/wait"))
        await h.call(ToolCall().to("desk/git_commit"))


SPARE = {"git_log": {"fallback": "spare/log"}}
REPEATABLE = {"git_log": {"fallback": "spare/log", "idempotent": True}}


@pytest.mark.feature("S004-44")
@pytest.mark.parametrize("failure", [ServerFaultError("no"), Reply("broken", is_error=True)])
async def test_the_fallback_answers_once_where_repeating_does_no_harm(failure):
    async with desk(REPEATABLE, failure) as h:
        reply = await h.call(ToolCall({"n": 1}).to("desk/git_log"))
        assert (reply.text, str(reply.target)) == ("done", "spare/log")
        [failed] = reply.attempts
        assert str(failed.target) == "desk/git_log"
        assert isinstance(failed.error, (ServerFaultError, ToolFailedError))
        assert running(h, "desk").called == ["git_log"]
        assert running(h, "spare").called == ["log"]
        assert next(each for each in h.snapshot().calls if each.name == "desk/git_log").fallbacks == 1


@pytest.mark.feature("S004-44")
async def test_no_fallback_where_the_tool_may_have_acted():
    for failure in (ServerFaultError("no", sent=True), Reply("broken", is_error=True)):
        async with desk(SPARE, failure) as h:
            if isinstance(failure, Reply):
                assert (await h.call(ToolCall().to("desk/git_log"))).is_error
            else:
                with pytest.raises(ServerFaultError):
                    await h.call(ToolCall().to("desk/git_log"))
            assert running(h, "spare") is None or not running(h, "spare").called


async def test_the_fallback_answers_where_the_tool_was_not_reached():
    async with desk(SPARE, CannotConnectError("nobody there", retryable=False)) as h:
        reply = await h.call(ToolCall().to("desk/git_log"))
        assert str(reply.target) == "spare/log"


async def test_the_fallback_answers_for_a_provider_that_does_not_start():
    class Broken(Desk):
        def __init__(self, config, context):
            raise RuntimeError("no")

    config = {"providers": {"desk": {"tools": SPARE}}}
    async with host(config, desk=Broken, spare=Spare) as h:
        reply = await h.call(ToolCall().to("desk/git_log"))
        assert str(reply.target) == "spare/log"
        assert [str(each.target) for each in reply.attempts] == ["desk/git_log"]


async def test_a_fallback_has_no_fallback_of_its_own():
    back = {"log": {"fallback": "desk/wait"}}
    both = {"providers": {"desk": {"tools": REPEATABLE}, "spare": {"tools": back}}}
    failing = type("Failing", (Desk,), {"failure": ServerFaultError("first", retryable=False)})
    second = type("Second", (Spare,), {"failure": CannotConnectError("second", retryable=False)})
    async with host(both, desk=failing, spare=second) as h:
        with pytest.raises((ServerFaultError, CannotConnectError)) as caught:
            await h.call(ToolCall().to("desk/git_log"))
        assert "wait" not in running(h, "desk").called
        assert len(caught.value.attempts) == 1


async def test_a_hint_of_the_provider_is_no_word_of_the_operator():
    class Claiming(Desk):
        failure = ServerFaultError("no", sent=True)

        def provide_tools(self):
            return [Tool("git_log", hints=ToolHints(idempotent=True, read_only=True))]

    async with host({"providers": {"desk": {"tools": SPARE}}}, desk=Claiming, spare=Spare) as h:
        with pytest.raises(ServerFaultError):
            await h.call(ToolCall().to("desk/git_log"))


@pytest.mark.parametrize("new", ["a/b", "a b", "", "x*y*"])
def test_a_name_that_cannot_be_one_is_a_problem(new):
    data = {"providers": {"desk": {"plugin": "x", "tools": {"git_*": {"rename": new}}}}}
    with pytest.raises(ConfigError, match="rename"):
        load(data=data, environ={})


def test_limits_of_a_tool_have_the_names_that_they_have_everywhere():
    data = {"providers": {"desk": {"plugin": "x", "tools": {"git_*": {"timeout": 5}}}}}
    with pytest.raises(ConfigError, match="timeouts"):
        load(data=data, environ={})


SETS = {
    "toolsets": {
        "reading": {"tools": ["desk/*", "spare/*"], "exclude": ["*/git_commit"]},
        "all": {"tools": ["@reading", "git_commit"], "tags": ["own"]},
        "code": {"categories": ["code"]},
    }
}


async def test_a_set_stands_for_its_tools():
    async with desk({"git_*": {"category": "code"}}, **SETS) as h:

        async def named(*names):
            return [full for _, full, _ in await h.find_tools(names)]

        assert await named("@reading") == ["desk/git_log", "desk/wait", "spare/log"]
        assert await named("@all") == ["desk/git_log", "desk/git_commit", "desk/wait", "spare/log"]
        assert await named("@code", "spare/log") == ["desk/git_log", "desk/git_commit", "spare/log"]
        assert [each.name for each in await h.tools(set="code", tags="own")] == [
            "desk/git_log",
            "desk/git_commit",
        ]
        with pytest.raises(UnknownModelError, match="did you mean @code"):
            await h.find_tools(["@cod"])


def test_a_set_within_itself_or_unknown_is_a_problem():
    data = {"toolsets": {"a": {"tools": ["@b"]}, "b": {"tools": ["@a"]}, "c": {"exclude": ["@x"]}}}
    with pytest.raises(ConfigError) as caught:
        load(data=data, environ={})
    text = "\n".join(caught.value.problems)
    assert text.count("the set contains itself") == 2
    assert "there is no set @x" in text


def test_what_is_said_of_tools_is_shown_with_its_place():
    data = {"providers": {"desk": {"plugin": "x", "tools": {"git_*": {"category": "code"}}}}, **SETS}
    shown = load(data=data, environ={}).show()
    assert {"value": "code", "source": "configuration in code"} in shown["providers"]["desk"].values()
    assert shown["toolsets"]["code"]["categories"]["value"] == ["code"]


@pytest.mark.feature("S004-28")
@pytest.mark.feature("S004-31")
async def test_calls_of_tools_are_counted_by_how_they_ended(tmp_path):
    class Uneven(Desk):
        async def call(self, request):
            if request.name == "git_commit":
                raise ServerFaultError("no", retryable=False)
            return await super().call(request)

    lock = tmp_path / "gleitzeit.lock"
    async with host(desk=Uneven) as h:
        write_lock(str(lock), (await h.toolbox.contracts())[0])
    later = type("Later", (Uneven,), {"names": (*Uneven.names, "new")})
    tools = {"wait": {"timeouts": {"attempt": 0.01}, "retry": {"max_retries": 0}}}
    config = {"host": {"tools_lock": str(lock)}, "providers": {"desk": {"tools": tools}}}
    async with host(config, desk=later) as h:
        for name, times in (("git_log", 3), ("git_commit", 2), ("wait", 1), ("new", 4)):
            for _ in range(times):
                try:
                    await h.call(ToolCall().to(f"desk/{name}"))
                except GleitzeitError:
                    pass
        told = {each.name: each for each in h.snapshot().tools()}
        assert {name: (s.count, s.failed, s.denied, s.timed_out) for name, s in told.items()} == {
            "desk/git_log": (3, 0, 0, 0),
            "desk/git_commit": (2, 2, 0, 0),
            "desk/wait": (1, 1, 0, 1),
            "desk/new": (4, 4, 4, 0),
        }
        assert told["desk/git_log"].duration.count == 3


def test_tools_and_sets_without_await():
    spare = BlockingHost(SETS, plugins={"spare": Spare, "desk": Desk}, environ={}, index=Index(()))
    with spare as h:
        assert "spare/log" in [each.name for each in h.tools(set="@reading", tags="own")]
