"""What a provider refuses, and whatever else comes in place of an answer, is one clear error.

Every vendor's refusals in its own words (`refusals`), and every odd body that a gateway may send, asked
for whole and as a stream: the class, status, vendor's word, next step, wait and raw body are right, it is
said that something was sent and whether to ask again, and no key is shown.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gleitzeit import Host
from gleitzeit.errors import AuthenticationError, GleitzeitError, InvalidRequestError, MalformedAnswerError
from gleitzeit.testing.loopback import Call, LoopbackServer
from tests.end_to_end.dialects.words import KEY, SENTENCE
from tests.end_to_end.refusals import ODD, REFUSALS, Refusal
from tests.end_to_end.talk import WAYS, ask, shown, talking
from tests.end_to_end.voices import NAMES, VOICES

WRONG = "wrong-canary-0123456789"


def _cases() -> list[Any]:
    return [
        pytest.param(name, refusal, id=f"{name}: {refusal.what}")
        for name in NAMES
        for refusal in REFUSALS[VOICES[name].plugin]
    ]


def check(error: GleitzeitError, refusal: Refusal, name: str) -> None:
    """It is the error that the table says, with everything that the vendor said."""
    assert type(error) is refusal.error
    assert (error.provider, error.status, error.sent) == (name, refusal.status, True)
    assert (error.retryable, error.retry_after) == (refusal.passes, refusal.wait)
    assert error.hint, "every error has a next step"
    assert refusal.hint in error.hint
    assert error.body == refusal.raw
    assert error.message.startswith(f"{name}: HTTP {refusal.status}")
    if refusal.code is not None:
        assert error.vendor_code == refusal.code


@pytest.mark.feature("S002-14", "S004-42")
@pytest.mark.parametrize("name, refusal", _cases())
async def test_a_refusal_in_the_vendors_words(
    name: str, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    voice = VOICES[name]
    async with talking(name) as (host, server):
        for number, stream in enumerate((False, True), start=1):
            said = voice.says(status=refusal.status, headers=refusal.headers, body=refusal.raw)
            server.answers.append(said)
            with pytest.raises(GleitzeitError) as caught:
                await ask(host, name, stream=stream, model=f"m-{number}")
            check(caught.value, refusal, name)
            assert KEY not in shown(caught.value, caplog)
            assert len(server.requests) == number
        server.answers.append(voice.answer(voice.dialect.sentence(), False))
        assert (await ask(host, name, stream=False, model="m-0")).text == SENTENCE


@pytest.mark.feature("S002-14")
@WAYS
@pytest.mark.parametrize("name", NAMES)
async def test_a_body_of_any_shape(name: str, stream: bool) -> None:
    """One host for all: none of them spoils what comes after it."""
    async with talking(name) as (host, server):
        for number, refusal in enumerate(ODD):
            body = refusal.body if isinstance(refusal.body, str) else refusal.raw
            answer = VOICES[name].says(status=refusal.status, headers=refusal.headers, body=body)
            server.answers.append(answer)
            with pytest.raises(GleitzeitError) as caught:
                await ask(host, name, stream=stream, model=f"m-{number}")
            try:
                check(caught.value, refusal, name)
            except AssertionError as problem:
                raise AssertionError(f"{refusal.what}: {problem}") from None
        assert len(server.requests) == len(ODD)


@pytest.mark.feature("S002-20")
@WAYS
@pytest.mark.parametrize("name", NAMES)
async def test_a_wrong_key_is_told_without_it(
    name: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The server quotes the key, as some do."""
    caplog.set_level(logging.DEBUG)
    async with talking(name, WRONG) as (host, server):
        with pytest.raises(AuthenticationError, match="set `") as caught:
            await ask(host, name, stream=stream)
        assert caught.value.sent is True
        assert WRONG in str(server.requests[0].headers)
        assert WRONG not in shown(caught.value, caplog)
        assert WRONG not in repr(await host.health())


@WAYS
@pytest.mark.parametrize("name", NAMES)
async def test_a_missing_key_is_told_by_a_server_that_wants_one(name: str, stream: bool) -> None:
    async with talking(name, None) as (host, _):
        with pytest.raises(AuthenticationError, match="set `") as caught:
            await ask(host, name, stream=stream)
    assert caught.value.provider == name


@WAYS
@pytest.mark.parametrize("name", [name for name in NAMES if VOICES[name].official is not None])
async def test_a_missing_key_is_told_before_the_vendor_is_asked(name: str, stream: bool) -> None:
    voice = VOICES[name]
    config = {"plugin": voice.plugin, **voice.config, **(voice.official or {})}
    async with Host({"providers": {name: config}}, environ={}) as host:
        with pytest.raises(AuthenticationError, match="set `") as caught:
            await ask(host, name, stream=stream)
    assert (caught.value.provider, caught.value.sent) == (name, False)


@WAYS
@pytest.mark.parametrize("status", [301, 307, 308])
@pytest.mark.parametrize("name", NAMES)
async def test_a_redirect_takes_no_key_elsewhere(name: str, status: int, stream: bool) -> None:
    async def never(call: Call) -> None:
        await call.send(200, {}, b"{}")

    async with LoopbackServer(never) as elsewhere, talking(name) as (host, server):
        headers = {"location": f"{elsewhere.address}/v1/chat/completions"}
        server.answers.append(VOICES[name].says(status=status, headers=headers, body=""))
        with pytest.raises(MalformedAnswerError, match=r"redirect.*base_url") as caught:
            await ask(host, name, stream=stream)
        assert elsewhere.requests == []
    assert (caught.value.status, caught.value.retryable, caught.value.sent) == (status, False, True)


@pytest.mark.parametrize("name", NAMES)
async def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(name: str) -> None:
    config = VOICES[name].configure("http://127.0.0.1:9", f"{WRONG}\n")
    with pytest.raises(GleitzeitError) as caught:
        async with Host({"providers": {name: config}}, environ={}) as host:
            await ask(host, name, stream=False)
    assert not isinstance(caught.value, InvalidRequestError)
    assert WRONG not in f"{caught.value} {caught.value!r}"
