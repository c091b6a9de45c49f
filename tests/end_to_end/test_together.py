"""Models, tools and guards of several packages through one host, from one gleitzeit.toml."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from gleitzeit import BlockingHost, Chat, Embedding, Host, TextDelta, ToolCall
from gleitzeit.conversation import ToolEnded
from gleitzeit.discovery import scan
from gleitzeit.errors import GleitzeitError
from gleitzeit.testing.openai_server import Answer, OpenAIServer
from gleitzeit.values import ReadResource
from tests.end_to_end.conftest import CONFIG, Place


async def test_one_host_reaches_models_and_tools_of_every_plugin(host: Callable[..., Host]) -> None:
    async with host() as h:
        asked = await asyncio.gather(
            h.call(Chat("you").to("scripted/echo")),
            h.call(Chat("you").to("wire/good")),
            h.call(Embedding(["a", "b"]).to("wire/vectors")),
            h.call(ToolCall({"timezone": "Asia/Tokyo"}).to("time/get_current_time")),
            h.call(ToolCall({"repo_path": "."}).to("git/git_log")),
        )
    assert [reply.text for reply in asked[:2]] == ["you", "all is well with you"]
    assert [len(vector) for vector in asked[2].vectors or ()] == [8, 8]
    assert json.loads(asked[3].text)["timezone"] == "Asia/Tokyo"
    assert "Add a note" in asked[4].text


async def test_a_stream_over_http_is_the_call_in_pieces(host: Callable[..., Host]) -> None:
    async with host() as h:
        async with h.stream(Chat("you").to("wire/good")) as stream:
            pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
        whole = await h.call(Chat("you").to("wire/good"))
    assert len(pieces) > 1
    assert ("".join(pieces), stream.reply.usage, stream.reply.finish_reason) == (
        whole.text,
        whole.usage,
        whole.finish_reason,
    )


async def test_a_model_behind_http_uses_a_tool_behind_stdio(
    host: Callable[..., Host], upstream: OpenAIServer
) -> None:
    question = Chat('get_current_time {"timezone": "Asia/Tokyo"}')
    async with host() as h:
        async with h.converse(question.to("wire/tools"), tools=["time/*", "git/git_log"]) as conversation:
            results = [event.result async for event in conversation if isinstance(event, ToolEnded)]
        ending = conversation.ending
    assert [result.is_error for result in results] == [False]
    assert "Asia/Tokyo" in ending.text
    assert ending.stopped == "answered"
    first = upstream.requests[0].json
    assert sorted(tool["function"]["name"] for tool in first["tools"]) == [
        "git__git_log",
        "time__convert_time",
        "time__get_current_time",
    ]


async def test_a_route_falls_back_over_two_failures(host: Callable[..., Host]) -> None:
    async with host() as h:
        reply = await h.call(Chat("you").to("careful"))
        streamed = await h.stream(Chat("you").to("careful")).collect()
    for answer in (reply, streamed):
        assert (str(answer.target), answer.text) == ("scripted/echo", "you")
        assert [str(attempt.target) for attempt in answer.attempts] == ["nobody/m", "wire/broken"]


async def test_health_shows_every_instance_and_its_sandbox(host: Callable[..., Host]) -> None:
    async with host() as h:
        implicit = {instance.name for instance in h.config.instances if instance.implicit}
        table = {row.name: row for row in await h.health(deep=True) if row.name not in implicit}
    assert {name: row.health.status for name, row in table.items()} == {
        "scripted": "ok",
        "wire": "ok",
        "remote": "ok",
        "nobody": "error",
        "time": "ok",
        "git": "ok",
        "limits": "ok",
    }
    assert {name: row.sandbox for name, row in table.items() if row.sandbox} == {
        "time": "none",
        "git": "none",
    }


def test_the_blocking_host_is_the_same_host(place: Place) -> None:
    path = place.write("gleitzeit.toml", CONFIG)
    with BlockingHost(path, environ=place.environ, index=scan()) as host:
        assert host.call(Chat("you").to("default")).text == "you"
        assert "Add a note" in host.call(ToolCall({"repo_path": "."}).to("git/git_log")).text
        ending = host.converse(Chat('call git_log {"repo_path": "."}').to("scripted/tools"), tools=["git/*"])
    assert "Add a note" in ending.text


def test_the_command_line_reaches_the_same(place: Place, elsewhere: str) -> None:
    place.environ["WIRE"] = elsewhere
    assert place.run("chat", "you").out == "you\n"
    assert place.run("chat", "-m", "wire/good", "you").out == "all is well with you\n"
    assert "Add a note" in place.run("tool", "git/git_log", "repo_path=.").out
    assert "git/git_commit" in place.run("tools", "--live", "--names").out.split()


def test_a_listing_starts_nothing_and_shows_what_is_unconfined(place: Place) -> None:
    rows = {row["instance"]: row for row in json.loads(place.run("plugins", "--json").out)["plugins"]}
    assert {name: row["sandbox"] for name, row in rows.items() if row["sandbox"]} == {
        "time": "none",
        "git": "none",
    }
    assert {row["state"] for row in rows.values()} == {"discovered"}


async def test_a_resource_that_no_server_has_is_a_clear_error(host: Callable[..., Host]) -> None:
    async with host() as h:
        with pytest.raises(GleitzeitError, match="time"):
            await h.call(ReadResource("file:///nowhere").to("time"))


@pytest.mark.feature("S001-25")
async def test_variables_and_defaults_of_the_file_reach_a_real_call(
    place: Place, upstream: OpenAIServer
) -> None:
    config = """
        [providers.wire]
        plugin = "openai"
        base_url = "${UPSTREAM}"
        api_key = "${NO_SUCH_VARIABLE:-sk-default}"
        """
    place.environ["UPSTREAM"] = upstream.url
    async with place.host(config) as host:
        assert (await host.call(Chat("you").to("wire/good"))).text == "all is well with you"
    assert (await upstream.request()).headers["authorization"] == "Bearer sk-default"


@pytest.mark.feature("S004-16")
async def test_health_of_all_is_told_in_time_whatever_becomes_of_some(
    place: Place, upstream: OpenAIServer
) -> None:
    config = """
        [host]
        hook_timeout = 0.5
        [providers.good]
        plugin = "openai"
        base_url = "${GOOD}"
        [providers.unreachable]
        plugin = "openai"
        base_url = "http://127.0.0.1:9/v1"
        [providers.hanging]
        plugin = "openai"
        base_url = "${HANGING}"
        [providers.keyless]
        plugin = "openai"
        base_url = "${KEYED}"
        api_key = "sk-wrong"
        """
    async with OpenAIServer() as hanging, OpenAIServer(api_key="sk-right") as keyed:
        hanging.faults["/v1/models"] = Answer(fault="stall")
        place.environ |= {"GOOD": upstream.url, "HANGING": hanging.url, "KEYED": keyed.url}
        async with place.host(config) as host:
            rows = {row.name: row.health for row in await host.health(deep=True)}
    told = {name: rows[name].status for name in ("good", "unreachable", "hanging", "keyless")}
    assert told == {"good": "ok", "unreachable": "error", "hanging": "error", "keyless": "error"}
    assert "127.0.0.1:9" in rows["unreachable"].detail
    assert "401" in rows["keyless"].detail
    assert "sk-wrong" not in rows["keyless"].detail
