"""kist port: where a container's ports are published."""

from __future__ import annotations

from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    name, *wanted = args.words
    ports = session.client.containers.inspect(name)["NetworkSettings"].get("Ports") or {}
    if wanted:
        number, _, protocol = wanted[0].partition("/")
        if not number.isdecimal():
            raise CliError(f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": invalid syntax')
        if int(number[:8]) > 65535:
            raise CliError(f'Error: invalid port ({number}): strconv.ParseUint: parsing "{number}": value out of range')
        port = f"{number}/{protocol or 'tcp'}"
        if not ports.get(port):
            raise CliError(f"Error: No public port '{wanted[0]}' published for {name}")
        for target in ports[port]:
            session.out(_place(target))
        return 0
    for line in sorted((port, _place(target)) for port, targets in ports.items() for target in targets or ()):
        session.out(f"{line[0]} -> {line[1]}")
    return 0


def _place(target: dict[str, str]) -> str:
    address = target.get("HostIp", "")
    return f"[{address}]:{target['HostPort']}" if ":" in address else f"{address}:{target['HostPort']}"


COMMAND = Command("List port mappings or a specific mapping for the container", "CONTAINER [PRIVATE_PORT[/PROTO]]",
                  run, arity=(1, 2), requests=("ContainerInspect",))
