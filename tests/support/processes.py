"""Ending and finding processes, by pid only."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

PYTHON = sys.executable
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8",
               **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}}


def end(process: subprocess.Popen[bytes], timeout: float = 15) -> int:
    """SIGTERM, then SIGKILL for what does not heed it; the exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(timeout)


def mentioning(text: str) -> list[tuple[int, str]]:
    """Live processes whose command line holds a text (a temporary folder's name, say)."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append((int(entry.name), line.strip()))
    return found


def kill_and_wait(pid: int, timeout: float = 15) -> None:
    """SIGKILL to any process, and wait (by pidfd) until it is gone."""
    assert ended(pid, timeout, signal.SIGKILL), f"process {pid} survived SIGKILL for {timeout} s"


def ended(pid: int, timeout: float, number: int = 0) -> bool:
    """Whether any process ends within ``timeout`` seconds, once it has got signal ``number``; a zombie has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(descriptor, number)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(timeout * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)


def read_ready(descriptor: int, process: subprocess.Popen[bytes], timeout: float, log: Path) -> None:
    """Waits for the one byte that a server writes to its ready descriptor. One that doesn't is ended: nobody else would
    do it, and what it is so busy with may be what keeps the next one from starting."""
    ready, _, _ = select.select([descriptor], [], [], timeout)
    byte = os.read(descriptor, 1) if ready else b""
    os.close(descriptor)
    if not byte:
        status = process.poll()
        process.kill()
        process.wait(15)
        said = log.read_text(errors="replace")[-4000:]
        raise AssertionError(f"no server within {timeout} s (status {status}):\n{said}")
