"""Traffic that others recorded, over a socket and through the parser alone.

What all of it means, compared with the vendor's SDK, is in `tests/replay/vendors/openai_chat.py`, whose
differences by design go beside those that `test_oracle` lists. The recordings are no part of the
repository; without them these tests are skipped.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from gleitzeit_plugin_openai import OpenAI

from gleitzeit.testing import FakeContext
from gleitzeit.testing.faulty import Answer, FaultyServer
from gleitzeit.testing.loopback import Call
from gleitzeit.values import Chat, Event, Reply, Stream
from gleitzeit.values.fold import fold
from tests.replay.recordings import Interaction, Recordings

pytestmark = pytest.mark.shared


class Recorded(FaultyServer[Answer]):
    """Says what is in the queue, whatever is asked."""

    prefix = "/v1"

    def respond(self, call: Call) -> Answer:
        return self.answers.popleft()


@pytest.fixture(scope="module")
def streams(shared: Path) -> list[Interaction]:
    """The recorded streams of OpenAI's chat completions."""
    return [one for one in Recordings(shared / "recorded").find(("openai",), ("chat",)) if one.stream]


@pytest.mark.feature("S004-03")
async def test_streams_over_a_socket_in_awkward_pieces(streams: list[Interaction]) -> None:
    async with Recorded() as server, FakeContext("p") as context:
        provider = OpenAI(OpenAI.Config(base_url=server.url), context)

        async def said(body: bytes, chunk: int, packed: bool) -> Reply:
            server.answers.append(Answer(frames=[body], chunk=chunk, gzip=packed))
            stream = await provider.call(Chat("hi").to("m", stream=True))
            assert isinstance(stream, Stream)
            return await stream.collect()

        for one in streams[:3]:
            crlf = one.body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            whole = await said(one.body, 0, False)
            assert whole.finish_reason is not None
            for body, chunk, packed in ((crlf, 3, False), (one.body, 7, True)):
                assert await said(body, chunk, packed) == whole


def test_the_text_of_a_stream_only_ever_grows(
    streams: list[Interaction], parse: Callable[..., list[Event]]
) -> None:
    """What was shown is never taken back: each prefix of the events is a prefix of the answer."""
    for one in streams:
        events = parse(one.body)
        texts = [fold(events[:end]).text for end in range(len(events) + 1)]
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
