"""Tools, resources and prompts: what is offered, and what calls of them give."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gleitzeit.errors import (
    AuthenticationError,
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    ProcessDiedError,
    ResetError,
    ServerFaultError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.values import (
    AudioPart,
    Chat,
    FilePart,
    Finished,
    GetPrompt,
    ImagePart,
    Invoke,
    Message,
    Progress,
    PromptArgument,
    ReadResource,
    Started,
    TextDelta,
    TextPart,
    ToolCall,
)

Start = Callable[..., Any]
Heard = Callable[..., list[dict[str, Any]]]
Eventually = Callable[..., Awaitable[Any]]

eras = pytest.mark.parametrize("era", ["legacy", "modern"])


@eras
@pytest.mark.parametrize("pages", [1, 3])
async def test_every_page_of_tools_is_offered_sorted_by_name(start: Start, era: str, pages: int) -> None:
    async with start({"era": era, "pages": pages}, capabilities=("text",)) as provider:
        tools = await provider.provide_tools()
    names = [tool.name for tool in tools]
    assert names == sorted(names)
    assert {"echo", "die", "state"} <= set(names)
    [echo] = [tool for tool in tools if tool.name == "echo"]
    assert echo.title == "Echo"
    assert echo.description == "The tool echo."
    assert echo.hints.read_only is True
    assert echo.hints.destructive is None
    assert list(echo.input_schema["properties"]) == ["text", "times"]
    assert echo.tags == {"text"}
    assert echo.metadata == {"x-new": {"kept": 2**60}}


async def test_pages_that_go_in_circles_end(start: Start, heard: Heard) -> None:
    async with start({"pages": "circle"}) as provider:
        assert len(await provider.provide_tools()) == 3
    assert len(heard("tools/list")) == 4


async def test_lists_are_read_once_until_something_changes(start: Start, heard: Heard) -> None:
    async with start() as provider:
        both = await asyncio.gather(provider.provide_tools(), provider.provide_tools())
        assert both[0] == both[1] == await provider.provide_tools()
    assert len(heard("tools/list")) == 1


async def test_resources_and_templates_are_offered(start: Start) -> None:
    async with start() as provider:
        resources = await provider.provide_resources()
    assert [resource.uri for resource in resources] == [
        "file:///a",
        "file:///b",
        "file:///c",
        "file:///{path}",
    ]
    assert [resource.template for resource in resources] == [False, False, False, True]
    assert resources[0].name == "a"
    assert resources[0].size == 3


async def test_prompts_are_offered_and_rendered(start: Start) -> None:
    async with start() as provider:
        [prompt] = await provider.provide_prompts()
        reply = await provider.reply(GetPrompt({"who": "Ada"}).to("greet"))
    assert prompt.name == "greet"
    assert prompt.arguments == (PromptArgument("who", description="whom to greet", required=True),)
    assert reply.messages == (Message.user("Greet Ada."),)


async def test_resources_are_read_as_text_or_data(start: Start) -> None:
    async with start() as provider:
        assert (await provider.reply(ReadResource("file:///a").to(""))).text == "the text of a"
        [image] = (await provider.reply(ReadResource("file:///b").to(""))).parts
        with pytest.raises(UnknownModelError):
            await provider.reply(ReadResource("file:///zzz").to(""))
    assert image == ImagePart(data=b"\x89PNG", url="file:///b", media_type="image/png")


@eras
@pytest.mark.parametrize("times", [1, 5])
async def test_a_change_of_tools_is_announced_once_and_then_offered(
    start: Start, era: str, times: int
) -> None:
    async with start({"era": era}) as provider:
        await provider.provide_tools()
        await provider.reply(ToolCall({"name": "zebra", "times": times}).to("add"))
        await provider.context.announced.wait()
        assert "zebra" in [tool.name for tool in await provider.provide_tools()]
        await provider.reply(ToolCall({}).to("echo"))
        assert provider.context.changes == 1


async def test_a_new_process_is_announced_and_read_anew(start: Start) -> None:
    async with start() as provider:
        await provider.provide_tools()
        await provider.reply(ToolCall({"name": "zebra"}).to("add"))
        await provider.context.announced.wait()
        assert "zebra" in [tool.name for tool in await provider.provide_tools()]
        provider.context.announced.clear()
        with pytest.raises(Exception, match="exit status"):
            await provider.reply(ToolCall({}).to("die"))
        await provider.context.announced.wait()
        assert "zebra" not in [tool.name for tool in await provider.provide_tools()]


async def test_who_asked_too_early_is_told_when_there_is_something(start: Start) -> None:
    async with start({"delay": 0.5}) as provider:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await provider.provide_tools()
        await provider.context.announced.wait()
        assert await provider.provide_tools()
        assert provider.context.changes == 1


async def test_while_the_server_is_down_its_last_list_is_given_as_stale(
    start: Start, monkeypatch: Any
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp.supervisor.PAUSE", (600.0, 600.0))
    async with start() as provider:
        fresh = await provider.provide_tools()
        provider.context.announced.clear()
        connection = await provider._supervisor.ready()
        with pytest.raises(ProcessDiedError):
            await provider.reply(ToolCall({}).to("die"))
        await provider._supervisor.gone(connection, 30)
        stale = await provider.provide_tools()
        health = await provider.health()
        await provider.context.announced.wait()
    assert [tool.name for tool in stale] == [tool.name for tool in fresh]
    assert all(tool.metadata["stale"] for tool in stale)
    assert {tool.metadata["stale_since"] for tool in stale} == {health.data["down_since"]}
    assert not any("stale" in tool.metadata for tool in fresh)
    assert health.status == "error"
    assert health.data["state"] == "backoff"


@eras
async def test_a_call_brings_text_structure_and_the_raw_result(start: Start, era: str) -> None:
    async with start({"era": era}) as provider:
        reply = await provider.reply(ToolCall({"text": "ä", "times": 3}).to("echo"))
    assert reply.text == "äää"
    assert reply.data["text"] == "äää"
    assert reply.finish_reason == "stop"
    assert not reply.is_error
    assert reply.raw["structuredContent"] is reply.data
    assert ("io.modelcontextprotocol/protocolVersion" in (reply.data["meta"] or {})) is (era == "modern")


async def test_every_kind_of_content_becomes_a_part(start: Start) -> None:
    async with start() as provider:
        reply = await provider.reply(ToolCall({}).to("media"))
    data = b"\x00\x01"
    assert reply.parts == (
        TextPart("look"),
        ImagePart(data=data, media_type="image/png"),
        AudioPart(data=data, media_type="audio/wav"),
        FilePart(url="file:///a.txt", name="a", media_type="text/plain"),
        TextPart("inside"),
        FilePart(data=data, url="file:///c", media_type="application/pdf"),
        TextPart('{"type": "hologram", "beam": 7}'),
    )
    assert reply.raw["_meta"] == {"unknown": 2**60}


async def test_a_failure_of_a_tool_is_an_answer_not_an_exception(start: Start) -> None:
    async with start() as provider:
        reply = await provider.reply(ToolCall({}).to("fail"))
    assert reply.is_error
    assert reply.text == "the disk is full"
    assert reply.finish_reason == "error"


@eras
async def test_an_unknown_tool_is_named_with_those_of_similar_names(start: Start, era: str) -> None:
    async with start({"era": era}) as provider:
        with pytest.raises(UnknownModelError, match="did you mean echo"):
            await provider.reply(ToolCall({}).to("Echo"))


@pytest.mark.parametrize(
    "code,kind",
    [
        (-32601, UnsupportedError),
        (-32602, InvalidRequestError),
        (-32600, InvalidRequestError),
        (-32603, ServerFaultError),
        (-32000, ServerFaultError),
        (-32021, UnsupportedError),
        (0, ServerFaultError),
    ],
)
async def test_errors_of_the_protocol_become_errors_of_ours(
    start: Start, code: int, kind: type[GleitzeitError]
) -> None:
    async with start() as provider:
        with pytest.raises(kind) as caught:
            await provider.reply(ToolCall({"code": code}).to("refuse"))
    assert caught.value.vendor_code == str(code)
    assert caught.value.provider == "scripted"
    assert caught.value.sent is True


async def test_a_failed_exchange_of_a_transport_keeps_its_kind(start: Start) -> None:
    kinds: list[tuple[Any, type[GleitzeitError]]] = [
        ("reset", ResetError),
        ("malformed_answer", MalformedAnswerError),
        ("authentication", AuthenticationError),
        ("config", ResetError),
        (["no", "word"], ResetError),
        (None, ResetError),
    ]
    async with start() as provider:
        for said, kind in kinds:
            data = {"sent": True, "error": said}
            with pytest.raises(GleitzeitError) as caught:
                await provider.reply(ToolCall({"code": -32050, "data": data}).to("refuse"))
            assert type(caught.value) is kind
            assert caught.value.sent is True


@pytest.mark.parametrize("sent", [True, False])
async def test_a_failed_exchange_of_a_transport_says_whether_it_was_sent(
    start: Start, heard: Heard, sent: bool
) -> None:
    async with start() as provider:
        with pytest.raises(ResetError) as caught:
            await provider.reply(ToolCall({"code": -32050, "data": {"sent": sent}}).to("refuse"))
    assert caught.value.sent is sent
    assert len(heard("tools/call")) == 1


async def test_an_answer_that_is_no_result_is_malformed_and_harms_nothing_else(start: Start) -> None:
    async with start() as provider:
        with pytest.raises(MalformedAnswerError):
            await provider.reply(ToolCall({}).to("nonsense"))
        assert (await provider.reply(ToolCall({"text": "hi"}).to("echo"))).text == "hi"
        assert (await provider.health()).data["restarts"] == 0


async def test_arguments_that_are_no_json_are_refused_unsent(start: Start, heard: Heard) -> None:
    async with start() as provider:
        with pytest.raises(InvalidRequestError) as caught:
            await provider.reply(ToolCall({"text": object()}).to("echo"))
        assert caught.value.sent is False
    assert not heard("tools/call")


@pytest.mark.feature("S001-09")
async def test_large_results_pass(start: Start) -> None:
    async with start() as provider:
        assert len((await provider.reply(ToolCall({"size": 8_000_000}).to("large"))).text) == 8_000_000


async def test_calls_share_a_session_and_do_not_wait_for_each_other(start: Start) -> None:
    async with start() as provider:
        gated = [
            asyncio.create_task(provider.reply(ToolCall({"parts": [str(n)]}).to("gate"))) for n in range(50)
        ]
        await provider.reply(ToolCall({}).to("echo"))
        assert (await provider.reply(ToolCall({}).to("release"))).text == "50"
        assert [(await call).text for call in gated] == [str(n) for n in range(50)]


async def test_a_limit_of_calls_in_flight_holds(start: Start, heard: Heard) -> None:
    async with start(max_concurrency=2) as provider:
        calls = [asyncio.create_task(provider.reply(ToolCall({}).to("hang", timeout=0.2))) for _ in range(4)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert len(heard("tools/call", "hang")) <= 3
        await asyncio.gather(*calls, return_exceptions=True)


async def test_any_tool_can_be_invoked_by_name_and_by_position(start: Start) -> None:
    async with start() as provider:
        assert (await provider.reply(Invoke("echo", arguments={"text": "a"}).to(""))).text == "a"
        assert (await provider.reply(Invoke("echo", args=("b", 2)).to(""))).text == "bb"
        assert (
            await provider.reply(Invoke("echo", args=("c",), arguments={"times": 3}).to(""))
        ).text == "ccc"
        with pytest.raises(InvalidRequestError, match="takes 2 arguments"):
            await provider.reply(Invoke("echo", args=(1, 2, 3)).to(""))
        with pytest.raises(InvalidRequestError, match="'text' by position and by name"):
            await provider.reply(Invoke("echo", args=("a",), arguments={"text": "b"}).to(""))
        with pytest.raises(UnknownModelError):
            await provider.reply(Invoke("nothing", args=(1,)).to(""))


@eras
async def test_progress_comes_in_order_before_the_result(start: Start, era: str) -> None:
    async with start({"era": era}) as provider:
        stream = await provider.call(provider.aimed(ToolCall({"to": 200}).to("count", stream=True)))
        events = [event async for event in stream]
    assert isinstance(events[0], Started)
    steps = [event for event in events if isinstance(event, Progress)]
    assert [step.progress for step in steps] == [float(number) for number in range(1, 201)]
    assert steps[0] == Progress(1.0, total=200.0, message="step 1")
    assert events[-2:] == [TextDelta("done"), Finished("stop", data={"steps": 200})]
    assert stream.reply.text == "done"


async def test_progress_stays_with_its_call(start: Start, heard: Heard, eventually: Eventually) -> None:
    async with start() as provider:

        async def told(number: int) -> set[str]:
            parts = [f"{number}/{step}" for step in range(20)]
            request = provider.aimed(ToolCall({"parts": parts}).to("gate", stream=True))
            async with await provider.call(request) as stream:
                return {str(event.message) async for event in stream if isinstance(event, Progress)}

        calls = [asyncio.create_task(told(number)) for number in range(10)]
        await eventually(lambda: len(heard("tools/call", "gate")) == 10)
        await provider.reply(ToolCall({}).to("release"))
        for number, steps in enumerate(await asyncio.gather(*calls)):
            assert steps == {f"{number}/{step}" for step in range(20)}


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_what_a_call_sends_does_not_grow_with_the_tools(start: Start, heard: Heard, era: str) -> None:
    tools = {f"tool_{number}": {"type": "object"} for number in range(500)}
    async with start({"era": era, "tools": tools}, mode=era) as provider:
        assert len(await provider.provide_tools()) > 500
        lists = len(heard("tools/list"))
        for _ in range(5):
            await provider.reply(ToolCall({"text": "hi"}).to("echo"))
            await provider.reply(ToolCall({}).to("tool_499"))
        assert len(heard("tools/list")) == lists
        assert len(heard("tools/call")) == 10


async def test_progress_beyond_what_a_slow_reader_takes_is_thinned_out(start: Start) -> None:
    async with start() as provider:
        call = provider.aimed(ToolCall({"to": 5000}).to("count", stream=True))
        async with await provider.call(call) as stream:
            await anext(stream)
            await provider.reply(ToolCall({"text": "by now all has come"}).to("echo"))
            steps = [event.progress async for event in stream if isinstance(event, Progress)]
    assert len(steps) < 1000
    assert steps == sorted(steps)
    assert steps[-1] == 5000


@pytest.mark.feature("S001-06")
@eras
async def test_cancelling_a_call_reaches_the_server(
    start: Start, heard: Heard, eventually: Eventually, era: str
) -> None:
    async with start({"era": era}) as provider:
        call = asyncio.create_task(provider.reply(ToolCall({}).to("hang")))
        await eventually(lambda: heard("tools/call", "hang"))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        [cancelled] = await eventually(lambda: heard("notifications/cancelled"))
        assert cancelled["params"]["requestId"] == heard("tools/call", "hang")[0]["id"]


@pytest.mark.feature("S001-06")
@pytest.mark.parametrize("after", [0, 1])
async def test_closing_a_stream_reaches_the_server_also_before_the_first_event(
    start: Start, heard: Heard, eventually: Eventually, after: int
) -> None:
    async with start() as provider:
        tool = "gate" if after else "hang"
        call = provider.aimed(ToolCall({"parts": ["a"]}).to(tool, stream=True))
        async with await provider.call(call) as stream:
            if after:
                while not isinstance(await anext(stream), Progress):
                    pass
            else:
                reading = asyncio.ensure_future(anext(stream))
                await eventually(lambda: heard("tools/call", "hang"))
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
        assert len(await eventually(lambda: heard("notifications/cancelled"))) == 1


async def test_a_stream_fails_as_the_call_would(start: Start) -> None:
    async with start() as provider:
        for tool, kind in (("die", Exception), ("nothing", UnknownModelError)):
            stream = await provider.call(provider.aimed(ToolCall({}).to(tool, stream=True)))
            with pytest.raises(kind):
                await stream.collect()


async def test_a_server_that_wants_more_time_gets_it(start: Start, heard: Heard) -> None:
    async with start({"era": "modern"}) as provider:
        assert (await provider.reply(ToolCall({}).to("state"))).text == "done"
    assert [message["params"].get("requestState") for message in heard("tools/call")] == [None, "opaque"]


async def test_a_disabled_server_offers_and_starts_nothing(start: Start, tmp_path: Any) -> None:
    async with start(disabled=True, models=["m"]) as provider:
        assert not await provider.provide_tools()
        assert not await provider.provide_models()
        with pytest.raises(UnsupportedError, match="disabled"):
            await provider.reply(Chat("hi").to("m"))
    assert not (tmp_path / "heard.jsonl").exists()
