"""record + facts → OCI runtime configuration. Pure: it looks at nothing but its arguments.

`compile_spec` runs at create; what only start can know (the namespace files of a joined container) makes
`is_late` true, and start compiles once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kist.engine import rates
from kist.engine.records import ContainerRecord
from kist.engine.spec import capabilities as caps
from kist.engine.spec import defaults, seccomp
from kist.engine.spec.mounts import mounts, replaced, root_propagation
from kist.engine.spec.namespaces import FIELDS, joined, namespaces
from kist.engine.spec.resources import resources
from kist.errors import InvalidParameter

Json = dict[str, Any]
OCI_VERSION = "1.2.0"
INIT_TARGET = "/sbin/docker-init"


@dataclass(frozen=True, slots=True)
class User:
    """Who the process is, resolved in the image's passwd and group files."""

    uid: int = 0
    gid: int = 0
    additional: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class Device:
    """A host device for the container. `kind` is c or b, `access` of r, w, m."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    access: str = "rwm"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the engine found out about the host and the container's places before compiling."""

    root: str  # an empty directory that may be shared by all containers
    rootfs: list[Json]  # mounts that make up the root, done by init in its own mount namespace
    quota: Any = None  # the store's `Quota` if the writable layer has a bound
    etc: dict[str, str] = field(default_factory=dict)
    cgroup: str = "/kist/x"
    user: User = User()
    devices: tuple[Device, ...] = ()
    numbers: dict[str, tuple[int, int]] = field(default_factory=dict)
    namespace_paths: dict[str, str] = field(default_factory=dict)
    shm: str | None = None
    init: str | None = None  # host path of a static init program, for --init
    machine: str = "x86_64"  # uname's words
    kernel: str = "5.10"
    known_capabilities: frozenset[str] | None = None
    apparmor: str = ""  # the profile's name; "" without AppArmor
    images: dict[str, list[Json]] = field(default_factory=dict)  # target → mounts, the last with its `destination`
    owners: dict[str, Json] = field(default_factory=dict)  # target → id mappings
    variables: list[str] = field(default_factory=list)  # of legacy links; the container's own come behind them


def compile_spec(record: ContainerRecord, facts: Facts) -> Json:
    """The OCI configuration of a container, Kist's own root mounts in the key ``kist``."""
    host = record.host
    security = security_options(host.get("SecurityOpt"))
    granted = caps.effective(host["CapAdd"], host["CapDrop"], privileged=host["Privileged"],
                             known=facts.known_capabilities)
    spec: Json = {
        "ociVersion": OCI_VERSION,
        "process": _process(record, facts, granted, security),
        "root": {"path": facts.root, "readonly": host["ReadonlyRootfs"]},
        "mounts": mounts(host, record.mounts, etc=facts.etc, shm=facts.shm, owners=facts.owners,
                         images={target: made[-1]["destination"] for target, made in facts.images.items()}),
        "linux": _linux(record, facts, granted, security),
        "kist": {"rootfs": _rootfs(facts), "files": ["/.dockerenv", *replaced(record.mounts)]},
    }
    if facts.quota:
        spec["kist"]["storageQuota"] = facts.quota
    if host.get("NetworkRate") and host["NetworkMode"] != "none":
        spec["kist"]["networkRate"] = rates.to_set(host)
    if host["UTSMode"] != "host" and joined(host["UTSMode"]) is None:
        spec["hostname"] = record.config["Hostname"]
        if record.config.get("Domainname"):
            spec["domainname"] = record.config["Domainname"]
    if host.get("Annotations"):
        spec["annotations"] = host["Annotations"]
    if host.get("Init"):
        spec["mounts"].append({"destination": INIT_TARGET, "type": "bind", "source": facts.init,
                               "options": ["bind", "ro", "exec"]})  # /run may be noexec
    return spec


def _rootfs(facts: Facts) -> list[Json]:
    """All that is mounted before the root, each place once: an image may be there twice."""
    places: dict[str, Json] = {mount["destination"]: mount for made in facts.images.values() for mount in made}
    for mount in facts.rootfs:
        if "destination" in mount:
            places.setdefault(mount["destination"], mount)
    return [*sorted(places.values(), key=lambda mount: mount["type"] == "overlay"),
            *(mount for mount in facts.rootfs if "destination" not in mount)]


def is_late(host: Json) -> bool:
    """Whether a part of the specification can be known only at start."""
    return bool(host["Links"]) or any(joined(host[name] or "") is not None for name in FIELDS if name != "NetworkMode")


def exec_process(record: ContainerRecord, body: Json, user: User, *,
                 known_capabilities: frozenset[str] | None = None, linked: Sequence[str] = ()) -> Json:
    """The OCI process object of an exec in the container (`body`: API ExecConfig)."""
    host = record.host
    privileged = host["Privileged"] or bool(body.get("Privileged"))
    granted = caps.effective(host["CapAdd"], host["CapDrop"], privileged=privileged, known=known_capabilities)
    tty = bool(body.get("Tty"))
    process: Json = {
        "terminal": tty,
        "user": _user(user),
        "args": list(body["Cmd"]),
        "env": environment(record, user, tty=tty, extra=body.get("Env"), linked=linked),
        "cwd": body.get("WorkingDir") or record.config.get("WorkingDir") or "/",
        "capabilities": _capability_sets(granted, user),
        "noNewPrivileges": security_options(host.get("SecurityOpt")).no_new_privileges,
        "rlimits": _rlimits(host),
    }
    if tty:
        process["consoleSize"] = _console(body.get("ConsoleSize"))
    return {**process, **({} if body.get("Privileged") else _confined(record.apparmor))}


