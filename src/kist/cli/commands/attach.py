"""kist attach: take part in a running container's streams."""

from __future__ import annotations

import os

from kist.cli.interactive import Attached, kill_with, resize_with
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    containers = session.client.containers
    found = containers.inspect(args.words[0])
    container, config, state = str(found["Id"]), found["Config"], found["State"]
    if not state.get("Running"):
        raise CliError("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise CliError("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise CliError("You cannot attach to a restarting container, wait until it is running")
    tty = bool(config.get("Tty"))
    stdin = not args.flag("no-stdin") and bool(config.get("OpenStdin"))
    if tty and stdin and not os.isatty(0):
        raise CliError("the input device is not a TTY")
    keys = args.text("detach-keys") or session.settings.detach_keys
    waiting = containers.send_wait(container).answer()
    stream = containers.attach(container, stdin=stdin, stdout=True, stderr=True, detach_keys=keys)
    with Attached(stream, tty=tty, stdin=stdin, keys=keys, resize=resize_with(session, container),
                  signal=kill_with(session, container) if args.flag("sig-proxy") else None) as attached:
        if not attached.carry():
            return attached.wait(waiting)
    raise CliError("read escape sequence")


COMMAND = Command(
    "Attach local standard input, output, and error streams to a running container", "[OPTIONS] CONTAINER", run,
    arity=(1, 1),
    options=(
        ("detach-keys", "", "string", "Keys that leave the container running"),
        ("no-stdin", "", "", "Don't attach to its input"),
        ("sig-proxy", "", "", "Pass signals on", True),
    ),
    requests=("ContainerAttach", "ContainerWait", "ContainerInspect"))
