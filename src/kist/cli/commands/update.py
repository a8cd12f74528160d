"""kist update: change limits and the restart policy of containers."""

from __future__ import annotations

from kist.cli.container_options import CONTAINER_OPTIONS
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

NAMES = ("blkio-weight", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares", "cpus",
         "cpuset-cpus", "cpuset-mems", "memory", "memory-reservation", "memory-swap", "pids-limit", "restart")


def run(args: Arguments, session: Session) -> int:
    if not args.values:
        raise CliError("you must provide one or more flags when using this command")
    body = _body(args)
    warnings: list[str] = []

    def tell(name: str, answer: Any) -> str:
        from kist.client import wirejson

        warnings.extend((wirejson.loads(answer.read() or b"{}") or {}).get("Warnings") or ())
        return name

    containers = session.client.containers
    status = session.each(args.words, lambda name: containers.send_update(name, body), tell)
    for warning in warnings:
        session.warn(warning)
    return status


def _body(args: Arguments) -> dict[str, Any]:
    from kist.cli.container_body import COPIED
    from kist.cli.container_values import restart_policy

    body: dict[str, Any] = {}
    for name, value in args.values.items():
        if name == "restart":
            try:
                body["RestartPolicy"] = restart_policy(value)
            except ValueError as error:
                raise CliError(str(error)) from None
        else:
            body[COPIED[name][1]] = value
    return body


COMMAND = Command(
    "Update configuration of one or more containers", "[OPTIONS] CONTAINER [CONTAINER...]", run, arity=(1, None),
    options=tuple(row[:4] for row in CONTAINER_OPTIONS if row[0] in NAMES), requests=("ContainerUpdate",))
