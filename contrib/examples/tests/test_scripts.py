"""The example programs, run to their ends as a reader would run them."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gleitzeit import Host

HERE = Path(__file__).resolve().parents[1]
FILES = str(HERE / "servers" / "files.py")
#: A machine may be slow, and none of this is about time.
PATIENT = {f"GLEITZEIT__HOST__{name}_TIMEOUT": "120" for name in ("HOOK", "START", "DRAIN")}
STORY = "Hello! I am a scripted model, not a language model: I say the same to everybody."


async def run(script: str, *args: object, **environ: str) -> tuple[int, list[str], str]:
    """The exit code of a program, the lines that it printed, and what it complained of."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error::RuntimeWarning", str(HERE / script), *map(str, args)),
        env={**os.environ, **PATIENT, **environ, "PATH": path},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), err.decode()


@pytest.fixture(scope="module", autouse=True)
def _engine() -> Iterator[None]:
    """What gRPC keeps for a whole process is there before the first test is looked at."""
    with grpc.insecure_channel("127.0.0.1:1"):
        yield


@pytest.fixture(autouse=True)
def _poller(_engine: None) -> Iterator[None]:
    """Its thread ends once the last server is collected."""
    yield
    gc.collect()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a text and a table."""
    (tmp_path / "a.txt").write_text("hello\n")
    (tmp_path / "zoo.csv").write_text("city,visitors\nWien,10\nGraz,20\nWien,30\n")
    return tmp_path


@pytest.mark.feature("S001-33")
async def test_a_model_is_asked_over_each_wire_whole_and_streamed() -> None:
    async with Host({"providers": {"scripted": {}}}, environ=PATIENT) as inner:
        server = inner.mcp_server(models="scripted/hello")
        async with server.http() as web, server.listen("grpc", "127.0.0.1:0") as stream:
            code, lines, complaint = await run(
                "asking.py", WEB_URL=web, GRPC_URL=stream, GLEITZEIT__SERVERS__PROCESS__TIMEOUT="120"
            )
            assert code == 0, complaint
            assert [line.split("/")[0] for line in lines] == [
                name for name in ("process", "web", "grpc") for _ in range(2)
            ]
            for whole, streamed in zip(lines[::2], lines[1::2], strict=True):
                assert whole.endswith(f"/scripted/hello: {STORY} [stop]")
                assert streamed.count("|") > 1
                assert streamed.replace("|", "") == whole


@pytest.mark.feature("S003-23")
async def test_servers_are_managed_without_await(folder: Path) -> None:
    code, lines, complaint = await run("managing.py", folder)
    assert (code, complaint) == (0, "")
    assert lines[0] == "deployed: True"
    assert [line.split(":")[1] for line in lines if line.startswith("tool:")] == [
        f" files/{name}" for name in ("list_files", "read_file", "search_files")
    ]
    assert "files: a.txt, zoo.csv" in lines
    assert any(line.startswith("refused:") and "leads out" in line for line in lines)
    assert any(line.startswith("scaled: 2 instances") for line in lines)
    assert lines[-4:-2] == ["stopped: disabled", "started again: True"]
    assert lines[-1] == "removed: there is no server 'files'"


@pytest.mark.feature("S003-23")
async def test_several_servers_are_managed_at_once(folder: Path) -> None:
    code, lines, complaint = await run("managing_async.py", folder, folder / "zoo.csv")
    assert (code, complaint) == (0, "")
    assert lines[:6] == [
        "files: ready",
        "tables: ready",
        "broken: does not start",
        "columns: city, visitors",
        "files: 1",
        "mean of visitors: 20.0",
    ]
    assert any("no-such-program" in line for line in lines)
    assert lines[-1] == "calls: 3, failed: 0"


@pytest.mark.feature("S003-23")
async def test_a_plan_is_deployed_whole_or_taken_back(folder: Path) -> None:
    def planned(**check: Any) -> dict[str, Any]:
        entry = {"command": sys.executable, "args": [FILES, str(folder)], "sandbox": "none", "timeout": 120}
        return {"entry": entry, "check": {"tool": "read_file", **check}}

    plan = folder / "plan.json"
    good = planned(arguments={"name": "a.txt"})
    bad = planned(arguments={"name": "none.txt"})
    plan.write_text(json.dumps({"servers": {"one": {**good, "instances": 2}}}))
    code, lines, complaint = await run("deploying.py", plan)
    assert (code, complaint) == (0, "")
    assert lines == ["one: ready, read_file answers, 2 instances", "deployed: 1 of 1"]
    plan.write_text(json.dumps({"servers": {"good": good, "bad": bad}}))
    code, lines, complaint = await run("deploying.py", plan)
    assert (code, complaint) == (1, "")
    assert any(line.startswith("bad: failed: read_file:") and "none.txt" in line for line in lines)
    assert {"good: taken back", "bad: taken back"} <= set(lines)
    assert lines[-1] == "deployed: 0 of 2"
