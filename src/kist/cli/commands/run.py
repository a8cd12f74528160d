"""kist run: create + attach + start + wait.

Three connections, three round trips: `create` and `start` follow each other on one; `attach` and `wait` each
keep theirs, opened while the server creates, and both are registered before `start` is sent, so that nothing
the container does can be missed.
"""

from __future__ import annotations

import os

from kist.cli.container_body import container_body
from kist.cli.container_options import CONTAINER_OPTIONS, RUN_OPTIONS
from kist.cli.creating import create, failure
from kist.cli.interactive import Attached, kill_with, resize_with, wait_shortly
from kist.cli.parser import CliError, Command
from kist.cli.session import said
from kist.errors import KistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session
    from kist.client.transport import Response

    Body = dict[str, Any]


def run(args: Arguments, session: Session) -> int:
    body = container_body(args, session.settings)
    _check(args, body)
    if args.flag("detach"):
        return _in_background(args, session, body)
    _add_console_size(args, body)
    session.client.ahead = 2
    container = create(args, session, body)
    try:
        stream, waiting = _register(args, session, container, body)
    except KistError as error:  # told as `attach` tells it: Docker's status for it is 1
        raise CliError(said(error)) from None
    try:
        return _carry(args, session, container, body, stream, waiting)
    except KistError as error:
        raise failure(args, session, error) from None


def _check(args: Arguments, body: Body) -> None:
    if args.flag("detach"):
        return
    if args.flag("tty") and body.get("AttachStdin") and not os.isatty(0):
        raise CliError("the input device is not a TTY")


def _in_background(args: Arguments, session: Session, body: Body) -> int:
    container = create(args, session, body)
    try:
        session.client.containers.start(container, detach_keys=_detach_keys(args, session))
    except KistError as error:
        raise failure(args, session, error) from None
    finally:
        session.out(container)  # as Docker's: it is there, whether it could be started or not
    return 0


def _add_console_size(args: Arguments, body: Body) -> None:
    """The terminal has its size before the first process looks at it."""
    if args.flag("tty"):
        from kist.cli.terminal import size

        body.setdefault("HostConfig", {})["ConsoleSize"] = list(size(1))


def _register(args: Arguments, session: Session, container: str, body: Body) -> tuple[Response, Response]:
    """Attach, and wait for the end: both are asked for at once, and both are registered on return."""
    containers = session.client.containers
    attaching = containers.send_attach(
        container, stdin="AttachStdin" in body, stdout="AttachStdout" in body, stderr="AttachStderr" in body,
        detach_keys=_detach_keys(args, session))
    waiting = containers.send_wait(container, "removed" if args.flag("rm") else "next-exit")
    return attaching.answer(), waiting.answer()


def _carry(args: Arguments, session: Session, container: str, body: Body, stream: Response,
           waiting: Response) -> int:
    """Start it, carry its streams, and return its exit status (0 when the user detached)."""
    with Attached(stream, tty=args.flag("tty"), stdin="AttachStdin" in body, stdout="AttachStdout" in body,
                  stderr="AttachStderr" in body, keys=_detach_keys(args, session),
                  signal=kill_with(session, container) if args.flag("sig-proxy") else None,
                  resize=resize_with(session, container)) as attached:
        try:
            session.client.containers.start(container)
        except KistError:
            if args.flag("rm"):
                wait_shortly(waiting, 10)
            raise
        if attached.carry():
            return 0
        return attached.wait(waiting)


def _detach_keys(args: Arguments, session: Session) -> str:
    return args.text("detach-keys") or session.settings.detach_keys


COMMAND = Command(
    "Create and run a new container from an image", "[OPTIONS] IMAGE [COMMAND] [ARG...]", run,
    options=CONTAINER_OPTIONS + RUN_OPTIONS, arity=(1, None), interspersed=False,
    requests=("ContainerCreate", "ImageCreate", "ContainerStart", "ContainerAttach",
              "ContainerWait", "ContainerKill", "ContainerResize"))
