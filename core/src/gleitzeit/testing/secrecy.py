"""The rule that a secret of the configuration is never seen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from gleitzeit.testing.case import Bench, ContractBroken, drain

__all__ = ["records", "secrets_stay_secret"]


async def secrets_stay_secret(bench: Bench) -> None:
    """The secret is in no repr, no text, no log record and no error."""
    case = bench.case
    assert case.secret is not None, "rules are run only where the case has what they need"
    spellings = {case.secret, quote(case.secret, safe="")}

    def look(text: str, where: str) -> None:
        if any(spelling in text for spelling in spellings):
            raise ContractBroken(
                f"the secret is seen in {where}; keep it in a SecretStr, and out of messages"
            )

    with records() as logged:
        for what, value in (
            ("the provider", bench.provider),
            ("its config", getattr(bench.provider, "config", None)),
        ):
            look(repr(value), f"the repr of {what}")
            look(str(value), f"the text of {what}")
        if hasattr(bench.provider, "provide_models"):
            look(repr(await drain(bench.provider.provide_models())), "a model description")
        if hasattr(bench.provider, "health"):
            look(repr(await bench.provider.health()), "its health")
        asks: list[tuple[Any, str | None]] = [(case.request, None), (case.request, case.unknown)]
        asks += [(request, None) for request in (case.failing, case.truncated) if request is not None]
        for request, model in asks:
            for streamed in (False, True):
                try:
                    if streamed:
                        await (await bench.open(request, model)).collect()
                    else:
                        await bench.reply(request, model)
                except Exception as error:  # noqa: BLE001 - whatever it is, it must not show the secret
                    for link in _chain(error):
                        to_dict = getattr(link, "to_dict", dict)
                        look(f"{link} {link!r} {to_dict()}", f"an error ({type(link).__name__})")
    for text in logged:
        look(text, "a log record")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what a traceback would show before it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@contextmanager
def records() -> Iterator[list[str]]:
    """Everything that is logged by anybody, at any level."""
    texts: list[str] = []
    formatter = logging.Formatter("%(name)s %(message)s")

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(f"{formatter.format(record)} {vars(record)}")

    root, keep = logging.getLogger(), Keep()
    level = root.level
    root.addHandler(keep)
    root.setLevel(logging.DEBUG)
    try:
        yield texts
    finally:
        root.setLevel(level)
        root.removeHandler(keep)
