"""The base of HTTP providers: what a vendor that writes next to nothing gets."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr, ValidationError

from gleitzeit.errors import (
    AuthenticationError,
    ConfigError,
    GleitzeitError,
    MalformedAnswerError,
    PermissionDeniedError,
    UnsupportedError,
)
from gleitzeit.hookspecs import check_hooks
from gleitzeit.testing import FakeContext
from gleitzeit.testing.loopback import Call, LoopbackServer
from gleitzeit.values import (
    Chat,
    Completion,
    Embedding,
    Event,
    Finished,
    Invoke,
    Limit,
    Model,
    RateLimits,
    Reply,
    Request,
    Started,
    Stream,
    TextDelta,
    ToolCall,
)
from gleitzeit.wire import provider as base
from gleitzeit.wire.connection import ConnectionConfig
from gleitzeit.wire.exchange import decoded, encode
from gleitzeit.wire.provider import HttpProvider
from gleitzeit.wire.vectors import Batch, collected, numbers

KEY = "acme-canary-0123456789"


class AcmeConfig(ConnectionConfig):
    base_url: str = "https://api.acme.invalid"

    @property
    def official(self) -> bool:
        return self.host == "api.acme.invalid"


class Words:
    """One JSON document with all words, whole or streamed."""

    complete = ended = False
    limits: RateLimits | None = None

    def __init__(self) -> None:
        self._body = b""

    def feed(self, chunk: bytes, events: deque[Event]) -> None:
        self._body += chunk

    def close(self, events: deque[Event]) -> None:
        self.complete = self.ended = True
        self.whole(self._body, events)

    def whole(self, body: bytes, events: deque[Event]) -> None:
        events.append(Started(limits=self.limits))
        events.append(TextDelta(decoded(body, "the answer")["text"]))
        events.append(Finished("stop"))


class Acme(HttpProvider):
    Config: ClassVar[Any] = AcmeConfig
    key_variable: ClassVar[str | None] = "ACME_API_KEY"

    async def chat(self, request: Request, chat: Chat) -> Reply | Stream:
        body = {"model": request.name, "text": chat.messages[-1].text}
        return await self.generate(request.stream, self.url("/chat"), body, Words(), {"X-Call": "1"})

    async def provide_models(self) -> list[Model]:
        return await self.listed(self.url("/models"), _models)


def _models(body: bytes) -> tuple[list[Model], dict[str, str] | None]:
    page = decoded(body, "the list")
    return [Model(name) for name in page["names"]], page.get("next")


class Server(LoopbackServer):
    """Echoes, lists two pages of models, and wants `keys`."""

    def __init__(self) -> None:
        super().__init__(self.serve)
        self.key = KEY
        self.fail: tuple[str, int] | None = None

    async def serve(self, call: Call) -> None:
        status, answer = 200, {"text": (call.json or {}).get("text", "")}
        if call.path == "/models":
            answer = {
                "names": ["a", "b"] if call.query else ["a"],
                "next": None if call.query else {"p": "2"},
            }
        if call.headers.get("authorization") != f"Bearer {self.key}":
            status = 401
        elif self.fail is not None and call.path == self.fail[0]:
            status = self.fail[1]
        await call.send(status, {"x-ratelimit-remaining-requests": "7"}, json.dumps(answer).encode())


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running


@pytest.fixture
async def context() -> AsyncIterator[FakeContext]:
    async with FakeContext("acme") as made:
        yield made


@pytest.fixture
def make(server: Server, context: FakeContext) -> Callable[..., Acme]:
    def build(**config: Any) -> Acme:
        return Acme(AcmeConfig(**{"base_url": server.address, "api_key": KEY, **config}), context)

    return build


async def ask(acme: Acme, text: str = "hi", *, stream: bool = False) -> Reply:
    answer = await acme.call(Chat(text).to("a", stream=stream))
    return await answer.collect() if isinstance(answer, Stream) else answer


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_is_sent_with_key_and_headers(make: Any, server: Server, stream: bool) -> None:
    reply = await ask(make(headers={"X-Team": "blue"}), stream=stream)
    call = server.requests[0]
    assert (reply.text, call.json) == ("hi", {"model": "a", "text": "hi"})
    sent = [call.headers[name] for name in ("authorization", "x-team", "x-call", "content-type")]
    assert sent == [f"Bearer {KEY}", "blue", "1", "application/json"]
    assert reply.limits is not None
    assert reply.limits.requests == Limit(remaining=7)


async def test_a_completion_is_a_chat_and_all_else_is_refused(make: Any, server: Server) -> None:
    acme = make()
    reply = await acme.call(Completion("once").to("a"))
    assert isinstance(reply, Reply)
    assert reply.text == "once"
    for operation in (Embedding("x"), Invoke("dance"), ToolCall({})):
        with pytest.raises(UnsupportedError, match="ask for chat or completion") as refused:
            await acme.call(operation.to("a"))
        assert (refused.value.sent, refused.value.provider) == (False, "acme")
    assert len(server.requests) == 1
    assert {"call", "health", "lifespan", "provide_models"} <= set(check_hooks(acme, "acme"))


async def test_a_list_in_pages_is_one(make: Any, server: Server) -> None:
    assert [model.name for model in await make().provide_models()] == ["a", "b"]
    assert [call.query for call in server.requests] == ["", "p=2"]


async def test_health_goes_by_calls_and_else_by_the_list(make: Any, server: Server) -> None:
    acme = make()
    assert (await acme.health()).detail == "2 models"
    await ask(acme)
    count = len(server.requests)
    assert (await acme.health()).detail == "the last call went well"
    assert len(server.requests) == count
    server.fail = ("/models", 403)  # who may call need not be allowed to list
    assert (await acme.health(deep=True)).status == "ok"
    assert (await make().health()).status == "unknown"
    server.fail = ("/chat", 403)
    with pytest.raises(PermissionDeniedError):
        await ask(acme)
    assert (await acme.health()).status == "error"
    assert (await make(api_key="wrong-key").health()).status == "error"


async def test_an_official_server_is_not_asked_without_a_key(context: FakeContext) -> None:
    with pytest.raises(AuthenticationError, match="or the variable ACME_API_KEY") as refused:
        await ask(Acme(AcmeConfig(), context))
    assert refused.value.sent is False
    assert context.renewals == 0


# --- secrets


def renewed(server: Server, context: FakeContext, key: str) -> None:
    server.key = key
    context.fresh = AcmeConfig(base_url=server.address, api_key=SecretStr(key))


@pytest.mark.parametrize("stream", [False, True])
async def test_fresh_secrets_are_sent_once_more(
    make: Any, server: Server, context: FakeContext, stream: bool
) -> None:
    acme = make()
    renewed(server, context, "acme-fresh-0123")
    assert (await ask(acme, stream=stream)).text == "hi"
    assert (await ask(acme, stream=stream)).text == "hi"
    assert (len(server.requests), context.renewals) == (3, 1)
    assert {"acme-fresh-0123", KEY} <= set(acme.exchange.secrets)


async def test_many_refusals_ask_for_secrets_once(make: Any, server: Server, context: FakeContext) -> None:
    acme = make()
    renewed(server, context, "acme-fresh-0123")
    replies = await asyncio.gather(*(ask(acme, str(n)) for n in range(8)))
    assert [reply.text for reply in replies] == [str(n) for n in range(8)]
    assert context.renewals == 1


async def test_secrets_that_are_as_they_were_are_left_alone_for_a_while(
    make: Any, server: Server, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_PATIENCE", 1e9)
    server.key = "another"
    acme = make()
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            await ask(acme)
    assert (len(server.requests), context.renewals) == (3, 1)
    monkeypatch.setattr(base, "_PATIENCE", 0.0)
    renewed(server, context, "acme-fresh-0123")
    assert (await ask(acme)).text == "hi"


async def test_secrets_that_are_gone_leave_the_refusal_as_it_is(
    make: Any, server: Server, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(config: Any) -> Any:
        raise ConfigError("there is no secret any more")

    monkeypatch.setattr(context, "renewed", gone)
    server.key = "another"
    with pytest.raises(AuthenticationError):
        await ask(make())


# --- connections


async def test_a_client_of_its_own_lives_as_long_as_the_instance(make: Any) -> None:
    for config in ({"verify_ssl": False}, {"proxy": "http://127.0.0.1:9"}):
        acme = make(**config)
        async with acme.lifespan():
            await ask(acme)
            own = acme._own
            assert own is not None
        assert own.is_closed
    with pytest.raises(ConfigError, match=r"\[providers.acme\] ca_file"):
        await ask(make(ca_file="/nowhere/ca.pem"))


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "ftp://x"},
        {"base_url": "https://user:hunter2@x"},
        {"base_url": "https://x?key=hunter2"},
        {"api_key": "hunter2\n"},
        {"headers": {"X": "hunter2\u00fc"}},
        {"headers": {"": "x"}},
        {"proxy": "hunter2"},
        {"proxy": "ftp://u:hunter2@x"},
        {"read_timeout": 0},
        {"unknown": 1},
    ],
)
def test_what_cannot_hold_is_refused_without_showing_it(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        AcmeConfig(**given)
    assert "hunter2" not in str(caught.value)


def test_what_an_address_says() -> None:
    config = AcmeConfig(
        base_url="http://[::1]:80/v1/", api_key=SecretStr(KEY), headers={"X": SecretStr("abc")}
    )
    assert (config.root, config.host, config.site, config.loopback) == (
        "http://[::1]:80/v1",
        "::1",
        "[::1]:80",
        True,
    )
    assert config.secrets == (KEY,)
    assert KEY not in repr(config)
    assert not AcmeConfig().loopback


# --- bodies and vectors


def test_json_that_is_none_is_our_error() -> None:
    for body in ("\ud800", {"x": object()}):
        with pytest.raises(GleitzeitError):
            encode(body)
    for data in (b"{", b"\xff", b"[" * 5000):
        with pytest.raises(MalformedAnswerError, match="the list is not JSON"):
            decoded(data, "the list")


async def test_vectors_of_several_answers_are_one_reply(make: Any, server: Server) -> None:
    acme = make()

    def read(body: bytes, count: int) -> Batch:
        return Batch([numbers([1, 2.5])] * count, None, None)

    bodies = ((count, {"text": str(count)}) for count in (2, 1))
    reply = await collected(bodies, lambda body: acme.fetch("POST", acme.url("/vectors"), body), read)
    assert reply.vectors == ((1.0, 2.5),) * 3
    assert len(server.requests) == 2
    with pytest.raises(MalformedAnswerError):
        numbers(["x"])
