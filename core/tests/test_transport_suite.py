"""The contract of transports finds each planted fault, and passes a wire without any."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gleitzeit.errors import CannotConnectError, GleitzeitError, ResetError
from gleitzeit.kinds import Context, Endpoint, Frame
from gleitzeit.testing import TransportCase, TransportContract
from gleitzeit.testing.case import ContractBroken
from gleitzeit.testing.peer import answers
from gleitzeit.testing.suite import Rule
from gleitzeit.testing.transport import WIRE_RULES, check_wire
from gleitzeit.wire.jsonrpc import dump

SECRET = "canary-secret"
HERE = Endpoint("pigeon", url="loft", headers={"x-key": SECRET})
ALIVE: set["Pigeon"] = set()


class Pigeon:
    """A wire to a peer in this process."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.lost = asyncio.Event()
        self.error: GleitzeitError | None = None
        self._ready: deque[Any] = deque()
        self._more = asyncio.Event()
        ALIVE.add(self)

    async def send(self, frame: Frame) -> None:
        text = dump(frame.message, "pigeon")
        if self.lost.is_set():
            raise ResetError("the pigeon is gone", sent=False)
        if self.endpoint.url == "deaf":
            await self.lost.wait()
            raise ResetError("the pigeon is gone", sent=True)
        for answer in answers(json.loads(text), frame.headers):
            self.put(answer)

    def put(self, answer: dict[str, Any]) -> None:
        self._ready.append(answer)
        self._more.set()

    def __aiter__(self) -> "Pigeon":
        return self

    async def __anext__(self) -> Frame:
        while not self._ready:
            if self.lost.is_set():
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        return Frame(self._ready.popleft())

    def end(self, error: GleitzeitError | None = None) -> None:
        if not self.lost.is_set():
            self.error = error
            self.lost.set()
            self._more.set()

    def diagnostics(self) -> dict[str, Any]:
        return {"url": self.endpoint.url}


class Pigeons:
    """The transport."""

    wire = Pigeon

    def __init__(self, config: Any, context: Context) -> None:
        pass

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Pigeon]:
        if endpoint.url == "nowhere":
            raise CannotConnectError("there is no loft")
        wire = self.wire(endpoint)
        try:
            yield wire
        finally:
            ALIVE.discard(wire)
            self.leave(wire)

    def leave(self, wire: Pigeon) -> None:
        wire.end()


def kill() -> None:
    for wire in list(ALIVE):
        wire.end(ResetError("the pigeon was shot"))


def case(plugin: Callable[[Any, Context], Any] = Pigeons, **fields: Any) -> TransportCase:
    given: dict[str, Any] = {
        "endpoint": HERE,
        "kill": kill,
        "deaf": Endpoint("deaf", url="deaf"),
        "nobody": Endpoint("nobody", url="nowhere"),
        "headers": True,
        "secret": SECRET,
        "large": 1000,
        "patience": 10.0,
    }
    return TransportCase(plugin, **{**given, **fields})


class TestWithoutFault(TransportContract):
    thorough = True

    @pytest.fixture
    def case(self) -> TransportCase:
        return case()


def flawed(**methods: Any) -> type[Pigeons]:
    """A transport whose wire has other methods."""
    return type("Flawed", (Pigeons,), {"wire": type("FlawedPigeon", (Pigeon,), methods)})


def ascii_only(self: Pigeon, answer: dict[str, Any]) -> None:
    Pigeon.put(self, json.loads(json.dumps(answer).replace("\\u", "u")))


def rounded(self: Pigeon, answer: dict[str, Any]) -> None:
    Pigeon.put(self, json.loads(json.dumps(answer), parse_int=lambda text: int(float(text))))


def short(self: Pigeon, answer: dict[str, Any]) -> None:
    if len(json.dumps(answer)) < 900 or self.endpoint is not HERE:
        Pigeon.put(self, answer)
    else:
        Pigeon.put(self, {**answer, "result": {"value": {}}})


def backwards(self: Pigeon, answer: dict[str, Any]) -> None:
    self._ready.appendleft(answer)
    self._more.set()


async def muddled(self: Any, frame: Frame) -> None:
    await asyncio.sleep(0)
    other, self.other = getattr(self, "other", frame), frame
    await Pigeon.send(self, Frame({**frame.message, "params": other.message.get("params")}))


async def unheaded(self: Pigeon, frame: Frame) -> None:
    await Pigeon.send(self, Frame(frame.message))


