"""Runs one command for a host, and ends it with all that it started when it ends or the host does.

Run as a script of its own, `python -I -S launcher.py CONTROL HOST`, with the streams of the command:
it imports nothing outside the standard library and stays single-threaded, so forking is safe.

CONTROL is a socket. The host first sends a length (4 bytes, big endian) and JSON with `command`,
`env` and `cwd`; then `t` asks for SIGTERM and `k` for SIGKILL. The answers are lines: `pid N`, or
`failed STAGE ERRNO TEXT`, and at the end `exit STATUS` (negative: the number of a signal).
End of input means that the host is gone, as does a readable pidfd of HOST: sockets stay open in
forked copies of a host, and a signal on the death of a parent follows a thread, not a process.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

__all__ = ["main"]

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Seconds between SIGTERM and SIGKILL once the host is gone.
GRACE = 1.0
#: Seconds for the descendants to go after SIGKILL.
SWEEP = 2.0
#: Seconds between looks at the parent where the system has no pidfd.
LOOK = 1.0


def _prctl(option: int, value: int) -> bool:
    """Set a process attribute; False where the system does not know it."""
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _receive(control: int) -> dict[str, Any]:
    """The plan that the host sends first; raises `EOFError` where it went away instead."""

    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = os.read(control, size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    plan: dict[str, Any] = json.loads(exactly(int.from_bytes(exactly(4), "big")))
    return plan


def _tell(control: int, line: str) -> None:
    """Write a line to the host, which may be gone."""
    try:
        os.write(control, line.encode(errors="replace") + b"\n")
    except OSError:
        pass


def _execute(plan: dict[str, Any], parent: int, report: int) -> NoReturn:
    """Become the command; on failure say why and exit."""
    stage = "start"
    try:
        signal.set_wakeup_fd(-1)
        for number in (*SIGNALS, signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores the last two
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            if plan["cwd"] is not None:
                stage = "cwd"
                os.chdir(plan["cwd"])
            stage = "command"
            os.execvpe(plan["command"][0], plan["command"], plan["env"])  # noqa: S606 - a shell is what we avoid
    except OSError as error:
        os.write(report, f"{stage} {error.errno or 0} {error.strerror}".encode())
    except ValueError as error:
        os.write(report, f"{stage} 0 {error}".encode())
    finally:
        os._exit(127)


def _start(plan: dict[str, Any]) -> tuple[int, str]:
    """The process id of the started command, or 0 and the reason."""
    parent = os.getpid()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _execute(plan, parent, write)
    os.close(write)
    failure = b""
    while chunk := os.read(read, 4096):
        failure += chunk
    os.close(read)
    if failure:
        os.waitpid(pid, 0)
        return 0, failure.decode(errors="replace")
    return pid, ""


def _group(pid: int, number: int) -> None:
    """Signal the command's process group."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _ended(pid: int) -> int | None:
    """The command's exit status once it has ended; orphans that came to us are reaped on the way."""
    if not hasattr(os, "waitid"):
        found, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if found else None
    while True:
        # WNOWAIT: while the command is a zombie its group's number cannot belong to anybody else.
        seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if seen is None:
            return None
        if seen.si_pid == pid:
            return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status
        os.waitpid(seen.si_pid, 0)


def _children() -> list[int]:
    """The processes whose parent we are."""
    own, found = os.getpid(), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    # The name of the program stands in brackets and may hold anything.
                    parent = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == own:
                found.append(int(name))
    return found


def _sweep(pid: int) -> None:
    """End what the command left behind: its group, and on Linux every descendant of it."""
    _group(pid, signal.SIGKILL)
    deadline = time.monotonic() + SWEEP
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        # Each death hands us the children of the dead, so this goes down the tree level by level.
        for child in _children() if sys.platform == "linux" else ():
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.002)


def _attend(pid: int, control: int, host: int, wake: int) -> int:
    """Serve the host until the command has ended; gives its exit status."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    try:
        watch = os.pidfd_open(host)
        poll.register(watch, select.POLLIN)
    except (AttributeError, OSError):
        watch = -1
    kill_at: float | None = None
    while True:
        gone = os.getppid() != host
        pause = 0.05 if kill_at is not None else LOOK if watch < 0 else None
        for descriptor, _ in poll.poll(pause and 1000 * pause):
            try:
                data = b"" if descriptor == watch else os.read(descriptor, 64)
            except OSError:
                data = b""
            if not data:
                gone = True
            elif descriptor == control:
                _group(pid, signal.SIGKILL if b"k" in data else signal.SIGTERM)
            elif any(number != signal.SIGCHLD for number in data):
                _group(pid, signal.SIGKILL)
        status = _ended(pid)
        if status is not None:
            return status
        if gone and kill_at is None:
            poll.unregister(control)
            if watch >= 0:
                poll.unregister(watch)
            _group(pid, signal.SIGTERM)
            kill_at = time.monotonic() + GRACE
        if kill_at is not None and time.monotonic() >= kill_at:
            _group(pid, signal.SIGKILL)


def main() -> None:
    """Run the command that the host names on the control socket."""
    control, host = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(control, False)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        plan = _receive(control)
    except EOFError:
        return
    pid, failure = _start(plan)
    if not pid:
        _tell(control, f"failed {failure}")
        return
    # The command alone must hold its streams, or nobody would see their end.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    _tell(control, f"pid {pid}")
    status = _attend(pid, control, host, wake)
    _tell(control, f"exit {status}")
    _sweep(pid)


if __name__ == "__main__":
    main()
