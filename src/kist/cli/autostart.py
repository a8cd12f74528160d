"""Starts the server when a command finds none: in a session of its own, its output in `<run>/server.log`.

The server writes one byte to a pipe when it listens (`--ready-fd`); the pipe's end without a byte means that
it ended. Two clients may do this at the same time: the server's lock lets one server live, and the client
of the other one finds the winner's socket.
"""

from __future__ import annotations

import os
import select
import sys
import time

from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.settings import Settings

PATIENCE = 30.0  # seconds until a server that neither listens nor ends is given up


def start_server(settings: Settings) -> str:
    """Start it and wait until it listens; returns what to tell the user. CliError when there can't be one."""
    if settings.uid:
        raise CliError(f"Cannot connect to the Kist server at {settings.address().text}, and only root can start "
                       "one (try sudo, or have an administrator run: kist server)")
    log = f"{settings.run}/server.log"
    before = os.path.getsize(log) if os.path.exists(log) else 0
    pid, ready = _spawn(settings, log)
    with os.fdopen(ready, "rb", 0) as pipe:
        readable = select.select([pipe], [], [], PATIENCE)[0]
        if readable and pipe.read(1):
            return f"kist: started the server (pid {pid}, log {log})"
    if _somebody_listens(settings, 5.0 if readable else 0.0):
        return "kist: the server was started by another command"
    raise CliError(f"kist: the server did not start; its log {log} ends with:\n{_tail(log, before)}")


def _spawn(settings: Settings, log: str) -> tuple[int, int]:
    import subprocess

    words = [sys.executable, "-m", "kist.server"]
    if settings.config:
        words += ["--config", settings.config]
    try:
        os.makedirs(settings.run, mode=0o755, exist_ok=True)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CliError(f"kist: can't start the server: {error.filename}: {error.strerror}") from None
    ready, write = os.pipe2(os.O_CLOEXEC)
    try:
        started = subprocess.Popen([*words, "--ready-fd", str(write)], stdin=subprocess.DEVNULL, stdout=target,
                                   stderr=target, start_new_session=True, pass_fds=(write,), cwd="/")
    finally:
        os.close(target)
        os.close(write)
    return started.pid, ready


def _somebody_listens(settings: Settings, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while True:
        try:
            settings.address().open().close()
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        else:
            return True


def _tail(path: str, begin: int, lines: int = 10) -> str:
    """Its last lines, none of those that earlier servers wrote (up to byte ``begin``)."""
    with open(path, "rb") as file:
        file.seek(max(begin, os.fstat(file.fileno()).st_size - 4096))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
