"""What Kist's update changes beyond Docker's: environment, labels, published ports, mounts. Pure.

::

    the record as its next start would find it ── alter(asked) ──▶ the same, altered ── changes() ──▶ rows to show
                                                        │
                                                        ├── at once: labels, ports, limits, the restart policy
                                                        └── PENDING: a running process can't be given these
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from kist.api import bodies
from kist.engine import mountpoints
from kist.engine.checks import check_on_failure
from kist.engine.network.ports import wanted_ports
from kist.engine.records import ContainerRecord, Mount, Pending
from kist.engine.spec.resources import REMOVABLE, THROTTLES
from kist.errors import Conflict, InvalidParameter

Json = dict[str, Any]
PENDING_CONFIG, PENDING_HOST = ("Env", "Volumes"), ("Binds", "Mounts", "Tmpfs", "Ulimits")


class Change(msgspec.Struct, rename="pascal"):
    """One row: `what` is "env PATH", "port 80/tcp", "volume /data", "label a", "Memory"; "" means not there."""

    what: str
    before: str
    after: str
    at_restart: bool = False


def alter(record: ContainerRecord, asked: bodies.ContainerChanges, new_name: Callable[[], str]) -> list[Mount]:
    """Change `record` (an upcoming() copy) as asked; answers the mounts that are new and not yet resolved."""
    config, host = dict(record.config), dict(record.host)
    config["Env"] = _environment(config["Env"] or [], asked)
    config["Labels"] = {name: value for name, value in {**(config["Labels"] or {}), **(asked.Labels or {})}.items()
                        if name not in (asked.LabelsRemove or ())}
    record.config, record.host = config, host
    if asked.HealthOnFailure is not None:
        check_on_failure(config, asked.HealthOnFailure)
        host["HealthOnFailure"] = asked.HealthOnFailure.removeprefix("none")
    _ports(record, asked)
    return _mounts(record, asked, new_name)


def _environment(now: list[str], asked: bodies.ContainerChanges) -> list[str]:
    """A name keeps its place; the last word about it counts."""
    found = {entry.partition("=")[0]: entry for entry in now}
    for entry in asked.Env or ():
        name = entry.partition("=")[0]
        if not name or "\0" in entry:
            raise InvalidParameter(f"invalid environment variable: {entry}")
        found[name] = entry
    for name in asked.EnvRemove or ():
        if found.pop(name, None) is None:
            raise InvalidParameter(f"no such environment variable: {name}")
    return list(found.values())


def _ports(record: ContainerRecord, asked: bodies.ContainerChanges) -> None:
    if not asked.PortBindings and not asked.PortsRemove:
        return
    mode = record.host["NetworkMode"]
    if mode == "host" or mode.startswith("container:"):
        raise Conflict(f"conflicting options: port publishing and the network mode {mode.partition(':')[0]}")
    bindings = {port: list(places or [{}]) for port, places in record.host["PortBindings"].items()}
    for text in asked.PortsRemove or ():
        _unpublish(bindings, text)
    added: Json = msgspec.to_builtins(asked.PortBindings or {})
    for port, places in added.items():
        known = bindings.setdefault(port, [])
        known += [place for place in places or [{"HostIp": "", "HostPort": ""}] if place not in known]
    places_taken: set[tuple[str, str, int]] = set()
    for one in wanted_ports(bindings):
        place = (one.proto, one.host_ip, one.first)
        if one.first and one.first == one.last and place in places_taken:
            raise Conflict(f"Bind for {one.host_ip or '0.0.0.0'}:{one.first} failed: port is already allocated")
        places_taken.add(place)
    record.host["PortBindings"] = bindings
    record.config["ExposedPorts"] = {**(record.config.get("ExposedPorts") or {}), **{port: {} for port in added}}


def _unpublish(bindings: dict[str, list[Json]], text: str) -> None:
    """`80[/tcp]`: wherever it is published; `[address:]8080:80[/tcp]`: there only."""
    ports, _, proto = text.partition("/")
    place, _, port = ports.rpartition(":")
    address, _, host_port = place.rpartition(":")
    key = f"{port}/{proto.lower() or 'tcp'}"
    found = [one for one in bindings.get(key, ()) if (not host_port or one.get("HostPort") == host_port)
             and (not address or one.get("HostIp") == address.strip("[]"))]
    if not found:
        raise InvalidParameter(f"port {text} is not published")
    bindings[key] = [one for one in bindings[key] if one not in found]
    if not bindings[key]:
        del bindings[key]


def _mounts(record: ContainerRecord, asked: bodies.ContainerChanges, new_name: Callable[[], str]) -> list[Mount]:
    given = {"Binds": asked.Binds, "Mounts": msgspec.to_builtins(asked.Mounts)}
    new = mountpoints.mount_points(given, (), (), new_name)
    for target in asked.MountsRemove or ():
        if all(mount.target != target for mount in record.mounts):
            raise InvalidParameter(f"nothing is mounted on {target}")
    gone = {*(asked.MountsRemove or ()), *(mount.target for mount in new)}
    if not gone:
        return []
    host = record.host
    host["Binds"] = [text for text in host["Binds"] or () if _target(text) not in gone] + (asked.Binds or [])
    host["Mounts"] = [entry for entry in host["Mounts"] or () if entry["Target"] not in gone] + (given["Mounts"] or [])
    host["Tmpfs"] = {path: options for path, options in (host["Tmpfs"] or {}).items() if path not in gone} or None
    record.config["Volumes"] = {path: {} for path in record.config["Volumes"] or () if path not in gone} or None
    record.mounts = [mount for mount in record.mounts if mount.target not in gone] + new
    return new


def _target(bind: str) -> str:
    return mountpoints.parse_bind(bind, lambda: "x" * 64).target


def pending(now: ContainerRecord, after: ContainerRecord) -> Pending | None:
    """What of `after` has to wait for the next start of a container that runs as `now`."""
    config = {name: after.config[name] for name in PENDING_CONFIG if after.config[name] != now.config[name]}
    host = {name: after.host[name] for name in PENDING_HOST if after.host[name] != now.host[name]}
    if not config and not host and after.mounts == now.mounts:
        return None
    return Pending(config=config, host=host, mounts=after.mounts)


def changes(before: ContainerRecord, after: ContainerRecord, *, alive: bool) -> list[Change]:
    """What differs, in words."""
    rows: list[Change] = []
    for kind, describe, waits in _KINDS:
        old, new = dict(describe(before)), dict(describe(after))
        rows += [Change(f"{kind}{name}", old.get(name, ""), new.get(name, ""), alive and waits)
                 for name in {**old, **new} if old.get(name) != new.get(name)]
    return rows


_Pairs = Iterator[tuple[str, str]]


def _env_rows(record: ContainerRecord) -> _Pairs:
    for entry in record.config["Env"] or ():
        name, equals, value = entry.partition("=")
        yield name, value or ('""' if equals else "(unset)")


def _label_rows(record: ContainerRecord) -> _Pairs:
    for name, value in (record.config["Labels"] or {}).items():
        yield name, value or '""'


def _port_rows(record: ContainerRecord) -> _Pairs:
    for port, places in record.host["PortBindings"].items():
        yield port, ", ".join(f"{place.get('HostIp') or '*'}:{place.get('HostPort') or '(any)'}"
                              for place in places or [{}])


def _mount_rows(record: ContainerRecord) -> _Pairs:
    for mount in record.mounts:
        source = mount.source if mount.type == "bind" else mount.name or mount.type
        yield mount.target, source + ("" if mount.rw else " (read-only)")


def _limit_rows(record: ContainerRecord) -> _Pairs:
    for name in LIMITS:
        if record.host[name]:
            yield name, str(record.host[name])
    for name in DEVICE_LIMITS:
        for entry in record.host[name] or ():
            if entry["Rate"]:
                yield f"{name} {entry['Path']}", str(entry["Rate"])


def device_limits(now: Json, given: Json) -> Json:
    """The entries of devices: what is given replaces what is known of the path; 0 lifts it (and is dropped when that
    is done: `settled`)."""
    found = {}
    for name in DEVICE_LIMITS:
        if given.get(name):
            entries = {entry["Path"]: entry for entry in [*(now[name] or ()), *given[name]]}
            found[name] = list(entries.values())
    return found


def remove_limits(host: Json, names: Sequence[str]) -> None:
    """Take limits away, by HostConfig's names."""
    for name in names:
        if name in DEVICE_LIMITS:
            host[name] = [{**entry, "Rate": 0} for entry in host[name] or ()]
        elif name not in REMOVABLE:
            raise InvalidParameter(f"no such limit: {name}")
        elif name in ("CpusetCpus", "CpusetMems"):
            host[name] = ""
        else:
            host[name] = None if name == "PidsLimit" else 0
    if "Memory" in names:
        host["MemorySwap"] = 0  # it counts memory, too
    elif "MemorySwap" in names and host["Memory"]:
        host["MemorySwap"] = -1  # none given would mean twice the memory


