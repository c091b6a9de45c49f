"""The loop of model and tools."""

import asyncio

import pytest

from gleitzeit import Chat, Host, Model, Plugin, Provider, Reply, Stream, TextDelta, Usage, Verdict
from gleitzeit.conversation import ToolEnded, ToolStarted, TurnEnded
from gleitzeit.discovery import Index
from gleitzeit.errors import DeadlineError, InvalidRequestError, OverloadedError, SecurityDeniedError
from gleitzeit.values import Message, ProviderState, ThinkingPart, Tool, ToolCallPart


class Talker(Provider):
    """Asks for what its script says, then sums up the results."""

    script = ()
    local = True

    def provide_models(self):
        yield Model("m", operations={Chat})

    async def call(self, request):
        self.requests = [*getattr(self, "requests", []), request]
        turn = sum(message.role == "assistant" for message in request.operation.messages)
        if turn < len(self.script):
            reply = Reply(self.script[turn], finish_reason="tool_calls", usage=Usage(input=10, output=1))
        else:
            results = [part for m in request.operation.messages if m.role == "tool" for part in m.parts]
            text = "; ".join(f"{'!' * part.is_error}{part.text}" for part in results)
            reply = Reply(text, finish_reason="stop", usage=Usage(input=20, output=2))
        return Stream.of(reply) if request.stream else reply


class Tools(Provider):
    local = True

    def __init__(self, config, context):
        super().__init__(config, context)
        self.calls = []
        self.both = asyncio.Event()

    def provide_tools(self):
        return [Tool("add", description="adds"), Tool("meet"), Tool("fail"), Tool("data"), Tool("hang")]

    async def call(self, request):
        self.calls.append(request)
        match request.name:
            case "add":
                return Reply(str(sum(request.operation.arguments["numbers"])))
            case "meet":  # answers only where two run at once
                if sum(call.name == "meet" for call in self.calls) == 2:
                    self.both.set()
                async with asyncio.timeout(30):
                    await self.both.wait()
                return Reply("met")
            case "fail":
                raise OverloadedError("too busy")
            case "hang":
                await asyncio.Event().wait()
        return Reply(data={"a": 1})


def call(id, name, **arguments):
    return ToolCallPart(id, name=name, arguments=arguments)


def host(*script, config=None, **plugins):
    talker = type("Scripted", (Talker,), {"script": script})
    plugins = {"talker": talker, "tools": Tools, **plugins}
    return Host(config or {}, plugins=plugins, environ={}, index=Index(()))


REQUEST = Chat("go").to("talker/m")


async def test_a_model_gets_the_result_it_asked_for():
    async with host([call("1", "tools/add", numbers=[1, 2])]) as h:
        ending = await h.converse(REQUEST, tools=["tools/add"])
    assert ending.text == "3"
    assert ending.turns == 2
    assert ending.stopped == "answered"
    assert ending.usage == Usage(input=30, output=3)
    assert [message.role for message in ending.messages] == ["user", "assistant", "tool", "assistant"]


async def test_independent_calls_run_at_once_and_answer_in_order():
    async with host(
        [call("1", "tools/meet"), call("2", "tools/add", numbers=[5]), call("3", "tools/meet")]
    ) as h:
        ending = await h.converse(REQUEST, tools=["tools/*"])
    assert ending.text == "met; 5; met"


async def test_a_stream_of_a_conversation_shows_every_step():
    async with (
        host([call("1", "tools/add", numbers=[1])]) as h,
        h.converse(REQUEST, tools=["tools/add"]) as conversation,
    ):
        events = [event async for event in conversation]
    kinds = [type(event) for event in events]
    assert kinds.count(TurnEnded) == 2
    assert kinds.index(ToolStarted) < kinds.index(ToolEnded) < kinds.index(TextDelta)
    assert conversation.ending.text == "1"


async def test_the_model_sees_a_tool_under_the_name_it_was_given():
    async with host([call("1", "add", numbers=[2])]) as h:
        ending = await h.converse(REQUEST, tools=["add"])
        talker = h._registry.find("provider", "talker").object
    assert ending.text == "2"
    assert [tool.name for tool in talker.requests[0].operation.tools] == ["add"]
    assert talker.requests[0].operation.tools[0].description == "adds"


async def test_turns_are_limited_and_the_last_calls_are_not_run():
    forever = [[call(str(n), "tools/add", numbers=[n])] for n in range(9)]
    async with host(*forever) as h:
        ending = await h.converse(REQUEST, tools=["tools/add"], max_turns=3)
        assert len(h._registry.find("provider", "tools").object.calls) == 2
    assert (ending.stopped, ending.turns) == ("max_turns", 3)


@pytest.mark.parametrize(
    "asked, told",
    [
        (call("1", "tools/fail"), "too busy"),
        (call("1", "tools/unknown"), "there is no tool 'tools/unknown'"),
        (ToolCallPart.parse("1", "tools/add", '{"numbers": ['), "not a JSON object"),
    ],
)
async def test_what_goes_wrong_with_a_tool_is_told_to_the_model(asked, told):
    async with host([asked]) as h:
        ending = await h.converse(REQUEST, tools=["tools/add", "tools/fail"])
    assert ending.text.startswith("!")
    assert told in ending.text


