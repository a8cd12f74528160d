"""kist exec: run one more command in a running container."""

from __future__ import annotations

import os

from kist.cli.container_body import environment
from kist.cli.interactive import Attached
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    tty, stdin = args.flag("tty"), args.flag("interactive")
    detached = args.flag("detach")
    if tty and stdin and not detached and not os.isatty(0):
        session.client.containers.inspect(args.words[0])  # that it isn't there is the greater problem
        raise CliError("the input device is not a TTY")
    execs = session.client.execs
    body = _body(args, session)
    exec_id = execs.create(args.words[0], body)
    if detached:
        execs.start_detached(exec_id, tty=tty)
        return 0
    size = body.get("ConsoleSize")
    stream = execs.start(exec_id, tty=tty, size=(size[0], size[1]) if size else None)
    with Attached(stream, tty=tty, stdin=stdin, keys=body.get("DetachKeys", ""),
                  resize=lambda height, width: execs.resize(exec_id, height, width)) as attached:
        if attached.carry():
            raise CliError("read escape sequence")
    return int(execs.inspect(exec_id)["ExitCode"] or 0)


def _body(args: Arguments, session: Session) -> dict[str, Any]:
    """The exec as the API describes it (*ExecConfig*)."""
    given = args.list("env")
    if args.given("env-file"):
        from kist.cli.container_values import read_pairs

        try:
            given = [*read_pairs(args.list("env-file")), *given]
        except ValueError as error:
            raise CliError(str(error)) from None
    attached = not args.flag("detach")
    body = {
        "Cmd": args.words[1:], "Tty": args.flag("tty"), "User": args.text("user"),
        "WorkingDir": args.text("workdir"), "Privileged": args.flag("privileged"),
        "AttachStdin": attached and args.flag("interactive"), "AttachStdout": attached, "AttachStderr": attached,
        "DetachKeys": args.text("detach-keys") or session.settings.detach_keys,
        "Env": environment(given, session.settings, args),
    }
    if args.flag("tty"):
        from kist.cli.terminal import size

        if size(1) != (0, 0):
            body["ConsoleSize"] = list(size(1))
    return {name: value for name, value in body.items() if value}


COMMAND = Command(
    "Execute a command in a running container", "[OPTIONS] CONTAINER COMMAND [ARG...]", run, arity=(2, None),
    interspersed=False,
    options=(
        ("detach", "d", "", "Leave it in the background"),
        ("detach-keys", "", "string", "Keys that leave it running"),
        ("env", "e", "list", "Set environment variables"),
        ("env-file", "", "list", "Read environment variables from a file"),
        ("interactive", "i", "", "Keep STDIN open"),
        ("privileged", "", "", "Give it all privileges"),
        ("tty", "t", "", "Give it a terminal"),
        ("user", "u", "string", "User (name|uid[:group|gid])"),
        ("workdir", "w", "string", "Working directory"),
    ),
    requests=("ContainerExec", "ExecStart", "ExecInspect", "ExecResize"))
