"""What the tests at real servers have in common: what the model knows, and one way to ask for it."""

from __future__ import annotations

from gleitzeit import Chat, Host, Provider, Reply
from gleitzeit.conversation import Ending
from gleitzeit.values import Event, Request, Tool
from tests.realserver.model import TOOL

__all__ = [
    "CITIES",
    "HELLO",
    "PROMPT",
    "ROUND_TRIPS",
    "TOKENS",
    "WEATHER",
    "Weather",
    "answer",
    "ask",
    "converse",
]

HELLO = "Hello there! Grüße 你好 😀."
#: Its tokens, without the one that ends the answer; some servers count that, too.
TOKENS = 13
#: The prompt of `hi` as the template of the model writes it.
PROMPT = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
WEATHER = Tool(TOOL["name"], description=TOOL["description"], input_schema=TOOL["parameters"])
#: The calls that the model makes for both cities.
CITIES = [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Oslo"})]
#: Questions, and the sentences that the model says once it was told the weather.
ROUND_TRIPS = [
    ("weather in Paris", "It is sunny in Paris."),
    ("weather in Paris and Oslo", "Sun in Paris, snow in Oslo."),
]


class Weather(Provider):
    """The tool that the model knows."""

    sky = {"Paris": "sunny", "Oslo": "snow"}  # noqa: RUF012 - read only

    def provide_tools(self):
        yield WEATHER

    async def call(self, request):
        return Reply(self.sky[request.operation.arguments["city"]])


def ask(prompt, target, **fields) -> Request:
    """A chat, with the patience that a busy machine needs."""
    return Chat(prompt, temperature=0.0, **fields).to(target, timeout=300)


async def answer(host: Host, request: Request, stream: bool) -> tuple[Reply, list[Event]]:
    """The reply, and the events where it was streamed."""
    if not stream:
        return await host.call(request), []
    async with host.stream(request) as events:
        seen = [event async for event in events]
    return events.reply, seen


async def converse(host: Host, request: Request, stream: bool) -> Ending:
    """A conversation with the tool, to its end."""
    # The model knows this tool and no other, however small its window is.
    conversation = host.converse(request, tools=[WEATHER.name], defer=False)
    if not stream:
        return await conversation
    async with conversation:
        async for _ in conversation:
            pass
    return conversation.ending
