"""Start and delete a container of ``kist oci``, with hooks and state: what `start`, `run` and `delete` stand on."""

from __future__ import annotations

import _socket as socket
import os

from kist.runtime import wire
from kist.runtime.errors import RuntimeFailure
from kist.runtime.state import RUNNING, STOPPED, Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log


def start_container(container: Container, log: Log) -> None:
    container.lock()
    try:
        container.may("start")
        sock = _connect(container)
        os.unlink(container.socket_path)
        wire.send(sock, b"g")
        _until_exec(sock)
    finally:
        container.unlock()
    hooks = container.spec().get("hooks") or {}
    run_forgiving("poststart", hooks.get("poststart") or [], container.state(RUNNING), log)


def _connect(container: Container) -> socket.socket:
    directory = os.open(container.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(f"/proc/self/fd/{directory}/start.sock")
        return sock
    finally:
        os.close(directory)


def _until_exec(sock: socket.socket) -> None:
    while True:
        tag, payload, fd = wire.receive(sock)
        if fd is not None:
            os.close(fd)
        if tag == b"E":
            raise wire.error_of(payload)
        if tag == b"":
            return


def run_forgiving(kind: str, entries: list[dict[str, Any]], state: dict[str, Any], log: Log) -> None:
    """poststart and poststop: a failure is worth a warning, the others run (runtime.md#lifecycle)."""
    if not entries:
        return
    from kist.runtime import hooks as hook

    for index, entry in enumerate(entries):
        try:
            hook.run(f"{kind} hook #{index} {entry['path']}", entry, state)
        except (RuntimeFailure, OSError) as error:
            log.warning(str(error))


def delete_container(container: Container, log: Log) -> None:
    """Its process has ended."""
    group = container.cgroup() if container.record.get("cgroup") else None
    if group is not None and group.exists():
        group.kill_all()
        group.remove()
    try:
        hooks = container.spec().get("hooks") or {}
    except (OSError, ValueError):
        hooks = {}
    state = container.state(STOPPED)
    container.forget()
    run_forgiving("poststop", hooks.get("poststop") or [], state, log)
