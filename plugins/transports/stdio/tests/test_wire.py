"""Frames over the standard streams of a process."""

import asyncio
import os
from collections.abc import Callable

import pytest
from gleitzeit_plugin_mcp_stdio import StdioTransport

from gleitzeit.errors import GleitzeitError, InvalidRequestError, ProcessDiedError, ResetError
from gleitzeit.kinds import Endpoint, Frame, Wire

Program = Callable[..., Endpoint]

ECHO = "for line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"


async def read(wire: Wire, count: int = 1) -> list[object]:
    frames = aiter(wire)
    async with asyncio.timeout(20):
        return [(await anext(frames)).message for _ in range(count)]


async def the_end(wire: Wire) -> GleitzeitError:
    async with asyncio.timeout(20):
        async for _ in wire:
            pass
        await wire.lost.wait()
    assert wire.error is not None
    return wire.error


async def test_frames_come_back_as_they_were_sent(transport: StdioTransport, program: Program) -> None:
    sent = [
        {"jsonrpc": "2.0", "id": number, "method": "ünï", "params": {"big": 2**70}} for number in range(3)
    ]
    async with transport.connect(program(ECHO)) as wire:
        for message in sent:
            await wire.send(Frame(message))
        assert await read(wire, 3) == sent
    assert wire.lost.is_set()
    assert wire.error is None


@pytest.mark.feature("S001-09")
async def test_large_messages_and_noise_pass_in_both_directions(
    transport: StdioTransport, program: Program
) -> None:
    noisy = """
    for line in sys.stdin:
        print("working on it", "x" * 100000, file=sys.stderr)
        print("this is no message")
        sys.stdout.write(line); sys.stdout.flush()
    """
    message = {"method": "m", "params": {"text": "é" * 5_000_000}}
    async with transport.connect(program(noisy)) as wire:
        sending = asyncio.create_task(wire.send(Frame(message)))
        assert await read(wire) == [message]
        await sending
        assert wire.diagnostics()["junk_lines"] == 1
        assert wire.diagnostics()["junk"] == ("this is no message",)


async def test_death_is_noticed_at_once_and_shows_status_and_last_words(
    transport: StdioTransport, program: Program
) -> None:
    code = 'hear(); print("cannot open the database", file=sys.stderr); sys.exit(3)'
    async with transport.connect(program(code)) as wire:
        await wire.send(Frame({"method": "m"}))
        error = await the_end(wire)
        assert isinstance(error, ProcessDiedError)
        assert "exit status 3" in str(error)
        assert "cannot open the database" in str(error)
        assert wire.diagnostics()["exit_status"] == 3


