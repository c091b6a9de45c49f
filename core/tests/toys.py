"""Providers that tests of the corridor share."""

import asyncio

from gleitzeit import Chat, Finished, Host, Model, Provider, Reply, Stream, TextDelta, Usage
from gleitzeit.discovery import Index
from gleitzeit.values import Tool

__all__ = ["Good", "failing", "host", "route", "running"]


class Good(Provider):
    """Answers, whole or streamed, and notes what it was asked."""

    def __init__(self, config, context):
        super().__init__(config, context)
        self.requests = []
        self.closed = asyncio.Event()
        self.waiting = asyncio.Event()

    def provide_models(self):
        yield Model("m", operations={Chat})
        yield Model("slow")
        yield Model("stall")

    async def call(self, request):
        self.requests.append(request)
        if request.name == "slow":
            self.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.closed.set()
        if request.stream:
            return Stream(self.events(request))
        return Reply("good", finish_reason="stop", usage=Usage(input=1, output=1))

    async def events(self, request):
        try:
            yield TextDelta("go")
            if request.name == "stall":
                self.waiting.set()
                await asyncio.Event().wait()
            yield TextDelta("od")
            yield Finished("stop", usage=Usage(input=1, output=1))
        finally:
            self.closed.set()


def failing(error, *, tools=False):
    """A provider whose every call raises `error`, or gives it as its answer where it is no exception."""

    class Failing(Provider):
        asked = 0

        def provide_models(self):
            return () if tools else [Model("m")]

        def provide_tools(self):
            return [Tool("t")] if tools else ()

        async def call(self, request):
            type(self).asked += 1
            if isinstance(error, BaseException):
                raise error
            return error

    return Failing


def route(*targets):
    return {"routes": {"r": {"targets": list(targets)}}}


def host(config=None, **plugins):
    return Host(config or {}, plugins={"good": Good, **plugins}, environ={}, index=Index(()))


def running(host, name="good"):
    return host._registry.find("provider", name).object
