"""The harness fails the tests that it should, and only those."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

GOOD = """
    import asyncio, pathlib, socket, subprocess, sys, threading
    import pytest

    @pytest.fixture(scope="module")
    def wide():
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            yield child

    @pytest.fixture
    async def helper():
        task = asyncio.create_task(asyncio.sleep(60))
        yield task
        task.cancel()

    def test_loopback():
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(("localhost", server.getsockname()[1])).close()

    async def test_asyncio_loopback():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection("localhost", server.sockets[0].getsockname()[1])
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    def test_unix_socket():
        here, there = socket.socketpair()
        here.close(), there.close()

    def test_unknown_name():
        with pytest.raises(socket.gaierror):
            socket.create_connection(("nowhere.invalid", 80))

    def test_wide_fixture(wide): pass

    async def test_fixture_cleans_its_task(helper): pass

    async def test_thread_and_process():
        await asyncio.to_thread(len, "")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        await process.wait()
"""

BAD = """
    import asyncio, os, socket, subprocess, sys, threading
    import pytest

    kept = []

    def test_connects_out():
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=1)
        except Exception:
            pass

    async def test_looks_up():
        try:
            await asyncio.open_connection("example.org", 80)
        except Exception:
            pass

    def test_udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(RuntimeError):
            sock.sendto(b"", ("192.0.2.1", 53))

    async def test_task(): kept.append(asyncio.create_task(asyncio.sleep(60)))

    def test_thread():
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    def test_descriptor(): kept.append(os.open(os.devnull, os.O_RDONLY))

    def test_child(): kept.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(4)"]))
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, repository: Path) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    pytester.makeini(
        "[pytest]\naddopts = -p tests.harness\nfilterwarnings = error\n"
        "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function"
    )
    return pytester


def test_clean_tests_pass(run: pytest.Pytester) -> None:
    run.makepyfile(GOOD)
    run.runpytest_subprocess().assert_outcomes(passed=7)


@pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="children and descriptors are counted through /proc"
)
def test_every_offence_is_found(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEFTOVERS_GRACE", "0.1")
    run.makepyfile(BAD)
    result = run.runpytest_subprocess()
    result.assert_outcomes(failed=3, passed=4, errors=4)  # what is left behind shows after the test itself
    for text in ("connect to '192.0.2.1' port 80", "look up 'example.org'", "connect to '192.0.2.1' port 53"):
        result.stdout.fnmatch_lines([f"*this test tried to {text}*"])
    for kind in ("task", "thread", "file descriptor", "child process"):
        result.stdout.fnmatch_lines([f"*  {kind} *"])


def test_feature_takes_ids_only(run: pytest.Pytester) -> None:
    run.makepyfile("import pytest\n@pytest.mark.feature('greeting')\ndef test_x(): pass")
    result = run.runpytest_subprocess("-p", "no:warnings")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*feature takes ids such as*"])
