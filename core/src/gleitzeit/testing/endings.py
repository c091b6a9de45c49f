"""Rules for calls that end early or badly; each raises `ContractBroken` where it is broken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from attrs import frozen

from gleitzeit.errors import GleitzeitError, TruncatedStreamError, UnknownModelError, UnsupportedError
from gleitzeit.testing.case import Bench, CaseError, ContractBroken
from gleitzeit.values import Event, Operation, Reply, Request

__all__ = [
    "cancelled_before_first_token",
    "cancelled_in_mid_stream",
    "cancelled_whole_answer",
    "closing_early_is_idempotent",
    "cut_stream_is_an_error",
    "error_in_a_stream_is_raised",
    "errors_are_typed",
    "nothing_is_left_behind",
    "retry_after_is_told",
    "unknown_model_is_refused",
    "unknown_operation_is_refused_unsent",
]


@frozen(kw_only=True)
class _Unheard(Operation):
    """An operation that no provider knows."""

    kind: ClassVar[str] = "unheard_of"


async def cancelled_whole_answer(bench: Bench) -> None:
    """Cancelling a call that waits for its whole answer ends it at once, and the upstream notices."""
    await _cancelled(bench, _given(bench.case.silent), bench.reply)


async def cancelled_before_first_token(bench: Bench) -> None:
    """Cancelling a stream before its first token ends it at once, and the upstream notices."""

    async def read(request: Request) -> None:
        await (await bench.open(request)).collect()

    await _cancelled(bench, _given(bench.case.silent), read)


async def cancelled_in_mid_stream(bench: Bench) -> None:
    """Content arrives as it is sent; cancelling then ends the stream at once, and the upstream notices."""
    arrived = asyncio.Event()

    def watch(event: Event) -> None:
        if event.content:
            arrived.set()

    async def read(request: Request) -> None:
        await (await bench.open(request)).tap(watch).collect()

    async def started(task: asyncio.Task[Any]) -> None:
        if not await bench.until(lambda: arrived.is_set() or task.done()):
            task.cancel()
            raise ContractBroken(
                f"no content arrived within {bench.case.patience} s, though the upstream has sent some; "
                "give events as they come, do not gather them"
            )

    await _cancelled(bench, _given(bench.case.halting), read, started)


async def closing_early_is_idempotent(bench: Bench) -> None:
    """A stream can be closed before its end, twice, and the upstream notices."""
    request = bench.case.halting or bench.case.request
    before, left = asyncio.all_tasks(), bench.counted(bench.case.left)
    stream = await bench.open(request)
    async for event in stream:
        if event.content:
            break
    for _ in range(2):
        try:
            await stream.aclose()
        except Exception as error:
            raise ContractBroken(f"closing a stream early raised {type(error).__name__}: {error}") from error
    if not stream.done:
        raise ContractBroken("a closed stream does not count as done")
    if bench.case.halting is not None:
        await _noticed(bench, left, "closed early")
    await _no_tasks(bench, before, "a stream was closed early")


async def cut_stream_is_an_error(bench: Bench) -> None:
    """A stream that ends before its protocol's terminal mark raises, with what had come."""
    got: list[str] = []
    stream = await bench.open(_given(bench.case.truncated))
    stream.tap(lambda event: got.append(getattr(event, "text", "") if event.type == "text" else ""))
    try:
        await stream.collect()
    except TruncatedStreamError as error:
        if not isinstance(error.partial, Reply) or error.partial.text != "".join(got):
            raise ContractBroken(
                "the error of a cut stream does not carry what had come in `partial`"
            ) from error
        return
    except GleitzeitError as error:
        raise ContractBroken(
            f"a cut stream raised {type(error).__name__}; raise TruncatedStreamError, or give no `Finished`"
        ) from error
    raise ContractBroken(
        "a cut stream passed for a whole answer; give `Finished` only after the protocol's terminal mark"
    )


async def error_in_a_stream_is_raised(bench: Bench) -> None:
    """An error that the upstream sends inside of a stream raises, after the content that came before it."""
    case, got = bench.case, []
    stream = await bench.open(_given(case.breaking))
    stream.tap(lambda event: got.append(event) if event.content else None)
    try:
        await stream.collect()
    except case.broken as error:
        if not error.provider:
            raise ContractBroken("the error in a stream has no `provider`; set it to context.name") from error
        if not got:
            raise ContractBroken(
                "content that came before the error in a stream was lost; give events as they come"
            ) from error
        return
    except (ContractBroken, CaseError):
        raise
    except Exception as error:
        raise ContractBroken(
            f"an error in a stream raised {type(error).__name__}; raise {case.broken.__name__}"
        ) from error
    raise ContractBroken("an error in a stream passed for a whole answer; raise it from the iteration")


async def retry_after_is_told(bench: Bench) -> None:
    """What the upstream says of when to come again stands in the error."""
    wanted, case = bench.case.retry_after, bench.case
    for error in await _raises(bench, _given(case.failing), case.failure, "a refused request", None):
        told = error.retry_after
        if told is None or wanted is None or abs(told - wanted) > 1:
            raise ContractBroken(f"the upstream says to come again in {wanted} s, the error {told!r}")
        if not error.retryable:
            raise ContractBroken("the upstream says when to come again, but the error is not retryable")