async def untyped(self: Pigeon, frame: Frame) -> None:
    json.dumps(dict(frame.message))
    await Pigeon.send(self, frame)


async def careless(self: Pigeon, frame: Frame) -> None:
    if not self.lost.is_set():
        await Pigeon.send(self, frame)


async def pessimist(self: Pigeon, frame: Frame) -> None:
    if self.lost.is_set():
        raise ResetError("who knows", sent=True)
    await Pigeon.send(self, frame)


async def stubborn(self: Pigeon, frame: Frame) -> None:
    if frame.message.get("method") == "contract/hold":
        frame = Frame({**frame.message, "method": "contract/echo"})
    await Pigeon.send(self, frame)


def keeps_lost(self: Pigeon, error: GleitzeitError | None = None) -> None:
    self._more.set()


def ends_with_error(self: Pigeon, error: GleitzeitError | None = None) -> None:
    Pigeon.end(self, error or ResetError("closed"))


def silent_death(self: Pigeon, error: GleitzeitError | None = None) -> None:
    if error is None:
        Pigeon.end(self)


def blabbing(self: Pigeon) -> dict[str, Any]:
    return {"headers": dict(self.endpoint.headers)}


class Leaving(Pigeons):
    def leave(self, wire: Pigeon) -> None:
        super().leave(wire)
        task = asyncio.create_task(asyncio.sleep(1e9), name="left behind")
        TASKS.append(task)


class Swallowing(Pigeons):
    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Pigeon]:
        wire = Pigeon(endpoint)
        try:
            yield wire
        except LookupError:
            pass
        finally:
            wire.end()


class Anywhere(Pigeons):
    @asynccontextmanager
    async def connect(self, endpoint: Endpoint) -> AsyncIterator[Pigeon]:
        if endpoint.url == "nowhere":
            raise ResetError("broken", sent=True)
        async with super().connect(endpoint) as wire:
            yield wire


TASKS: list[asyncio.Task[None]] = []


@pytest.fixture(autouse=True)
async def _ended() -> AsyncIterator[None]:
    yield
    for task in TASKS:
        task.cancel()
    await asyncio.gather(*TASKS, return_exceptions=True)
    TASKS.clear()


@pytest.mark.parametrize(
    "plugin, rule",
    [
        (flawed(diagnostics=lambda self: "nothing"), "wire_fits_the_contract"),
        (flawed(put=ascii_only), "frames_pass_unchanged"),
        (flawed(put=rounded), "frames_pass_unchanged"),
        (flawed(put=short), "large_frames_pass"),
        (flawed(put=backwards), "order_is_kept"),
        (flawed(send=muddled), "concurrent_senders_do_not_mix"),
        (flawed(send=unheaded), "headers_travel"),
        (flawed(send=untyped), "unwritable_frame_is_refused_unsent"),
        (flawed(send=careless), "closing_ends_everything"),
        (flawed(send=pessimist), "closing_ends_everything"),
        (flawed(end=keeps_lost), "leaving_by_an_error_closes"),
        (flawed(end=ends_with_error), "closing_ends_everything"),
        (Swallowing, "leaving_by_an_error_closes"),
        (flawed(send=careless), "dead_server_is_noticed"),
        (flawed(diagnostics=blabbing), "secrets_are_not_shown"),
        (Leaving, "nothing_is_left_on_the_loop"),
        (Anywhere, "absent_server_is_told_unsent"),
    ],
)
async def test_a_planted_fault_is_found(plugin: type[Pigeons], rule: str) -> None:
    with pytest.raises(ContractBroken, match=rule):
        await check_wire(_rule(rule), case(plugin))


@pytest.mark.parametrize("rule", ["dead_server_is_noticed", "death_in_mid_call_is_told"])
async def test_a_death_that_nobody_notices_is_found(rule: str) -> None:
    with pytest.raises(ContractBroken, match=rule):
        await check_wire(_rule(rule), case(flawed(end=silent_death), patience=0.05))


def _rule(name: str) -> Rule[Any]:
    return next(rule for rule in WIRE_RULES if rule.name == name)


def test_what_a_case_lacks_is_told() -> None:
    bare = TransportCase(Pigeons, endpoint=HERE, without={"order_is_kept": "pigeons race"})
    missing = {rule.name: rule.missing(bare) for rule in WIRE_RULES if rule.missing(bare)}
    assert missing["order_is_kept"] == "pigeons race"
    assert missing["dead_server_is_noticed"] == "the case has no `kill`"
    assert len(missing) == 7