async def test_structured_data_without_text_is_told_as_json():
    async with host([call("1", "tools/data")]) as h:
        assert (await h.converse(REQUEST, tools=["tools/data"])).text == '{"a":1}'


@pytest.mark.parametrize("answer", [False, None, "yes", 1, Verdict.deny("not now")])
async def test_a_call_that_is_not_approved_never_runs(answer):
    async with host([call("1", "tools/add", numbers=[1])]) as h:
        ending = await h.converse(REQUEST, tools=["tools/add"], approve=lambda call, target: answer)
        assert h._registry.find("provider", "tools").object.calls == []
    assert "denied" in ending.text


async def test_an_approval_that_raises_denies():
    async with host([call("1", "tools/add", numbers=[1])]) as h:
        ending = await h.converse(REQUEST, tools=["tools/add"], approve=lambda call, target: 1 / 0)
    assert "ZeroDivisionError" in ending.text


async def test_an_approval_may_wait_for_a_person():
    seen = []

    async def approve(call, target):
        await asyncio.sleep(0)
        seen.append((call.name, target))
        return Verdict.allow()

    async with host([call("1", "add", numbers=[4])]) as h:
        assert (await h.converse(REQUEST, tools=["add"], approve=approve)).text == "4"
    assert seen == [("add", "add")]


async def test_tools_are_called_for_the_same_principal_and_data_class():
    async with host([call("1", "tools/add", numbers=[1])]) as h:
        request = Chat("go").to("talker/m", principal="ann", data_class="private", timeout=60)
        await h.converse(request, tools=["tools/add"])
        (made,) = h._registry.find("provider", "tools").object.calls
    assert (made.principal, made.data_class, made.deadline) == ("ann", "private", request.deadline)


async def test_a_guard_that_denies_a_tool_is_told_to_the_model_and_one_that_denies_the_chat_raises():
    class Guard(Plugin):
        def security_check(self, request, target):
            return Verdict.deny("no tools") if target and target.tool else None

    async with host([call("1", "tools/add", numbers=[1])], guard=Guard) as h:
        assert "no tools" in (await h.converse(REQUEST, tools=["tools/add"])).text

    class Shut(Plugin):
        def security_check(self, request, target):
            return Verdict.deny("closed")

    async with host([], shut=Shut) as h:
        with pytest.raises(SecurityDeniedError):
            await h.converse(REQUEST)


async def test_a_deadline_ends_the_conversation_in_the_middle_of_a_tool():
    async with host([call("1", "tools/hang")]) as h:
        with pytest.raises(DeadlineError):
            await h.converse(Chat("go").to("talker/m", timeout=0.1), tools=["tools/hang"])


async def test_leaving_a_conversation_early_leaves_nothing_running():
    async with host([call("1", "tools/hang")]) as h:
        async with h.converse(REQUEST, tools=["tools/hang"]) as conversation:
            async for event in conversation:
                if isinstance(event, ToolStarted):
                    break
        assert not h._registry.find("provider", "tools").leases


async def test_thinking_and_its_state_go_back_unchanged():
    thinking = ThinkingPart("hm", provider_state=ProviderState("vendor", data='{"sig": "ü\\u0000"}'))
    async with host([thinking, call("1", "tools/add", numbers=[1])]) as h:
        ending = await h.converse(REQUEST, tools=["tools/add"])
    assert ending.messages[1].parts[0] == thinking


async def test_only_a_chat_can_be_a_conversation():
    from gleitzeit import Embedding

    async with host() as h:
        with pytest.raises(InvalidRequestError, match="not Embedding"):
            h.converse(Embedding("x").to("talker/m"))


async def test_a_conversation_can_go_on_from_its_ending():
    async with host([call("1", "tools/add", numbers=[1])]) as h:
        first = await h.converse(REQUEST, tools=["tools/add"])
        again = Chat([*first.messages, Message.user("more")]).to("talker/m")
        second = await h.converse(again, tools=["tools/add"])
    assert len(second.messages) == len(first.messages) + 2


class Pausing(Provider):
    """Pauses once, then ends what it had begun."""

    def provide_models(self):
        yield Model("m", operations={Chat})

    async def call(self, request):
        if request.operation.messages[-1].role == "user":
            return Reply("let me see ...", finish_reason="paused")
        return Reply("here it is", finish_reason="stop")


async def test_a_model_that_pauses_is_asked_to_go_on():
    async with host(pausing=Pausing) as h:
        ending = await h.converse(Chat("search").to("pausing/m"))
        cut = await h.converse(Chat("search").to("pausing/m"), max_turns=1)
    assert (ending.text, ending.turns, ending.stopped) == ("here it is", 2, "answered")
    assert [message.role for message in ending.messages] == ["user", "assistant", "assistant"]
    assert cut.stopped == "max_turns"


async def test_the_strategy_of_a_request_is_for_its_model_alone():
    config = {"routes": {"r": {"targets": ["talker/m"], "allow_strategies": ["ordered"]}}}
    async with host([call("1", "tools/add", numbers=[1, 2])], config=config) as h:
        ending = await h.converse(Chat("add").to("r", strategy="ordered"), tools=["tools/add"])
    assert ending.text == "3"
