"""What a server refuses by name is sent otherwise, and not again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.errors import GleitzeitError, RequestError
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import Chat, Message, Reply, Stream

MODEL = "scripted-echo"


def refusal(param: str | None, message: str = "Unsupported parameter", *, code: str | None = None) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Answer(status=400, body={"error": error})


async def ask(provider: OpenAI, chat: Chat, *, stream: bool = False, **more: Any) -> Reply:
    answer = await provider.call(chat.to(MODEL, stream=stream, **more))
    return await answer.collect() if isinstance(answer, Stream) else answer


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        refusal("max_tokens", "Unsupported parameter: 'max_tokens'", code="unsupported_parameter"),
        refusal(None, "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
    ],
)
async def test_the_output_limit_takes_its_other_name(
    make: Callable[..., OpenAI], server: OpenAIServer, answer: Answer, stream: bool
) -> None:
    provider = make()
    server.answers.append(answer)
    for _ in range(2):
        assert (await ask(provider, Chat("x", max_tokens=9), stream=stream)).text
    names = [{name for name in call.json if name.startswith("max")} for call in server.requests]
    assert names == [{"max_tokens"}, {"max_completion_tokens"}, {"max_completion_tokens"}]


async def test_a_configured_name_stays(make: Callable[..., OpenAI], server: OpenAIServer) -> None:
    server.answers.append(refusal("max_tokens", code="unsupported_parameter"))
    with pytest.raises(RequestError):
        await ask(make(max_tokens_field="max_tokens"), Chat("x", max_tokens=9))


async def test_system_turns_take_their_other_role(make: Callable[..., OpenAI], server: OpenAIServer) -> None:
    message = "Unsupported value: 'messages[0].role' does not support 'system' with this model."
    server.answers.append(refusal("messages[0].role", message, code="unsupported_value"))
    provider = make()
    for _ in range(2):
        await ask(provider, Chat([Message.system("brief"), Message.user("x")]))
    roles = [call.json["messages"][0]["role"] for call in server.requests]
    assert roles == ["system", "developer", "developer"]


async def test_models_without_reasoning_are_not_asked_for_it(
    make: Callable[..., OpenAI], server: OpenAIServer
) -> None:
    server.answers.append(refusal("include", "Encrypted content is not supported with this model."))
    provider = make(api="responses")
    for _ in range(2):
        await ask(provider, Chat("x"))
    assert ["include" in call.json for call in server.requests] == [True, False, False]


@pytest.mark.parametrize("adapt", [False, True])
async def test_wishes_are_left_out_where_the_configuration_says_so(
    make: Callable[..., OpenAI], server: OpenAIServer, adapt: bool
) -> None:
    message = "Unsupported value: 'temperature' does not support 0.5 with this model."
    server.answers.append(refusal("temperature", message, code="unsupported_value"))
    provider = make(adapt=adapt)
    if not adapt:
        with pytest.raises(RequestError):
            await ask(provider, Chat("x", temperature=0.5))
        assert len(server.requests) == 1
        return
    assert (await ask(provider, Chat("x", temperature=0.5))).text
    assert ["temperature" in call.json for call in server.requests] == [True, False]


@pytest.mark.parametrize(
    "answer",
    [
        refusal("max_tokens", "max_tokens is too large: 9. This model supports at most 5."),
        refusal("temperature", "Invalid 'temperature': decimal below minimum value."),
        refusal("messages[0].content", "Unsupported content", code="unsupported_value"),
        refusal("tools", "Unsupported parameter: 'tools'", code="unsupported_parameter"),
        refusal("top_k", "Unknown parameter: 'top_k'", code="unknown_parameter"),
        Answer(status=400, body="Unsupported parameter"),
        Answer(status=500, body={"error": {"message": "not supported", "param": "temperature"}}),
    ],
)  # fmt: skip
async def test_other_refusals_are_only_told(
    make: Callable[..., OpenAI], server: OpenAIServer, answer: Answer
) -> None:
    server.answers.append(answer)
    with pytest.raises(GleitzeitError):
        await ask(make(adapt=True), Chat("x", max_tokens=9, temperature=0.5))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answers, chat",
    [
        ([refusal(f"max_{name}tokens", code="unsupported_parameter") for name in ("", "completion_")],
         Chat("x", max_tokens=9)),
        ([refusal(None, "System role not supported"), refusal(None, "Unexpected role: developer")],
         Chat([Message.system("a"), Message.user("x")])),
    ],
)  # fmt: skip
async def test_what_is_refused_either_way_is_told_and_forgotten(
    make: Callable[..., OpenAI], server: OpenAIServer, answers: list[Answer], chat: Chat
) -> None:
    provider = make()
    for count in (2, 4):
        server.answers.extend(answers)
        with pytest.raises(RequestError):
            await ask(provider, chat)
        assert len(server.requests) == count
    assert server.requests[2].json == server.requests[0].json


async def test_a_server_that_refuses_one_thing_after_the_other(
    make: Callable[..., OpenAI], server: OpenAIServer
) -> None:
    names = ("temperature", "top_p", "seed", "reasoning_effort", "stop")
    server.answers.extend(refusal(name, code="unsupported_parameter") for name in names)
    with pytest.raises(RequestError):
        await ask(make(adapt=True), Chat("x", temperature=1, top_p=1, seed=1, reasoning="low", stop=("a",)))
    assert len(server.requests) == 5


async def test_a_key_of_idempotence_stands_for_one_body(
    make: Callable[..., OpenAI], server: OpenAIServer
) -> None:
    server.answers.append(refusal("max_tokens", code="unsupported_parameter"))
    with pytest.raises(RequestError):
        await ask(make(), Chat("x", max_tokens=9), idempotency_key="k")