async def errors_are_typed(bench: Bench) -> None:
    """A refusal of the upstream raises the error of the tree that fits, naming its provider."""
    request = _given(bench.case.failing)
    await _raises(bench, request, bench.case.failure, "a refused request", None)


async def unknown_model_is_refused(bench: Bench) -> None:
    """A model that the upstream does not have raises `UnknownModelError`."""
    await _raises(bench, bench.case.request, UnknownModelError, "an unknown model", bench.case.unknown)


async def unknown_operation_is_refused_unsent(bench: Bench) -> None:
    """An operation that the provider does not know raises `UnsupportedError` before anything is sent."""
    before = bench.counted(bench.case.sent)
    request = _Unheard().to(bench.case.request.target)
    for error in await _raises(bench, request, UnsupportedError, "an unknown operation", None):
        if error.sent:
            raise ContractBroken("the error of an unknown operation says that something was sent")
    if bench.counted(bench.case.sent) != before:
        raise ContractBroken("an unknown operation was sent to the upstream; look at request.operation first")


async def nothing_is_left_behind(bench: Bench) -> None:
    """After a whole answer, a stream and an error no task of the provider runs on."""
    await bench.reply(bench.case.request)  # what a first call starts for all later ones may stay
    before = asyncio.all_tasks()
    await bench.reply(bench.case.request)
    await (await bench.open(bench.case.request)).collect()
    if bench.case.failing is not None:
        await asyncio.gather(bench.reply(bench.case.failing), return_exceptions=True)
    await _no_tasks(bench, before, "the calls were answered")


async def _cancelled(
    bench: Bench,
    request: Request,
    run: Callable[[Request], Awaitable[Any]],
    started: Callable[[asyncio.Task[Any]], Awaitable[None]] | None = None,
) -> None:
    case = bench.case
    sent, left, before = bench.counted(case.sent), bench.counted(case.left), asyncio.all_tasks()

    async def call() -> None:
        await run(request)

    task = asyncio.create_task(call())
    if started is not None:
        await started(task)
    elif case.sent is None:
        await asyncio.sleep(0.05)  # nothing tells when the request is out
    elif not await bench.until(lambda: bench.counted(case.sent) > sent or task.done()):
        task.cancel()
        raise ContractBroken(f"the request did not reach the upstream within {case.patience} s")
    if task.done():
        if (error := task.exception()) is not None:
            raise error
        raise CaseError(
            "the request that is to be cancelled was answered; see `silent` and `halting` of the case"
        )
    task.cancel()
    if not (await asyncio.wait({task}, timeout=case.patience))[0]:
        raise ContractBroken(
            f"a cancelled call still ran after {case.patience} s; let CancelledError through"
        )
    if not task.cancelled():
        became = "an answer" if task.exception() is None else type(task.exception()).__name__
        raise ContractBroken(
            f"cancellation became {became}; let CancelledError through, do not catch it for good"
        )
    await _noticed(bench, left, "cancelled")
    await _no_tasks(bench, before, "a call was cancelled")


async def _noticed(bench: Bench, left: int, what: str) -> None:
    if bench.case.left is not None and not await bench.until(lambda: bench.counted(bench.case.left) > left):
        raise ContractBroken(
            f"the upstream had not noticed after {bench.case.patience} s that the call was {what}; "
            "close the connection, or cancel the task, that reads from it"
        )


async def _no_tasks(bench: Bench, before: set[asyncio.Task[Any]], when: str) -> None:
    left: set[asyncio.Task[Any]] = set()

    def settled() -> bool:
        nonlocal left
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        return not left

    if not await bench.until(settled):
        names = ", ".join(sorted(getattr(task.get_coro(), "__qualname__", task.get_name()) for task in left))
        raise ContractBroken(
            f"after {when}, a task still runs: {names}; end it with the call that started it"
        )


async def _raises(
    bench: Bench, request: Request, expected: type[GleitzeitError], what: str, model: str | None
) -> list[GleitzeitError]:
    """The errors of the request, asked whole and streamed."""

    async def whole() -> None:
        await bench.reply(request, model)

    async def streamed() -> None:
        await (await bench.open(request, model)).collect()

    errors = []
    for how, ask in (("whole", whole), ("streamed", streamed)):
        try:
            await ask()
        except GleitzeitError as error:
            if not isinstance(error, expected):
                raise ContractBroken(
                    f"{what}, {how}, raised {type(error).__name__}; raise {expected.__name__}"
                ) from error
            if not error.provider:
                raise ContractBroken(
                    f"{what}, {how}: the error has no `provider`; set it to context.name"
                ) from error
            errors.append(error)
        except (ContractBroken, CaseError):
            raise
        except Exception as error:
            raise ContractBroken(
                f"{what}, {how}, raised a bare {type(error).__name__}; raise {expected.__name__}"
            ) from error
        else:
            raise ContractBroken(f"{what}, {how}, was answered; raise {expected.__name__}")
    return errors


def _given(request: Request | None) -> Request:
    assert request is not None, "rules are run only where the case has what they need"
    return request
