"""kist update: change a container's limits and restart policy, as Docker's; and its environment, labels, ports and
volumes, which Docker can't."""

from __future__ import annotations

from kist.cli.container_options import CONTAINER_OPTIONS
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments, Option
    from kist.cli.session import Session

RATES = ("device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops")
DOCKERS = ("blkio-weight", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares", "cpus",
           "cpuset-cpus", "cpuset-mems", "memory", "memory-reservation", "memory-swap", "network-rate", "pids-limit",
           "restart", *RATES)
ADDED = ("env", "env-file", "health-on-failure", "label", "label-file", "mount", "publish", "ulimit", "volume")
REMOVED = {"env-rm": "EnvRemove", "label-rm": "LabelsRemove", "publish-rm": "PortsRemove", "volume-rm": "MountsRemove"}
OWN_OPTIONS: tuple[Option, ...] = (
    ("dry-run", "", "", "Show what would change, and change nothing"),
    ("env-add", "", "=env", ""),
    ("env-rm", "", "list", "Take an environment variable away"),
    ("kernel-memory", "", "bytes", ""),
    ("label-add", "", "=label", ""),
    ("label-rm", "", "list", "Take a label away"),
    ("limit-rm", "", "list", "Take a limit away (memory, cpus, device-read-bps…)"),
    ("mount-add", "", "=mount", ""),
    ("mount-rm", "", "=volume-rm", ""),
    ("publish-add", "", "=publish", ""),
    ("publish-rm", "", "list", "No longer publish a port (80, 8080:80/tcp)"),
    ("restart-now", "", "", "Restart it when a change needs that"),
    ("volume-add", "", "=volume", ""),
    ("volume-rm", "", "list", "Take a mount away (its path in the container)"),
)


def run(args: Arguments, session: Session) -> int:
    if not args.values:
        raise CliError("you must provide one or more flags when using this command")
    body = _body(args, session)
    if "Kist" in body and session.client.system.version().get("Platform", {}).get("Name") != "Kist":
        raise CliError("this server is not Kist's: it can change limits and the restart policy only")
    warnings: list[str] = []

    def tell(name: str, response: Any) -> str:
        from kist.client import wirejson

        answer = wirejson.loads(response.read() or b"{}") or {}
        warnings.extend(answer.get("Warnings") or ())
        own = answer.get("Kist") or {}
        if args.flag("dry-run"):
            return _shown(name, own["Changes"])
        waiting = [row["What"] for row in own.get("Changes", ()) if row["AtRestart"]]
        if waiting and not own["Restarted"]:
            warnings.append(f"{name}: {', '.join(waiting)}: from its next start on (kist restart {name}, or update "
                            "with --restart-now)")
        return name

    containers = session.client.containers
    try:
        return session.each(args.words, lambda name: containers.send_update(name, body), tell)
    finally:
        for warning in warnings:
            session.warn(warning)


def _shown(name: str, changes: list[dict[str, Any]]) -> str:
    """`web: port 80/tcp: - → *:8080`, a line for each change."""
    return "\n".join(f"{name}: {row['What']}: {row['Before'] or '-'} → {row['After'] or '-'}"
                     + (" (from its next start on)" if row["AtRestart"] else "")
                     for row in changes) or f"{name}: nothing changes"


def _body(args: Arguments, session: Session) -> dict[str, Any]:
    from kist.cli import container_values
    from kist.cli.container_body import COPIED, MADE, BadValue, bad_value

    body: dict[str, Any] = {}
    for name, value in args.values.items():
        if name in MADE and name in DOCKERS:
            _, field, maker = MADE[name]
            try:
                body[field] = getattr(container_values, maker)(value)
            except BadValue as bad:
                raise bad_value(args, name, bad.value, str(bad)) from None
            except ValueError as error:
                raise CliError(str(error)) from None
        elif name in DOCKERS:
            body[COPIED[name][1]] = value
    if set(args.values) - set(DOCKERS) - {"kernel-memory"}:
        _add_own(body, args, session)
    return body


def _add_own(body: dict[str, Any], args: Arguments, session: Session) -> None:
    """What Docker's update doesn't know, in the words by which `run` makes containers."""
    from kist.cli.container_body import container_part

    made = container_part(args, ADDED, session.settings)
    host = made.get("HostConfig", {})
    if "Ulimits" in host:
        body["Ulimits"] = host["Ulimits"]
    own = {"Env": made.get("Env"), "Labels": made.get("Labels"), "PortBindings": host.get("PortBindings"),
           "Binds": [*host.get("Binds", ()), *made.get("Volumes", ())], "Mounts": host.get("Mounts"),
           "HealthOnFailure": args.text("health-on-failure"), "DryRun": args.flag("dry-run"),
           "RestartNow": args.flag("restart-now"), "LimitsRemove": _limits(args),
           **{field: args.list(name) for name, field in REMOVED.items()}}
    body["Kist"] = {field: value for field, value in own.items() if value}


def _limits(args: Arguments) -> list[str]:
    """`--limit-rm memory` → HostConfig's names."""
    from kist.cli.container_body import COPIED, MADE

    names = []
    for word in args.list("limit-rm"):
        if word not in DOCKERS or word in ("restart", "network-rate", "cpu-rt-period", "cpu-rt-runtime"):
            raise CliError(f"no such limit: {word}")
        names.append(MADE[word][1] if word in MADE else COPIED[word][1])
    return names


COMMAND = Command(
    "Update configuration of one or more containers", "[OPTIONS] CONTAINER [CONTAINER...]", run, arity=(1, None),
    options=tuple(sorted((*(row[:4] for row in CONTAINER_OPTIONS if row[0] in DOCKERS or row[0] in ADDED),
                          *OWN_OPTIONS))), requests=("ContainerUpdate",))
