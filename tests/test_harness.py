"""The harness fails the tests that it should, and only those."""

import signal
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

GOOD = """
    import asyncio, gc, os, pathlib, signal, socket, subprocess, sys, threading
    import httpx2, pytest

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

    def test_nobody_out_there_is_trusted():
        (only,) = httpx2.create_ssl_context().get_ca_certs()
        assert "thrown away" in str(only["subject"])

    def test_what_was_imported_is_no_matter_of_the_collector():
        assert gc.get_freeze_count() > 1000

    def test_output_is_as_wide_as_it_likes():
        assert "COLUMNS" not in os.environ

    def test_ctrl_c_is_heard():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
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


def test_clean_tests_pass(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run.makepyfile(GOOD)
    monkeypatch.setenv("COLUMNS", "120")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell has it for a job in the background
    try:
        run.runpytest_subprocess().assert_outcomes(passed=11)
    finally:
        signal.signal(signal.SIGINT, before)


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


@pytest.mark.parametrize(
    "test, said",
    [
        ("feature('greeting')\ndef test_x(): pass", "feature takes ids such as"),
        ("parametrize('y', [object()], ids=str)\ndef test_x(y): pass", "the same in every process"),
    ],
    ids=["feature", "address"],
)
def test_wrong_ids_are_refused(run: pytest.Pytester, test: str, said: str) -> None:
    run.makepyfile(f"import pytest\n@pytest.mark.{test}")
    result = run.runpytest_subprocess("-p", "no:warnings")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])
