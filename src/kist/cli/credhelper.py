"""Docker's credential helpers: programs `docker-credential-NAME` that keep secrets in the system's own store.

    get     stdin: the registry                              stdout: {"ServerURL", "Username", "Secret"}
    store   stdin: {"ServerURL", "Username", "Secret"}
    erase   stdin: the registry
    list    stdin: nothing that counts                       stdout: {registry: user}

A user name of ``<token>`` means that the secret is an identity token. A helper is found in PATH only, may say at most
64 KiB, and has five minutes (it may have to ask for a passphrase); then it and what it started is ended.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import time

from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

TOKEN_USER = "<token>"
LIMIT = 64 << 10
PATIENCE = 300.0
_NOT_FOUND = "credentials not found in native keychain"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class HelperFailed(CliError):
    """The helper is missing, failed, or said nonsense; Docker's words."""


def get(name: str, registry: str) -> tuple[str, str] | None:
    """User and secret; None if the helper knows none."""
    try:
        said = _run(name, "get", registry)
    except _Refused as error:
        if error.said == _NOT_FOUND:
            return None
        raise HelperFailed(f"error getting credentials - {error}") from None
    try:
        found = json.loads(said)
        user, secret = found["Username"], found["Secret"]
        if not (isinstance(user, str) and isinstance(secret, str)):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise HelperFailed(f"error getting credentials - docker-credential-{name}: not a helper's answer") from None
    return user, secret


def store(name: str, registry: str, user: str, secret: str) -> None:
    try:
        _run(name, "store", json.dumps({"ServerURL": registry, "Username": user, "Secret": secret}))
    except _Refused as error:
        raise HelperFailed(f"error storing credentials - {error}") from None


def erase(name: str, registry: str) -> None:
    try:
        _run(name, "erase", registry)
    except _Refused as error:
        if error.said != _NOT_FOUND:
            raise HelperFailed(f"error erasing credentials - {error}") from None


def registries(name: str) -> list[str]:
    """Which registries the helper has secrets for (``list``)."""
    try:
        said = _run(name, "list", "unused")
    except _Refused as error:
        raise HelperFailed(f"error listing credentials - {error}") from None
    try:
        found = json.loads(said)
        if not isinstance(found, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError):
        raise HelperFailed(f"error listing credentials - docker-credential-{name}: not a helper's answer") from None
    return list(found)


class _Refused(Exception):
    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(f"err: {why}, out: `{said}`")
        self.said = said


def _run(name: str, action: str, told: str) -> str:
    if not name or set(name) - _LETTERS:
        raise _Refused(f'exec: "docker-credential-{name}": invalid name')
    program = shutil.which(f"docker-credential-{name}")
    if program is None:
        raise _Refused(f'exec: "docker-credential-{name}": executable file not found in $PATH')
    try:
        process = subprocess.Popen([program, action], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   process_group=0 if not os.isatty(0) else None)
    except OSError as error:
        raise _Refused(f"fork/exec {program}: {(error.strerror or str(error)).lower()}") from None
    said = _talk(process, told.encode())
    if process.returncode:
        raise _Refused(f"exit status {process.returncode}", said)
    return said


def _talk(process: subprocess.Popen[bytes], told: bytes) -> str:
    """Tell it, and hear it out: bounded in time and size, also where something else holds its end open."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _tell(process.stdin, told)
        said = _heard(process.stdout.fileno(), time.monotonic() + PATIENCE)
        process.wait(PATIENCE)
        return said.decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        raise _Refused("it takes too long") from None
    finally:
        if process.poll() is None:
            _end(process)
            process.wait()
        process.stdout.close()


def _tell(stdin: IO[bytes], told: bytes) -> None:
    """One that wants to hear nothing must not end us by SIGPIPE: its status says what that means."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        stdin.write(told)
        stdin.close()
    except BrokenPipeError:
        pass
    finally:
        signal.signal(signal.SIGPIPE, before)


def _heard(fd: int, deadline: float) -> bytes:
    said = b""
    while True:
        if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise _Refused("it takes too long")
        piece = os.read(fd, LIMIT)
        if not piece:
            return said
        said += piece
        if len(said) > LIMIT:
            raise _Refused(f"more than {LIMIT} bytes")


def _end(process: subprocess.Popen[Any]) -> None:
    try:
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass
