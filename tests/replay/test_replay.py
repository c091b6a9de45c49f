"""The machinery of the replay, on made-up traffic: it reads, cuts up, compares, and does find faults."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from gleitzeit.errors import TruncatedStreamError
from gleitzeit.values import Reply, ToolCallPart, Usage
from tests.replay.playback import Playback, Variant, variants
from tests.replay.recordings import Interaction, Recordings
from tests.replay.runner import mismatches, run
from tests.replay.session import main
from tests.replay.table import BEGIN, END, console, page, write_page
from tests.replay.vendor import Difference, Seen, Vendor, seen

CASSETTE = """
interactions:
- request: {method: post, uri: "https://acme.test/v1/say", parsed_body: {hi: 1}}
  response: {status: {code: 200}, headers: {Content-Type: [application/json]}, parsed_body: {a: é}}
- request: {method: GET, uri: "https://acme.test/v1/list", body: null}
  response: {status: {code: 404}, headers: {}, body: {string: !!binary aGVsbG8=}}
"""
SSE = b"data: a\n\ndata: b\n\ndata: end\n\n"
WHOLE = Interaction(provider="acme", op="say", file="w.yaml", body=b'{"words": ["a", "b"]}')
STREAM = Interaction(
    provider="acme",
    op="say",
    file="s.yaml",
    body=SSE,
    stream=True,
    headers={"content-type": "text/event-stream"},
)


class Acme(Vendor):
    """A client that is right about both."""

    name = "acme"
    oracle = "acme 1"
    providers = ("acme",)
    ops = ("say",)

    async def body(self) -> bytes:
        async with self.play.client.stream("POST", "http://127.0.0.1:9/say", json={}) as response:
            return b"".join([piece async for piece in response.aiter_bytes()])

    async def ours(self, interaction: Interaction) -> Reply:
        body = await self.body()
        if not interaction.stream:
            return Reply("".join(json.loads(body)["words"]))
        words = [line.removeprefix("data: ") for line in body.decode().split()[1::2]]
        if words[-1:] != ["end"]:
            raise TruncatedStreamError("cut", partial=Reply("".join(words)))
        return Reply("".join(words[:-1]))

    async def theirs(self, interaction: Interaction) -> Seen:
        return Seen(text="ab")


def test_cassettes_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(CASSETTE, encoding="utf-8")
    rows = [
        {"file": "a.yaml", "n": n, "provider": "acme", "op": op, "stream": False}
        for n, op in enumerate(("say", "list"))
    ]
    (tmp_path / "INDEX.json").write_text(json.dumps(rows))
    first, second = Recordings(tmp_path)
    assert (first.method, first.path, first.sent, first.json) == ("POST", "/v1/say", {"hi": 1}, {"a": "é"})
    assert first.headers == {"content-type": "application/json"}
    assert (second.status, second.body, second.sent, second.name) == (404, b"hello", None, "a.yaml#1")
    assert [one.op for one in Recordings(tmp_path).find(("acme",), ("list",))] == ["list"]


@pytest.mark.parametrize("variant", [one for one in variants(STREAM) if one.cut is None], ids=str)
def test_a_variant_is_the_same_answer(variant: Variant) -> None:
    pieces = list(variant.pieces(SSE))
    body = b"".join(pieces)
    body = gzip.decompress(body) if variant.gzip else body
    assert body == (SSE.replace(b"\n", b"\r\n") if variant.crlf else SSE)
    if variant.size:
        assert {len(piece) for piece in pieces[:-1]} <= {variant.size}


def test_a_stream_is_cut_at_its_borders_and_never_at_its_end() -> None:
    assert [one.cut for one in variants(STREAM) if one.cut is not None] == [9, 18]
    assert all(one.cut is None for one in variants(WHOLE))


async def test_the_transport_gives_the_pieces_and_remembers_the_requests() -> None:
    play = Playback()
    play.load(STREAM, Variant(4))
    request = play.client.stream("POST", "http://127.0.0.1:9/say", json={"a": 1})
    async with play.client, request as response:
        pieces = [piece async for piece in response.aiter_raw()]
    assert pieces[0] == b"data"
    assert (b"".join(pieces), play.requests) == (SSE, [{"a": 1}])


async def test_what_is_equal_passes() -> None:
    tally = await run(Acme, [WHOLE, STREAM])
    assert (tally.interactions, tally.streams, tally.passed, tally.failures) == (2, 1, 2, [])
    assert tally.variants == len(variants(WHOLE)) + len(variants(STREAM))


class Deaf(Acme):
    """Loses the last word."""

    async def ours(self, interaction: Interaction) -> Reply:
        return Reply((await super().ours(interaction)).text[:-1])


class Trusting(Acme):
    """Takes a cut stream for a whole one."""

    async def ours(self, interaction: Interaction) -> Reply:
        try:
            return await super().ours(interaction)
        except TruncatedStreamError as error:
            return cast(Reply, error.partial)


class Hasty(Acme):
    """Reads a line end of one byte only."""

    async def body(self) -> bytes:
        return (await super().body()).replace(b"\r", b"#")


class Clumsy(Acme):
    """Raises what is none of our errors."""

    async def theirs(self, interaction: Interaction) -> Seen:
        raise KeyError("choices")


class Forgetful(Acme):
    """Loses state on the way back."""

    async def further(self, interaction: Interaction, reply: Reply) -> list[str]:
        return ["state: lost"]


class Angry(Acme):
    """Its SDK says that the answer is an error."""

    async def theirs(self, interaction: Interaction) -> Seen:
        return Seen(error=429)


@pytest.mark.parametrize(
    "kind, said",
    [
        (Deaf, "text: ours 'a', the SDK's 'ab'"),
        (Trusting, "cut at 9: a cut stream passed for a whole one"),
        (Hasty, "crlf: "),
        (Clumsy, "KeyError"),
        (Forgetful, "state: lost"),
        (Angry, "error: ours None, the SDK's 429"),
    ],
)
async def test_what_is_wrong_is_found(kind: type[Vendor], said: str) -> None:
    tally = await run(kind, [STREAM])
    assert tally.passed == 0
    assert any(said in failure and failure.startswith("s.yaml#0: ") for failure in tally.failures)


async def test_a_difference_explains_only_where_it_holds() -> None:
    class Known(Deaf):
        differences = (
            Difference("short", reason="r", fields=("text",), holds=lambda i, ours, _: ours.text == "a"),
            Difference("any id", reason="r", fields=("id",)),
        )

    class Wrong(Deaf):
        differences = (Difference("short", reason="r", fields=("text",), holds=lambda *_: False),)

    known, wrong = await run(Known, [WHOLE]), await run(Wrong, [WHOLE])
    assert (known.passed, known.explained, known.failures) == (1, {"short": 1}, [])
    assert (wrong.passed, len(wrong.failures)) == (0, 1)


async def test_what_is_listed_is_counted_and_not_compared() -> None:
    class Listed(Clumsy):
        listed: ClassVar = {"w.yaml#0": "an old format", "s.yaml": "a file of them"}

    tally = await run(Listed, [WHOLE, STREAM])
    assert (tally.interactions, tally.passed, len(tally.listed), tally.failures) == (2, 0, 2, [])


async def test_an_excuse_holds_only_as_long_as_there_is_a_fault() -> None:
    class Excused(Forgetful):
        excused: ClassVar = {"w.yaml#0": "too new"}

    class Stale(Acme):
        excused: ClassVar = {"w.yaml#0": "too new"}

    excused, stale = await run(Excused, [WHOLE]), await run(Stale, [WHOLE])
    assert (excused.passed, excused.explained, excused.failures) == (1, {"too new": 1}, [])
    assert "| sent back as history | too new | acme 1 |" in page([Excused], [excused])
    assert stale.failures == ["w.yaml#0: it is excused, and has no fault any more"]


@pytest.mark.parametrize(
    "theirs, fields",
    [
        (Seen(), []),
        (Seen(text="x"), ["text"]),
        (Seen(calls=(("1", "f", '{"a":1}'),)), []),
        (Seen(calls=((None, "f", {"a": 1}),)), []),
        (Seen(calls=(("2", "f", {"a": 1}),)), ["calls"]),
        (Seen(calls=(("1", "f", '{"a": 1}'),)), ["calls"]),
        (Seen(calls=()), ["calls"]),
        (Seen(usage={"input": 3, "output": None}), []),
        (Seen(usage={"input": 4}), ["usage"]),
        (Seen(usage={"input": None}), []),
        (Seen(finish="stop", model="m"), ["finish", "model"]),
    ],
)
def test_fields_that_the_sdk_tells_are_compared(theirs: Seen, fields: list[str]) -> None:
    call = ToolCallPart("1", name="f", arguments={"a": 1}, raw='{"a":1}')
    reply = Reply(["t", call], usage=Usage(input=3, output=1))
    ours = seen(reply, Interaction(provider="", op="", file="", body=b'"1"'))
    assert list(mismatches(ours, theirs)) == fields


def test_ids_that_we_made_are_not_told() -> None:
    call: Any = ToolCallPart("made", name="f", arguments={})
    (shown,) = seen(Reply([call]), WHOLE).calls or ()
    assert shown[0] is None


async def test_the_table_counts_and_the_page_gives_reasons(tmp_path: Path) -> None:
    class Known(Deaf):
        differences = (Difference("short", reason="the SDK says more", fields=("text",)),)
        listed: ClassVar = {"s.yaml": "a file of them"}

    tally = await run(Known, [WHOLE, STREAM])
    assert "acme" in console([tally], {"zeta": "no SDK"})
    assert "not replayed: zeta: no SDK" in console([tally], {"zeta": "no SDK"})
    path = tmp_path / "page.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page(path, page([Known], [tally]))
    text = path.read_text()
    assert "| acme | 2 | 1 | 1 | 1 | 1 | 2 | acme 1 |" in text
    assert "| short | the SDK says more | acme 1 |" in text
    assert "| not compared | a file of them | acme 1 |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    path.write_text("no marks")
    with pytest.raises(ValueError, match="has no"):
        write_page(path, "x")


def test_the_session_says_that_the_recordings_are_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], recorded=tmp_path) == 2
    assert "no part of the project" in capsys.readouterr().out


def test_the_session_names_the_rows_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "nobody"])
    assert "openai chat" in capsys.readouterr().err
