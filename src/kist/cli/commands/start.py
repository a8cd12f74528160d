"""kist start: start containers again; with -a or -i, attach to one and end with its exit status."""

from __future__ import annotations

from kist.cli.interactive import Attached, kill_with, resize_with, wait_shortly
from kist.cli.parser import CliError, Command
from kist.errors import KistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    for option in ("checkpoint", "checkpoint-dir"):
        if args.given(option):
            raise CliError(f'"--{option}" is only supported on a Docker daemon with experimental features enabled')
    if not (args.flag("attach") or args.flag("interactive")):
        return session.each(args.words, lambda name: session.client.containers.send_post(name, "start"),
                            summary="Error: failed to start containers: ")
    if len(args.words) > 1:
        raise CliError("you cannot start and attach multiple containers at once")
    return _attached(args, session, args.words[0])


def _attached(args: Arguments, session: Session, name: str) -> int:
    """Attach and register a wait, then start: as `run` does with a container that it has made."""
    containers = session.client.containers
    found = containers.inspect(name)
    container, config = str(found["Id"]), found["Config"]
    stdin = args.flag("interactive") and bool(config.get("OpenStdin"))
    keys = args.text("detach-keys") or session.settings.detach_keys
    attaching = containers.send_attach(container, stdin=stdin, stdout=True, stderr=True, detach_keys=keys)
    removed = bool(found["HostConfig"].get("AutoRemove"))
    waiting = containers.send_wait(container, "removed" if removed else "next-exit").answer()
    tty = bool(config.get("Tty"))
    with Attached(attaching.answer(), tty=tty, stdin=stdin, keys=keys, resize=resize_with(session, container),
                  signal=kill_with(session, container) if args.flag("sig-proxy") else None) as attached:
        try:
            containers.start(container)
        except KistError:
            if removed:
                wait_shortly(waiting, 10)
            raise
        return 0 if attached.carry() else attached.wait(waiting)


COMMAND = Command(
    "Start one or more stopped containers", "[OPTIONS] CONTAINER [CONTAINER...]", run, arity=(1, None),
    options=(
        ("attach", "a", "", "Attach to its output, and pass signals on"),
        ("checkpoint", "", "string", "Restore from this checkpoint"),
        ("checkpoint-dir", "", "string", "Where the checkpoints are"),
        ("detach-keys", "", "string", "Keys that leave the container running"),
        ("interactive", "i", "", "Attach to its input"),
        ("sig-proxy", "", "", "", True),
    ),
    requests=("ContainerStart", "ContainerAttach", "ContainerWait", "ContainerInspect"))
