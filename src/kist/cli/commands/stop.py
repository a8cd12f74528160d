"""kist stop: ask containers to end, kill those that do not."""

from __future__ import annotations

from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments, Option
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    query = {"t": args.number("timeout"), "signal": args.text("signal")}
    return session.each(args.words, lambda name: session.client.containers.send_post(name, "stop", query))


OPTIONS: tuple[Option, ...] = (
    ("signal", "s", "string", "Signal to send"),
    ("time", "", "=timeout", "", True),
    ("timeout", "t", "int", "Seconds to wait before it is killed"),
)
COMMAND = Command("Stop one or more running containers", "[OPTIONS] CONTAINER [CONTAINER...]", run, options=OPTIONS,
                  arity=(1, None), requests=("ContainerStop",))
