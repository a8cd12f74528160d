"""``delete [--force] ID``: what is left of a stopped container; with --force it is killed first."""

from __future__ import annotations

import os
import select

from kist.linux.pidfd import pidfd_open, pidfd_send_signal
from kist.runtime.cli.common import root
from kist.runtime.cli.lifecycle import delete_container
from kist.runtime.cli.options import FLAG, Option, Usage, parse
from kist.runtime.errors import StepError
from kist.runtime.state import STOPPED, Container, NotThere

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse({"force": Option("f", FLAG)}, words)
    if len(own.rest) != 1:
        raise Usage("delete needs exactly one argument, the container id")
    try:
        container = Container.load(root(options), own.rest[0])
    except NotThere:
        if own.flag("force"):
            return 0
        raise
    container.lock()
    if own.flag("force"):
        _kill(container)
    else:
        container.may("delete")
    delete_container(container, log)
    return 0


def _kill(container: Container) -> None:
    """And wait for the end, by its pidfd."""
    if container.status() == STOPPED or not container.pid:
        return
    try:
        pidfd = pidfd_open(container.pid)
    except ProcessLookupError:
        return
    try:
        pidfd_send_signal(pidfd, signal.SIGKILL)
        group = container.cgroup()
        if group.frozen():
            group.thaw()
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(10_000):
            raise StepError(f"container {container.id}: its process does not end")
        container.record["pid"] = 0
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
