"""``run [--detach] [--keep] … ID``: create, start, and unless detached wait and delete."""

from __future__ import annotations

import os

from kist.linux import process as p
from kist.runtime.cli import creation, lifecycle
from kist.runtime.cli.options import FLAG, Option, Usage, parse
from kist.runtime.cli.relay import Foreground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed
    from kist.runtime.create import Created
    from kist.runtime.state import Container

FAILED = "run failed: "
_OPTIONS = {**creation.OPTIONS, "detach": Option("d", FLAG), "keep": Option("", FLAG),
            "no-subreaper": Option("", FLAG)}


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse(_OPTIONS, words)
    if len(own.rest) != 1:
        raise Usage("run needs exactly one argument, the container id")
    own.given["detached"] = own.flag("detach")
    foreground = None
    if not own.flag("detach"):
        if not own.flag("no-subreaper"):
            p.prctl(p.PR_SET_CHILD_SUBREAPER, 1)
        foreground = Foreground()
    container, created = creation.create_container(options, own, own.rest[0], log)
    try:
        lifecycle.start_container(container, log)
    except BaseException:
        created.abort()
        lifecycle.delete_container(container, log)
        raise
    if foreground is None:
        return 0
    return _attend(foreground, container, created, log, keep=own.flag("keep"))


def _attend(foreground: Foreground, container: Container, created: Created, log: Log, *, keep: bool) -> int:
    status = foreground.wait(created.pid, created.pidfd, created.console)
    _reap()
    container.lock()
    if keep:
        container.unlock()
    else:
        lifecycle.delete_container(container, log)
    return status


def _reap() -> None:
    """Orphans that became ours as subreaper."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
