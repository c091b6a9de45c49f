"""Sound, log probabilities, citations and verdicts of filters in chat completions."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from gleitzeit_plugin_openai import OpenAI

from gleitzeit.testing.openai_server import OpenAIServer
from gleitzeit.values import AudioPart, Chat, Message, ProviderState, Reply

SPEAK = Chat(
    "hi", options={"openai": {"modalities": ["text", "audio"], "audio": {"format": "mp3", "voice": "x"}}}
)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_a_spoken_answer_is_sound_with_its_transcript(play: Callable[..., Awaitable[Reply]]) -> None:
    audio = {"id": "audio_1", "data": encoded(b"abcd"), "transcript": "Hello.", "expires_at": 1}
    body = {"choices": [{"message": {"content": None, "audio": audio}, "finish_reason": "stop"}]}
    reply = await play(body=body, chat=SPEAK)
    (sound,) = [part for part in reply.parts if isinstance(part, AudioPart)]
    assert (reply.text, sound.data, sound.media_type) == ("Hello.", b"abcd", "audio/mpeg")


async def test_a_spoken_stream_is_the_same(
    play: Callable[..., Awaitable[Reply]], chunk: Callable[..., Any]
) -> None:
    reply = await play(
        chunk(audio={"id": "audio_1", "transcript": "Hel"}),
        chunk(audio={"data": encoded(b"a")}),
        chunk(audio={"transcript": "lo."}),
        chunk(audio={"data": encoded(b"bcd")}),
        chunk(finish="stop"),
        chat=SPEAK,
    )
    assert reply.text == "Hello."
    assert [part.data for part in reply.parts if isinstance(part, AudioPart)] == [b"abcd"]


async def test_what_was_spoken_goes_back_by_its_id(
    play: Callable[..., Awaitable[Reply]], server: OpenAIServer, make: Callable[..., OpenAI]
) -> None:
    audio = {"id": "audio_1", "data": encoded(b"abcd"), "transcript": "Hello."}
    body = {"choices": [{"message": {"content": None, "audio": audio}, "finish_reason": "stop"}]}
    reply = await play(body=body, chat=SPEAK)
    turns = [Message.user("hi"), reply.message, Message.user("on")]
    sent = await _sent(make(), server, turns)
    assert sent == {"role": "assistant", "audio": {"id": "audio_1"}}
    # Elsewhere the sound is dropped alone.
    foreign = AudioPart(data=b"x", provider_state=ProviderState("another", data="y"))
    sent = await _sent(make(), server, [Message.user("hi"), Message.assistant(["Hello.", foreign])])
    assert sent == {"role": "assistant", "content": "Hello."}


async def _sent(provider: OpenAI, server: OpenAIServer, turns: list[Message]) -> Any:
    await provider.call(Chat(turns).to("scripted-echo"))
    return server.requests[-1].json["messages"][1]


async def test_log_probabilities_are_in_the_data_of_the_reply(
    play: Callable[..., Awaitable[Reply]], chunk: Callable[..., Any]
) -> None:
    def likely(token: str) -> dict[str, Any]:
        made: dict[str, Any] = chunk(content=token)
        made["choices"][0]["logprobs"] = {"content": [{"token": token, "logprob": -0.5}], "refusal": None}
        return made

    reply = await play(likely("a"), likely("b"), chunk(finish="stop"))
    assert reply.data == {
        "logprobs": {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -0.5}]}
    }


async def test_citations_are_in_the_data_of_the_reply(play: Callable[..., Awaitable[Reply]]) -> None:
    cited = [{"type": "url_citation", "url_citation": {"url": "https://example.org"}}]
    body = {"choices": [{"message": {"content": "a", "annotations": cited}, "finish_reason": "stop"}]}
    assert (await play(body=body)).data == {"annotations": cited}


async def test_an_ordinary_answer_has_no_data(play: Callable[..., Awaitable[Reply]]) -> None:
    message: dict[str, Any] = {"content": "a", "annotations": [], "refusal": None, "audio": None}
    body = {"choices": [{"message": message, "finish_reason": "stop", "logprobs": None}]}
    assert (await play(body=body)).data is None
