"""Reads jobs, runs each in a thread of its own, and writes what comes of them."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from gleitzeit_plugin_huggingface.worker.frames import Frames, pack
from gleitzeit_plugin_huggingface.worker.jobs import Failure, Job, Slots, Stopped
from gleitzeit_plugin_huggingface.worker.shelf import Engine, Shelf

__all__ = ["Server", "main"]

CHUNK = 2**16
#: Characters of a message that comes from elsewhere.
SHOWN = 500


class Server:
    """Serves one host. `write` takes bytes and may be called from any thread."""

    def __init__(
        self, engine: Engine, write: Callable[[bytes], None], *, slots: int = 1, budget: int | None = None
    ) -> None:
        self._gate = threading.Condition()
        self._write = write
        self._writing = threading.Lock()
        self._slots = Slots(slots, self._gate)
        self._shelf = Shelf(engine, self._gate, budget)
        self._budget = budget
        self._jobs: dict[int, Job] = {}

    def take(self, frame: dict[str, Any]) -> None:
        """A frame of the host."""
        do, id = frame.get("do"), frame["id"]
        job = self._jobs.get(id)
        if do == "stop":
            if job is not None:
                job.stop()
        elif do == "more":
            if job is not None:
                job.more(int(frame["count"]))
        else:
            job = self._jobs[id] = Job(frame, self._gate, self.send)
            threading.Thread(target=self._run, args=(job,), name=f"job {id}", daemon=True).start()

    def send(self, frame: dict[str, Any]) -> None:
        """Write a frame."""
        data = pack(frame)
        with self._writing:
            self._write(data)

    def _run(self, job: Job) -> None:
        try:
            end: dict[str, Any] = {"is": "done", **self._done(job)}
            if job.stopped:
                end = {"is": "stopped"}
        except Stopped:
            end = {"is": "stopped"}
        except Failure as failure:
            end = {"is": "failed", "kind": failure.kind, "message": str(failure), "hint": failure.hint}
        except MemoryError as error:
            end = {"is": "failed", "kind": "no_memory", "message": str(error)[:SHOWN]}
        except Exception as error:  # noqa: BLE001 - whatever it is, the host is told
            traceback.print_exc()
            end = {
                "is": "failed",
                "kind": _kind(error),
                "message": f"{type(error).__name__}: {error}"[:SHOWN],
            }
        self._jobs.pop(job.id, None)
        try:
            self.send({"id": job.id, **end})
        except ValueError as error:
            self.send({"id": job.id, "is": "failed", "kind": "fault", "message": f"the answer: {error}"})

    def _done(self, job: Job) -> dict[str, Any]:
        ask = job.ask
        do = ask["do"]
        if do == "loaded":
            return {
                "models": self._shelf.listing(),
                "bytes": self._shelf.total,
                "budget": self._budget,
                "resident": resident(),
                "pid": os.getpid(),
            }
        key = (ask["task"], ask["model"])
        if do == "unload":
            return {"unloaded": self._shelf.unload(key, job)}
        with self._slots.taken(job), self._shelf.using(key, ask["source"], job) as model:
            if do == "load":
                return {"bytes": model.bytes}
            return model.run(job)


def _kind(error: Exception) -> str:
    # torch's own error of this name is no MemoryError, and torch is not to be imported for it.
    return "no_memory" if type(error).__name__ == "OutOfMemoryError" else "fault"


def resident() -> int | None:
    """Bytes of this process in memory; None where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def engine_of(name: str, options: dict[str, Any]) -> Engine:
    """The engine `module:Class`; a module may be the path of a file."""
    module, _, attribute = name.rpartition(":")
    if module.endswith(".py"):
        spec = importlib.util.spec_from_file_location("gleitzeit_engine", module)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    else:
        loaded = importlib.import_module(module)
    engine: Engine = getattr(loaded, attribute)(options)
    return engine


def main(arguments: list[str]) -> None:
    """Serve until the host closes our input: `ENGINE OPTIONS`, the latter as JSON."""
    name, options = arguments[0], json.loads(arguments[1])
    source, target = os.dup(0), os.dup(1)
    # Libraries print and read as they like; frames have descriptors that nobody else knows.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def write(data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(target, view) :]
        except OSError:
            os._exit(0)  # the host is gone

    server = Server(
        engine_of(name, options), write, slots=int(options["concurrency"]), budget=options.get("budget")
    )
    server.send({"is": "ready"})
    frames = Frames()
    while data := os.read(source, CHUNK):
        for frame in frames.feed(data):
            server.take(frame)
    os._exit(0)  # threads may be deep in a model
