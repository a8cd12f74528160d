"""The creator: a child of the monitor that makes the container's process (or an exec's), and ends when it runs.

A container's is there before: it waits for the engine's request itself, so that nothing stands between the two. An
exec's is forked when it is asked for.

Why a process of its own: to plan and make a container touches most of the interpreter's memory, and what a fork
touches is its own from then on. So the creator does it, and its memory goes with it; the monitor, which stays,
keeps a third. The two work side by side; between them is a socket, the *seam*::

    creator → monitor   the start request, with its descriptors                       [monitor's ends of the pipes…]
    monitor → creator   {"ready": true}: log and socket are there
    creator → monitor   {"pid", "started_at", "cgroup"}                               [pidfd, console?]
                        or {"error", "kind"}

The engine says on the control connection whether the program may run: what it does meanwhile (the network, the record
of it) is done then. ::

    engine  → creator   {"do": "go"} or {"do": "stop"}; a connection that ends means "stop", too

When the program runs the creator tells the engine as well, at once; a failure is told by the monitor, when nothing
is left of the container.

The container's process is the creator's sibling: the monitor's child, and dies with it. An exec's becomes the
monitor's (a subreaper) when the creator ends.
"""

from __future__ import annotations

import os
import select
import time
from _socket import socket

import kist.runtime.console  # noqa: F401 – for terminals: what is forked from here on has it already
from kist.launcher import channel, protocol, state
from kist.launcher.failures import failure
from kist.launcher.pipes import Pipes
from kist.launcher.practice import practise
from kist.runtime.create import Stdio, create
from kist.runtime.errors import RuntimeFailure
from kist.runtime.exec import exec_process
from kist.runtime.seccomp import compile_cached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from kist.launcher.monitor import Container

    Answer = tuple[dict[str, Any], list[int]]


class NotReady(Exception):
    """The monitor has given up, and told why itself."""


class Stopped(RuntimeFailure):
    """The engine has given up."""


def wait_for_request(sock: socket, seam: socket) -> None:
    """Serve the next start request of the engine, or return when there are no more. Raises ProtocolError."""
    practise(sock)
    received = channel.receive(sock)
    sock.close()
    if not received:
        return
    job, fds = received
    pipes = None if job["tty"] else Pipes().open(stdin=job["open_stdin"], output=True)
    try:
        channel.send(seam, job, [*fds, *pipes.monitor] if pipes else fds)
    except BrokenPipeError:  # the monitor was killed just now, as this process will be; the engine sees its link end
        return
    if pipes:
        pipes.close_monitor()
    create_container(job, fds, pipes, seam)


def create_container(job: dict[str, Any], fds: list[int], pipes: Pipes | None, seam: socket) -> None:
    """Make the container of a start request."""
    netns = fds[job["netns"]] if job["netns"] is not None else None
    link = socket(fileno=fds[job["link"]])
    _answer(seam, lambda: _create(job, pipes, netns, seam, link))


def _create(job: dict[str, Any], pipes: Pipes | None, netns: int | None, seam: socket,
            link: socket) -> Answer:
    spec = state.read(f"{job['bundle']}/config.json")
    facts = {"id": job["id"], "started_at": time.time(), "monitor_pid": os.getppid(), "data_dir": job["data_dir"]}

    def born(pid: int) -> None:
        state.write_running({**facts, "pid": pid, "bundle": job["bundle"]}, job["run_dir"])

    created = create(spec, container_id=job["id"], bundle=job["bundle"], sibling=True, netns_fd=netns,
                     stdio=Stdio(*pipes.child) if pipes else None, seccomp=_filter(spec, job["seccomp_cache"]),
                     born=born)
    try:
        if not channel.receive(seam):
            raise NotReady
        if not _may_run(link):
            raise Stopped("the server gave up before the container's program ran")
    except BaseException:
        created.abort()
        raise
    facts |= {"pid": created.pid, "started_at": time.time()}
    created.start()
    _tell(link, protocol.ok(job["n"], {**facts, "paused": False, "execs": {}, "unseen": {}}))
    console = [created.console] if created.console is not None else []
    return {"pid": created.pid, "started_at": facts["started_at"], "cgroup": created.cgroup.path}, [
        created.pidfd, *console]


def _may_run(link: socket) -> bool:
    """The engine's word. The monitor, whose connection it is, reads there only when the program runs."""
    poll = select.poll()
    poll.register(link, select.POLLIN)  # the monitor's copy, and so this one, doesn't block
    poll.poll()
    received = channel.receive(link)
    return received is not None and received[0].get("do") == "go"


def create_exec(message: dict[str, Any], job: dict[str, Any], container: Container, pipes: Pipes | None,
                seam: socket) -> None:
    """Serve one exec request in the container of ``job``."""
    _answer(seam, lambda: _exec(message, job, container, pipes))


def _exec(message: dict[str, Any], job: dict[str, Any], container: Container, pipes: Pipes | None) -> Answer:
    spec = state.read(f"{job['bundle']}/config.json")
    execed = exec_process(container.pid, message["process"], spec, cgroup=container.cgroup,
                          stdio=Stdio(*pipes.child) if pipes else None, init_pidfd=container.pidfd,
                          seccomp=_filter(spec, job["seccomp_cache"]))
    console = [execed.console] if execed.console is not None else []
    return {"pid": execed.pid}, [execed.pidfd, *console]


def _filter(spec: dict[str, Any], cache: str) -> bytes | None:
    rules = spec.get("linux", {}).get("seccomp")
    return compile_cached(rules, cache) if rules else None


def _answer(seam: socket, work: Callable[[], Answer]) -> None:
    """Do the work and tell the monitor of it."""
    try:
        message, fds = work()
    except NotReady:
        return
    except Exception as error:
        message, fds = failure(error), []
    _tell(seam, message, fds)


def _tell(sock: socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Whoever has gone, the monitor (it has given up) or the engine, needs no telling."""
    try:
        channel.send(sock, message, fds)
    except (BrokenPipeError, ConnectionResetError):
        pass