def settled(host: Json) -> Json:
    """Without the entries of devices that say 0."""
    return {**host, **{name: [entry for entry in host[name] or () if entry["Rate"]] for name in DEVICE_LIMITS}}


def _rate_rows(record: ContainerRecord) -> _Pairs:
    for name, rate in (record.host.get("NetworkRate") or {}).items():
        yield name.lower(), f"{rate * 8}bit"


def _ulimit_rows(record: ContainerRecord) -> _Pairs:
    for entry in record.host["Ulimits"] or ():
        yield entry["Name"], f"{entry['Soft']}:{entry['Hard']}"


def _restart_rows(record: ContainerRecord) -> _Pairs:
    policy = record.host["RestartPolicy"]
    yield "", policy["Name"] + (f":{policy['MaximumRetryCount']}" if policy["MaximumRetryCount"] else "")


def _health_rows(record: ContainerRecord) -> _Pairs:
    yield "", record.host.get("HealthOnFailure") or "none"


# Docker's own update changes these; beside them there is the restart policy.
LIMITS = ("BlkioWeight", "CpuShares", "CpuPeriod", "CpuQuota", "CpuRealtimePeriod",
          "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems", "Memory", "MemorySwap",
          "MemoryReservation", "NanoCpus", "PidsLimit")
DEVICE_LIMITS = tuple(THROTTLES)  # entries with a path; Docker's clients send none with an update
# (the row's first word, name → description, waits for a restart)
_KINDS: tuple[tuple[str, Callable[[ContainerRecord], _Pairs], bool], ...] = (
    ("env ", _env_rows, True), ("label ", _label_rows, False), ("port ", _port_rows, False),
    ("volume ", _mount_rows, True), ("ulimit ", _ulimit_rows, True), ("", _limit_rows, False),
    ("network rate ", _rate_rows, False),
    ("restart policy", _restart_rows, False), ("on failure of health", _health_rows, False),
)