async def test_the_loss_is_known_from_the_end_of_the_process_and_its_streams_without_patience(
    transport: StdioTransport, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gleitzeit_plugin_mcp_stdio.wire.SETTLE", 3600)
    async with transport.connect(program(ECHO)) as wire:
        await wire.send(Frame({"method": "m"}))
        await read(wire)
        os.kill(wire.diagnostics()["pid"], 9)
        assert "killed by SIGKILL" in str(await the_end(wire))


async def test_nobody_need_read_for_a_death_to_be_noticed(
    transport: StdioTransport, program: Program
) -> None:
    async with transport.connect(program('say({"method": "unread"})')) as wire, asyncio.timeout(20):
        await wire.lost.wait()
        assert isinstance(wire.error, ProcessDiedError)


async def test_what_was_said_before_the_end_is_still_read(
    transport: StdioTransport, program: Program
) -> None:
    code = 'for n in range(1000): say({"method": "m", "params": {"n": n, "pad": "x" * 500}})'
    async with transport.connect(program(code)) as wire, asyncio.timeout(20):
        found = [frame.message["params"]["n"] async for frame in wire]
    assert found == list(range(1000))


async def test_a_frame_after_the_end_is_refused_as_not_sent(
    transport: StdioTransport, program: Program
) -> None:
    async with transport.connect(program("pass")) as wire:
        await the_end(wire)
        with pytest.raises(ProcessDiedError) as caught:
            await wire.send(Frame({"method": "m"}))
        assert caught.value.sent is False


async def test_a_server_that_closes_its_output_is_lost(transport: StdioTransport, program: Program) -> None:
    code = "os.close(1); print('still here', file=sys.stderr, flush=True); time.sleep(60)"
    async with transport.connect(program(code)) as wire:
        error = await the_end(wire)
        assert isinstance(error, ResetError)
        assert "closed its output" in str(error)


async def test_a_message_over_the_limit_loses_the_wire_with_its_reason(
    transport: StdioTransport, program: Program
) -> None:
    endpoint = program(
        'say({"method": "m"}); print("x" * 200000); time.sleep(60)', options={"max_message_bytes": 100_000}
    )
    async with transport.connect(endpoint) as wire:
        assert await read(wire) == [{"method": "m"}]
        error = await the_end(wire)
        assert "more than 100000 bytes" in str(error)
        assert "max_message_bytes" in str(error)


async def test_a_server_that_does_not_read_holds_up_neither_its_callers_nor_the_end(
    transport: StdioTransport, program: Program
) -> None:
    endpoint = program('say({"method": "up"}); time.sleep(3600)', options={"grace": 3600})
    async with asyncio.timeout(60):
        async with transport.connect(endpoint) as wire:
            await read(wire)
            big = Frame({"method": "m", "params": {"text": "x" * 1_000_000}})
            await wire.send(big)  # fills the pipe and waits in ours
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await wire.send(big)
        # No patience for a server that will never see the end of its input.
        assert wire.diagnostics()["exit_status"] == -15


async def test_a_sender_that_waits_for_room_returns_the_moment_it_is_cancelled(
    transport: StdioTransport, program: Program
) -> None:
    async with transport.connect(program('say({"method": "up"}); time.sleep(3600)')) as wire:
        await read(wire)
        big = Frame({"method": "m", "params": {"text": "x" * 1_000_000}})
        await wire.send(big)
        waiting = asyncio.create_task(wire.send(big))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        for _ in range(10):  # some turns of the loop, and no event from outside
            await asyncio.sleep(0)
        assert waiting.cancelled()


async def test_senders_that_wait_for_room_hear_of_the_death(
    transport: StdioTransport, program: Program
) -> None:
    endpoint = program('say({"method": "up"}); time.sleep(60)')
    async with transport.connect(endpoint) as wire:
        await read(wire)
        big = Frame({"method": "m", "params": {"text": "x" * 1_000_000}})
        await wire.send(big)
        waiting = asyncio.create_task(wire.send(big))
        await asyncio.sleep(0)
        os.kill(wire.diagnostics()["pid"], 9)
        with pytest.raises(ProcessDiedError) as caught:
            await waiting
        assert caught.value.sent is False


async def test_what_is_no_json_is_refused_before_it_is_written(
    transport: StdioTransport, program: Program
) -> None:
    async with transport.connect(program(ECHO)) as wire:
        for bad in (object(), "\ud800"):
            with pytest.raises(InvalidRequestError) as caught:
                await wire.send(Frame({"method": "m", "params": {"x": bad}}))
            assert caught.value.sent is False
        await wire.send(Frame({"method": "fine"}))
        assert await read(wire) == [{"method": "fine"}]


async def test_a_flood_on_stderr_stops_nothing_and_keeps_its_end(
    transport: StdioTransport, program: Program
) -> None:
    code = """
    for n in range(200000): print("line", n, "of a very chatty server", file=sys.stderr)
    say({"method": "up"})
    hear()
    sys.exit(1)
    """
    async with transport.connect(program(code)) as wire:
        await read(wire)
        await wire.send(Frame({"method": "go"}))
        error = await the_end(wire)
        assert "line 199999 of" in str(error)
        assert len(str(error)) < 5000


@pytest.mark.feature("S000-12")
async def test_secrets_of_the_environment_are_in_no_error_repr_or_diagnostics(
    transport: StdioTransport, program: Program
) -> None:
    code = """
    print("my key is", os.environ["SERVICE_API_KEY"], file=sys.stderr, flush=True)
    print("junk with", os.environ["SERVICE_API_KEY"], "and", os.environ["INNOCENT"], flush=True)
    say({"method": "up"})
    hear()
    """
    env = {"PATH": os.environ["PATH"], "SERVICE_API_KEY": "canary-one", "INNOCENT": "canary-two"}
    endpoint = program(code, env=env, options={"secrets": ("canary-two",)})
    async with transport.connect(endpoint) as wire:
        await read(wire)
        await wire.send(Frame({"method": "go"}))
        error = await the_end(wire)
        shown = f"{error} {error!r} {error.to_dict()} {wire!r} {wire.diagnostics()} {endpoint!r}"
        assert "my key is ***" in shown
        assert "canary" not in shown
