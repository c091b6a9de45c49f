"""What goes wrong: errors in all their places, streams that break, pieces cut anywhere."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from gleitzeit_plugin_gemini import Gemini
from gleitzeit_plugin_gemini.frames import JSONElements, PieceParser
from gleitzeit_plugin_gemini.reader import AnswerReader
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit.errors import (
    AuthenticationError,
    DeadlineError,
    GleitzeitError,
    InvalidRequestError,
    MalformedAnswerError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerFaultError,
    TooLongError,
    TruncatedStreamError,
    UnknownModelError,
    UnsupportedError,
)
from gleitzeit.testing import strategies as some
from gleitzeit.testing.gemini_server import Answer, GeminiServer
from gleitzeit.values import Chat, Classification, Event, Finished, Reply, TextDelta
from gleitzeit.values.fold import fold
from gleitzeit.wire.errors import answer_error
from gleitzeit.wire.names import WireNames

Play = Callable[..., Awaitable[Reply]]
Parse = Callable[..., list[Event]]
LONG = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
BUSY = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.feature("S004-42")
@pytest.mark.parametrize(
    "status, word, message, kind, retryable",
    [
        (400, "INVALID_ARGUMENT", "Unknown name", InvalidRequestError, False),
        (400, "FAILED_PRECONDITION", "User location is not supported", InvalidRequestError, False),
        (400, "INVALID_ARGUMENT", LONG, TooLongError, False),
        (401, "UNAUTHENTICATED", "no", AuthenticationError, False),
        (403, "PERMISSION_DENIED", "no", PermissionDeniedError, False),
        (404, "NOT_FOUND", "models/x is not found for API version v1beta", UnknownModelError, False),
        (404, "NOT_FOUND", "Publisher Model `projects/p/models/x` was not found.", UnknownModelError, False),
        (429, "RESOURCE_EXHAUSTED", "later", RateLimitedError, True),
        (500, "INTERNAL", "oops", ServerFaultError, True),
        (503, "UNAVAILABLE", "overloaded", OverloadedError, True),
        (504, "DEADLINE_EXCEEDED", "slow", DeadlineError, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_refusals(
    server: GeminiServer,
    provider: Gemini,
    stream: bool,
    status: int,
    word: str,
    message: str,
    kind: Any,
    retryable: bool,
) -> None:
    server.answers.append(Answer.error(status, message, word=word))
    with pytest.raises(kind) as caught:
        await provider.call(Chat("hi").to("gemini-x", stream=stream))
    assert (caught.value.status, caught.value.retryable, caught.value.provider) == (status, retryable, "acme")
    assert caught.value.vendor_code == word


async def test_the_wait_that_the_body_names_is_kept(server: GeminiServer, provider: Gemini) -> None:
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
    server.answers.append(Answer.error(429, "later", word="RESOURCE_EXHAUSTED", details=[wait]))
    with pytest.raises(RateLimitedError) as caught:
        await provider.call(Chat("hi").to("gemini-x"))
    assert caught.value.retry_after == 34.4


async def test_a_quota_of_a_day_is_no_rate(server: GeminiServer, provider: Gemini) -> None:
    detail = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    server.answers.append(Answer.error(429, "quota", word="RESOURCE_EXHAUSTED", details=[detail]))
    with pytest.raises(QuotaExhaustedError):
        await provider.call(Chat("hi").to("gemini-x"))


async def test_a_wrong_key_is_told_without_it(server: GeminiServer, make: Callable[..., Gemini]) -> None:
    with pytest.raises(AuthenticationError, match="api_key") as caught:
        await make(api_key="wrong-key-12345").call(Chat("hi").to("gemini-x"))
    assert "wrong-key" not in f"{caught.value} {caught.value!r}"


async def test_without_a_key_google_is_not_asked(make: Callable[..., Gemini]) -> None:
    with pytest.raises(AuthenticationError, match="GEMINI_API_KEY") as caught:
        await make(api_key=None, base_url=None).call(Chat("hi").to("gemini-x"))
    assert caught.value.sent is False


async def test_other_operations_are_unsupported(provider: Gemini) -> None:
    with pytest.raises(UnsupportedError, match="classification"):
        await provider.call(Classification("x").to("gemini-x"))


@pytest.mark.parametrize("name", ["", "models/", "..", "tunedModels/../x"])
async def test_names_that_would_change_the_path_are_refused(
    server: GeminiServer, provider: Gemini, name: str
) -> None:
    with pytest.raises(InvalidRequestError, match="name of a model"):
        await provider.call(Chat("hi").to(name))
    assert server.requests == []


async def test_marks_in_names_are_quoted(server: GeminiServer, provider: Gemini) -> None:
    with pytest.raises(UnknownModelError):
        await provider.call(Chat("hi").to("no-x?y#z:a/b"))
    assert (
        server.requests[0].path == "/v1beta/models/no-x?y#z:a/b:generateContent"
    )  # as the server decodes it
    assert server.requests[0].query == ""


# --- streams


def sse(*items: Any, end: str = "\r\n") -> bytes:
    texts = [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items]
    return "".join(f"data: {text}{end}{end}" for text in texts).encode()


def listed(*items: Any) -> bytes:
    return json.dumps(list(items), ensure_ascii=False, indent=1).encode()


@pytest.mark.parametrize("form", [sse, listed])
def test_an_error_in_a_stream_is_raised(
    parse: Parse, candidate: Callable[..., Any], form: Callable[..., bytes]
) -> None:
    with pytest.raises(OverloadedError):
        parse(form(candidate({"text": "a"}, finish=None), BUSY))


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    "bare", [json.dumps(BUSY, indent=2), json.dumps([BUSY]), f"\n\n{json.dumps(BUSY)}\n"]
)
def test_an_error_that_stands_bare_behind_events_is_raised(
    parse: Parse, candidate: Callable[..., Any], bare: str, size: int
) -> None:
    data = sse(candidate({"text": "a"}, finish=None)) + bare.encode()
    with pytest.raises(OverloadedError):
        parse(*(data[at : at + size] for at in range(0, len(data), size)))


def test_a_cut_array_is_cut_whatever_its_content_speaks_of(
    parse: Parse, candidate: Callable[..., Any]
) -> None:
    call = {"functionCall": {"name": "report", "args": {"found": [{"error": {"code": 503}}]}}}
    data = json.dumps([candidate(call)], indent=2).encode()
    with pytest.raises(TruncatedStreamError):
        parse(data[: data.index(b"503") + 10])


def test_words_about_errors_in_the_text_are_no_error(parse: Parse, candidate: Callable[..., Any]) -> None:
    text = '\n{"error": {"code": 503}}'
    assert fold(parse(sse(candidate({"text": text})))).text == text
    with pytest.raises(TruncatedStreamError):
        parse(sse(candidate({"text": text}, finish=None)))


@pytest.mark.parametrize("form", [sse, listed])
def test_a_stream_cut_anywhere_is_an_error_until_its_mark_has_come(
    parse: Parse, candidate: Callable[..., Any], form: Callable[..., bytes]
) -> None:
    pieces = [candidate({"text": text}, finish=None) for text in ("Grüße ", "你好")]
    data = form(*pieces, candidate({"text": "😀"}))
    whole = fold(parse(data))
    complete = 0
    for cut in range(len(data)):
        try:
            reply = fold(parse(data[:cut]))
        except TruncatedStreamError:
            assert not complete, "once the mark has come, nothing that is missing is missed"
        else:
            complete += 1
            assert reply == whole
    assert 0 < complete < 10


@pytest.mark.parametrize("data", [b"", b"\n\n", b"[]", b": ping\n\n", b"[\n", b"data: \n\n"])
def test_nothing_is_no_answer(parse: Parse, data: bytes) -> None:
    with pytest.raises(TruncatedStreamError):
        parse(data)


@pytest.mark.parametrize(
    "data", [b"<html><title>Bad gateway</title>", b"data: {broken}\n\n", b'data: ["x"]\n\n']
)
def test_what_is_no_answer_is_malformed(parse: Parse, data: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        parse(data)


@pytest.mark.parametrize(
    "body", [b"<html>", b"nonsense", b'{"candidates": 5}', b'{"candidates": [{"content": 5}]}']
)
def test_whole_answers_that_are_none_are_malformed(whole: Callable[[Any], Reply], body: bytes) -> None:
    with pytest.raises(MalformedAnswerError):
        whole(body)


def test_half_a_surrogate_pair_does_not_break_an_answer(whole: Callable[[Any], Reply]) -> None:
    body = rb'{"candidates": [{"content": {"parts": [{"text": "a\ud83d"}]}, "finishReason": "STOP"}]}'
    assert whole(body).text == "a\N{REPLACEMENT CHARACTER}"


async def test_a_broken_stream_tells_what_had_come(play: Play) -> None:
    for fault in ("reset", "close", "cut"):
        with pytest.raises(GleitzeitError) as caught:
            await play(text="one two three", fault=fault, after=2)
        assert caught.value.partial.text == "one two"
        assert caught.value.partial.usage.output == 2


async def test_a_connection_that_breaks_after_the_end_is_no_failure(play: Play) -> None:
    assert (await play(text="one two", fault="reset", after=2)).text == "one two"


# --- objects out of bytes


@given(
    objects=st.lists(
        st.dictionaries(some.texts(6) | st.just('"\\{['), some.json_values(), max_size=3), max_size=4
    ),
    cuts=st.lists(st.integers(0, 400), max_size=8),
    indent=st.sampled_from([None, 2]),
)
def test_objects_of_an_array_cut_anywhere(objects: list[Any], cuts: list[int], indent: int | None) -> None:
    data = json.dumps(objects, ensure_ascii=False, indent=indent).encode()
    borders = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    splitter = JSONElements()
    found = [
        element for start, end in itertools.pairwise(borders) for element in splitter.feed(data[start:end])
    ]
    assert [json.loads(element) for element in found] == objects
    assert not splitter.inside


def test_an_object_without_end_is_refused() -> None:
    splitter = JSONElements(limit=100)
    splitter.feed(b'{"a": "' + b"x" * 80)
    with pytest.raises(MalformedAnswerError, match="larger than 100 bytes"):
        splitter.feed(b"x" * 80)


@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_no_bytes_break_the_parser(data: bytes, cut: int) -> None:
    events: deque[Event] = deque()
    parser = PieceParser(AnswerReader(WireNames(), "o"), answer_error)
    try:
        parser.feed(data[:cut], events)
        parser.feed(data[cut:], events)
        parser.close(events)
    except GleitzeitError:
        return
    assert isinstance(events[-1], Finished)


def test_text_only_ever_grows(parse: Parse, candidate: Callable[..., Any]) -> None:
    events = parse(
        sse(candidate({"text": "a"}, finish=None), candidate({"text": "b", "thoughtSignature": "QQ=="}))
    )
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert texts == ["a", "b"]
    assert fold(events).text == "ab"