def environment(record: ContainerRecord, user: User, *, tty: bool, extra: list[str] | None = None,
                linked: Sequence[str] = ()) -> list[str]:
    """PATH, HOSTNAME, TERM (with a terminal) and HOME unless the image or the user sets them.

    ``NAME`` without ``=`` takes the variable away (docker run: `-e NAME` of an unset variable).
    """
    found: dict[str, str] = {"PATH": defaults.PATH, "HOSTNAME": record.config.get("Hostname") or ""}
    if tty:
        found["TERM"] = "xterm"
    for entry in [*linked, *(record.config.get("Env") or ()), *(extra or ())]:
        name, equals, value = entry.partition("=")
        if equals:
            found[name] = value
        else:
            found.pop(name, None)
    found.setdefault("HOME", user.home)
    return [f"{name}={value}" for name, value in found.items()]


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    seccomp: str | None = None  # None = the default profile, "unconfined", or a profile's text
    apparmor: str | None = None
    no_new_privileges: bool = False


def security_options(options: list[str] | None) -> SecurityOptions:
    """`--security-opt`; unknown ones are refused. Labels mean SELinux, which Kist never turns on (hostconfig.py
    refuses them where the host has it)."""
    found: dict[str, Any] = {}
    for option in options or ():
        key, separator, value = option.partition("=" if "=" in option else ":")
        if key == "no-new-privileges":
            if value not in ("", "true", "false"):
                raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
            found["no_new_privileges"] = value != "false"
        elif key in ("seccomp", "apparmor") and separator:
            found[key] = None if (key, value) == ("seccomp", "builtin") else value
        elif key != "label" or not separator:
            raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
    return SecurityOptions(**found)


def _process(record: ContainerRecord, facts: Facts, granted: list[str], security: SecurityOptions) -> Json:
    host, tty = record.host, bool(record.config.get("Tty"))
    args = [record.path, *record.args]
    process: Json = {
        "terminal": tty,
        "user": _user(facts.user),
        "args": [INIT_TARGET, "--", *args] if host.get("Init") else args,
        "env": environment(record, facts.user, tty=tty, linked=facts.variables),
        "cwd": record.config.get("WorkingDir") or "/",
        "capabilities": _capability_sets(granted, facts.user),
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": host["OomScoreAdj"],
        "rlimits": _rlimits(host),
    }
    if tty:
        process["consoleSize"] = _console(host.get("ConsoleSize"))
    return {**process, **_confined(facts.apparmor)}


def _confined(profile: str) -> Json:
    return {"apparmorProfile": profile} if profile not in ("", "unconfined") else {}


def _linux(record: ContainerRecord, facts: Facts, granted: list[str], security: SecurityOptions) -> Json:
    host = record.host
    limits = resources(host, facts.numbers)
    limits["devices"] = _device_rules(host, facts.devices)
    linux: Json = {
        "namespaces": namespaces(host, facts.namespace_paths),
        "cgroupsPath": facts.cgroup,
        "resources": limits,
        "sysctl": dict(host.get("Sysctls") or {}),
        "devices": [_device_node(device) for device in facts.devices],
        "rootfsPropagation": root_propagation(record.mounts),
        "maskedPaths": list(host["MaskedPaths"] or ()),
        "readonlyPaths": list(host["ReadonlyPaths"] or ()),
    }
    filter_ = _seccomp(host, facts, granted, security)
    if filter_ is not None:
        linux["seccomp"] = filter_
    return linux


def _seccomp(host: Json, facts: Facts, granted: list[str], security: SecurityOptions) -> Json | None:
    """Privileged containers run unfiltered unless a profile is named (moby: WithSeccomp)."""
    if security.seccomp == "unconfined" or (host["Privileged"] and security.seccomp is None):
        return None
    if security.seccomp is None:
        return seccomp.default_for(tuple(granted), facts.machine, facts.kernel)
    return seccomp.custom(security.seccomp, granted, facts.machine, facts.kernel)


def _user(user: User) -> Json:
    return {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.additional)}


def _capability_sets(granted: list[str], user: User) -> Json:
    """Never inheritable or ambient (CVE-2022-24769); a user other than root gets the bounding set only."""
    held = granted if user.uid == 0 else []
    return {"bounding": granted, "effective": held, "permitted": held}


def _rlimits(host: Json) -> list[Json]:
    return [{"type": f"RLIMIT_{entry['Name'].upper()}", "soft": entry.get("Soft", 0), "hard": entry.get("Hard", 0)}
            for entry in host.get("Ulimits") or ()]


def _console(size: list[int] | None) -> Json:
    height, width = size or (0, 0)
    return {"height": height, "width": width}


def _device_rules(host: Json, devices: tuple[Device, ...]) -> list[Json]:
    if host["Privileged"]:
        return [{"allow": True, "access": "rwm"}]
    found = list(defaults.DEVICE_RULES)
    found += [{"allow": True, "type": device.kind, "major": device.major, "minor": device.minor,
               "access": device.access} for device in devices]
    return found + [device_rule(text) for text in host.get("DeviceCgroupRules") or ()]


def device_rule(text: str) -> Json:
    """`c 13:* rwm` → an OCI device rule."""
    try:
        kind, numbers, access = text.split()
        major, minor = numbers.split(":")
        if kind not in ("a", "b", "c") or not set(access) <= set("rwm"):
            raise ValueError
        rule: Json = {"allow": True, "type": kind, "access": access}
        for key, value in (("major", major), ("minor", minor)):
            if value != "*":
                rule[key] = int(value)
    except ValueError:
        raise InvalidParameter(f"invalid device cgroup rule format: '{text}'") from None
    return rule


def _device_node(device: Device) -> Json:
    return {"path": device.path, "type": device.kind, "major": device.major, "minor": device.minor,
            "fileMode": device.mode, "uid": device.uid, "gid": device.gid}
