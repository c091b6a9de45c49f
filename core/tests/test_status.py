"""The status socket: one document to each connection, for this user only, and nothing that was said."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gleitzeit import Chat, Health, Host, Model, Provider, Reply
from gleitzeit.discovery import Index
from gleitzeit.errors import CannotConnectError, ConfigError, MalformedAnswerError, OverloadedError
from gleitzeit.status import StatusServer, document, read
from gleitzeit.values.snapshot import Snapshot
from gleitzeit.wire.codec import from_json

DOCUMENT = {"instances": [], "snapshot": {"at": 0.0, "uptime": 1.0}}


async def tell() -> Mapping[str, Any]:
    return DOCUMENT


@asynccontextmanager
async def serving(path: Path, tell=tell):
    server = StatusServer(path, tell)
    await server.open()
    try:
        yield server
    finally:
        await server.close()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path that is short enough for a socket, wherever the tests put their files."""
    monkeypatch.chdir(tmp_path)
    return Path("status")


def left_behind(path: Path) -> None:
    """What a process that was killed leaves."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()


async def test_each_connection_gets_a_document_of_its_own(path):
    numbers = iter(range(9))

    async def counted():
        return {**DOCUMENT, "number": next(numbers)}

    async with serving(path, counted):
        assert (await read(str(path)))["number"] == 0
        assert {each["number"] for each in await asyncio.gather(read(str(path)), read(str(path)))} == {1, 2}


async def test_only_this_user_may_connect_and_nothing_is_left(path):
    async with serving(path):
        mode = os.stat(path).st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


async def test_socket_of_a_dead_process_is_replaced(path):
    left_behind(path)
    async with serving(path):
        assert await read(str(path)) == DOCUMENT


async def test_socket_of_a_living_process_is_refused_and_left_alone(path):
    async with serving(path):
        with pytest.raises(ConfigError, match=r"host\.status_socket status: another process serves there"):
            await StatusServer(path, tell).open()
        assert await read(str(path)) == DOCUMENT


async def test_a_living_process_that_accepts_nobody_is_refused_at_once(path):
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = socket.socket(socket.AF_UNIX)
        with waiting:
            waiting.connect(str(path))  # its queue is full now
            with pytest.raises(ConfigError, match="another process"):
                await StatusServer(path, tell).open()
    assert path.exists()


async def test_any_other_file_is_left_alone(path):
    path.write_text("mine")
    with pytest.raises(ConfigError, match="a file of another kind"):
        await StatusServer(path, tell).open()
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["no/such/directory", "x" * 300], ids=["directory", "length"])
async def test_a_path_that_cannot_be_is_a_fault_of_the_configuration(path, name):
    with pytest.raises(ConfigError, match="status_socket") as caught:
        await StatusServer(name, tell).open()
    assert "short path" in caught.value.hint


async def test_the_socket_of_a_successor_is_not_removed(path):
    server = StatusServer(path, tell)
    await server.open()
    path.unlink()
    async with serving(path):
        await server.close()
        assert await read(str(path)) == DOCUMENT


async def test_it_can_be_opened_again(path):
    server = StatusServer(path, tell)
    for _ in range(2):
        await server.open()
        assert await read(str(path)) == DOCUMENT
        await server.close()
        await server.close()


async def test_closing_does_not_wait_for_those_who_are_being_answered(path):
    asked = asyncio.Event()

    async def never():
        asked.set()
        await asyncio.Event().wait()

    async with serving(path, never):
        asking = asyncio.create_task(read(str(path)))
        await asked.wait()
    await asyncio.wait([asking])
    assert isinstance(asking.exception(), MalformedAnswerError)


async def test_whoever_does_not_read_holds_up_nobody(path):
    async def long():
        return {**DOCUMENT, "long": "x" * 10_000_000}

    async with serving(path, long):
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert len((await read(str(path)))["long"]) == 10_000_000
        writer.transport.abort()
        del reader


async def test_a_host_that_cannot_tell_says_so_without_quoting(path):
    async def fails():
        raise OverloadedError("my password is hunter2")

    async with serving(path, fails):
        with pytest.raises(MalformedAnswerError, match="overloaded") as caught:
            await read(str(path))
    assert "hunter2" not in str(caught.value)


async def test_where_nobody_serves_the_next_step_is_told(path):
    with pytest.raises(CannotConnectError, match="status: No such file") as caught:
        await read(str(path))
    assert "status_socket" in caught.value.hint
    left_behind(path)
    with pytest.raises(CannotConnectError, match="refused"):
        await read(str(path))


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 400\r\n", b"[]", b"{}", b'{"error"', b"\xff"])
async def test_what_is_no_document_is_refused(path, data):
    async def other(reader, writer):
        writer.write(data)
        writer.close()

    async with await asyncio.start_unix_server(other, str(path)):
        with pytest.raises(MalformedAnswerError, match="no host of Gleitzeit"):
            await read(str(path))


async def test_who_is_silent_is_waited_for_a_while_only(path):
    gone = asyncio.Event()

    async def silent(reader, writer):
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_unix_server(silent, str(path)):
        with pytest.raises(CannotConnectError, match=r"within 0\.01 s"):
            await read(str(path), timeout=0.01)
        await gone.wait()


SECRET = "sk-canary-0123456789abcdef"


class Talkative(Provider):
    """Says more of its health than it should."""

    def provide_models(self):
        yield Model("m", operations={Chat})

    async def health(self, deep=False):
        return Health("ok", detail=f"key {SECRET}\nsays", data={"key": SECRET, "last": "said in the call"})

    async def call(self, request):
        if "fail" in request.operation.messages[0].text:
            raise OverloadedError(f"{SECRET} was told: said in the call")
        return Reply("said in the call")


async def test_the_document_of_a_host_holds_neither_content_nor_secrets():
    config = {"host": {"retry": {"max_retries": 0}}}
    async with Host(config, plugins={"talk": Talkative}, environ={"TALK_KEY": SECRET}, index=Index()) as host:
        await host.call(Chat("said in the call").to("talk/m", principal="said in the call"))
        with pytest.raises(OverloadedError):
            await host.call(Chat("fail: said in the call").to("talk/m"))
        told = document(host.snapshot(), await host.health())
    text = json.dumps(told)
    assert "canary" not in text
    assert "said in the call" not in text
    assert from_json(Snapshot, told["snapshot"]).total("talk").attempts == {"ok": 1, "overloaded": 1}
    [talk] = told["instances"]
    assert (talk["name"], talk["state"], talk["health"]["status"]) == ("talk", "active", "ok")
    assert talk["health"]["detail"] == "key *** says"
    assert told["pid"] == os.getpid()
