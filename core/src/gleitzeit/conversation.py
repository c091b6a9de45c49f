"""The loop between a model and its tools: ask, run what it asks for, tell it, until it answers."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias

from attrs import evolve, field, frozen

from gleitzeit.deferral import Defer, Offered
from gleitzeit.errors import DeadlineError, GleitzeitError, InvalidRequestError
from gleitzeit.values import (
    Chat,
    Event,
    Message,
    Reply,
    Request,
    Stream,
    TextPart,
    Tool,
    ToolCall,
    ToolCallPart,
    ToolResultPart,
    Usage,
    Verdict,
)

__all__ = ["Approve", "Conversation", "ConversationEvent", "Ending", "ToolEnded", "ToolStarted", "TurnEnded"]

#: Decides on a tool call before it runs: True or an allowing verdict lets it pass, all else denies.
Approve: TypeAlias = Callable[[ToolCallPart, str], "bool | Verdict | Awaitable[bool | Verdict]"]


class _Caller(Protocol):
    """What a conversation needs of the host."""

    async def call(self, request: Request) -> Reply: ...

    def stream(self, request: Request) -> Stream: ...

    async def find_tools(self, names: Iterable[str]) -> list[tuple[str, str, Tool]]:
        """(name for the model, full name, tool) of each tool that `names` mean."""
        ...

    async def searcher(self, model: str) -> tuple[tuple[str, Tool] | None, int | None]:
        """The tool that searches among tools, and how much context the model has; None where unknown."""
        ...


@frozen(kw_only=True)
class ToolStarted:
    """A tool is about to run."""

    call: ToolCallPart = field(kw_only=False)
    target: str


@frozen(kw_only=True)
class ToolEnded:
    """A tool has answered, failed, or was denied."""

    call: ToolCallPart = field(kw_only=False)
    result: ToolResultPart


@frozen(kw_only=True)
class TurnEnded:
    """The model has ended a turn."""

    reply: Reply = field(kw_only=False)
    turn: int


ConversationEvent: TypeAlias = Event | ToolStarted | ToolEnded | TurnEnded


@frozen(kw_only=True)
class Ending:
    """How a conversation went: the last reply, all messages to continue from, the usage of all turns.

    `stopped` is "answered", or "max_turns" where the model still wanted tools when the turns ran
    out; its last calls were then not run.
    """

    reply: Reply = field(kw_only=False)
    messages: tuple[Message, ...]
    usage: Usage
    turns: int
    stopped: Literal["answered", "max_turns"]

    @property
    def text(self) -> str:
        """The text of the last reply."""
        return self.reply.text


class Conversation:
    """A conversation to be awaited for its ending, or iterated for its events and then asked for it.

        ending = await host.converse(request, tools=["git/*"])

        async with host.converse(request, tools=["git/*"]) as conversation:
            async for event in conversation: ...
        conversation.ending

    Tool calls of one turn run concurrently; a model that pauses is asked to go on. A tool that fails,
    is denied or gets broken arguments is told to the model as a failed result; a failing model and an
    exceeded deadline raise. Two tools whose names look alike are an `InvalidRequestError`.

    With `defer` the model is shown a search in place of the tools, and those that it has found from the
    next turn on: True always, "auto" where a plugin that searches is installed and the tools would
    take more than a tenth of the model's context.
    """

    def __init__(
        self,
        caller: _Caller,
        request: Request,
        *,
        tools: Iterable[str] = (),
        max_turns: int = 8,
        approve: Approve | None = None,
        concurrency: int = 8,
        defer: Defer = "auto",
    ) -> None:
        if not isinstance(request.operation, Chat):
            raise InvalidRequestError(
                f"a conversation starts with a Chat, not {type(request.operation).__name__}"
            )
        if max_turns < 1:
            raise InvalidRequestError("max_turns must be at least 1")
        self._caller = caller
        self._request = request
        self._tools = (tools,) if isinstance(tools, str) else tuple(tools)
        self._max_turns = max_turns
        self._approve = approve
        self._defer = defer
        self._slots = asyncio.Semaphore(concurrency)
        self._events: AsyncIterator[ConversationEvent] | None = None
        self._ending: Ending | None = None

    @property
    def ending(self) -> Ending:
        """How it went; raises `InvalidRequestError` before it has ended."""
        if self._ending is None:
            raise InvalidRequestError(
                "the conversation has not ended", hint="await it, or iterate it to its end"
            )
        return self._ending

    def __await__(self) -> Generator[Any, None, Ending]:
        return self._to_end().__await__()

    def __aiter__(self) -> AsyncIterator[ConversationEvent]:
        if self._events is None:
            self._events = self._run(stream=True)
        return self._events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close = getattr(self._events, "aclose", None)
        if close is not None:
            await close()

    async def _to_end(self) -> Ending:
        async for _ in self._run(stream=False):
            pass
        return self.ending

    async def _run(self, *, stream: bool) -> AsyncIterator[ConversationEvent]:
        chat = self._request.operation
        assert isinstance(chat, Chat)
        own = chat.tools
        offered = await self._offered(chat)
        usage = Usage()
        for turn in range(1, self._max_turns + 1):
            chat = evolve(chat, tools=(*own, *offered.visible))
            request = self._request.evolve(operation=chat, id=f"{self._request.id}.{turn}")
            if stream:
                async with self._caller.stream(request) as events:
                    async for event in events:
                        yield event
                reply = events.reply
            else:
                reply = await self._caller.call(request)
            usage += reply.usage or Usage()
            chat = evolve(chat, messages=(*chat.messages, reply.message))
            yield TurnEnded(reply, turn=turn)
            calls = reply.tool_calls
            goes_on = bool(calls) or reply.finish_reason == "paused"
            if not goes_on or turn == self._max_turns:
                self._ending = Ending(
                    reply,
                    messages=chat.messages,
                    usage=usage,
                    turns=turn,
                    stopped="max_turns" if goes_on else "answered",
                )
                return
            if not calls:
                continue  # a model that paused goes on from what it has said
            for call in calls:
                yield ToolStarted(call, target=offered.targets.get(call.name, call.name))
            results = await self._run_tools(calls, offered)
            for call, result in zip(calls, results, strict=True):
                yield ToolEnded(call, result=result)
            chat = evolve(chat, messages=(*chat.messages, Message.tool(*results)))

    async def _offered(self, chat: Chat) -> Offered:
        """What the model may use, and what of that it is shown."""
        found = await self._caller.find_tools(self._tools)
        search, context = None, None
        if found and self._defer is not False:
            search, context = await self._caller.searcher(str(self._request.target))
        return Offered(
            found,
            others=chat.tools,
            search=search,
            context=context,
            defer=self._defer,
            wanted=chat.tool_choice,
        )

    async def _run_tools(self, calls: Iterable[ToolCallPart], offered: Offered) -> list[ToolResultPart]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._run_tool(call, offered)) for call in calls]
        results = []
        for task in tasks:
            result = task.result()
            if isinstance(result, GleitzeitError):
                raise result
            results.append(result)
        return results

    async def _run_tool(self, call: ToolCallPart, offered: Offered) -> ToolResultPart | GleitzeitError:
        target = offered.targets.get(call.name)
        if target is None:
            known = ", ".join(tool.name for tool in offered.visible) or "none"
            return _failed(call, f"there is no tool {call.name!r}; known: {known}")
        if call.arguments is None:
            return _failed(call, "the arguments are not a JSON object")
        searches = offered.searches(call.name)
        try:
            async with self._slots:
                denied = await self._denied(call, target)
                if denied is not None:
                    return _failed(call, f"the call was denied: {denied}")
                request = self._request.evolve(
                    operation=ToolCall(offered.asked(call.arguments) if searches else call.arguments),
                    target=target,
                    id=f"{self._request.id}.{call.id}",
                    stream=False,
                    strategy=None,  # it was for the model's route
                    idempotency_key=None,
                )
                reply = await self._caller.call(request)
        except DeadlineError as error:
            left = self._request.remaining
            return error if left is not None and left <= 0 else _failed(call, str(error))
        except GleitzeitError as error:
            return _failed(call, str(error))
        if searches:
            offered.take(reply)
        parts = reply.parts
        if not parts and reply.data is not None:
            parts = (
                TextPart(json.dumps(reply.data, ensure_ascii=False, separators=(",", ":"), default=str)),
            )
        return ToolResultPart(call.id, name=call.name, parts=parts, is_error=reply.is_error)

    async def _denied(self, call: ToolCallPart, target: str) -> str | None:
        """Why the call may not run; None where it may. Whatever goes wrong denies."""
        if self._approve is None:
            return None
        try:
            verdict = self._approve(call, target)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Exception as error:  # noqa: BLE001 - whatever goes wrong denies
            return f"the approval raised {type(error).__name__}"
        if isinstance(verdict, Verdict):
            return None if verdict.allowed is True else verdict.reason or "not approved"
        return None if verdict is True else "not approved"


def _failed(call: ToolCallPart, text: str) -> ToolResultPart:
    return ToolResultPart(call.id, name=call.name, parts=text, is_error=True)
