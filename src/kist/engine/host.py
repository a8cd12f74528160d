"""Facts about this machine that the engine needs, read once at start (devices: when asked for)."""

from __future__ import annotations

import os
import platform as _platform
import stat
from dataclasses import dataclass
from typing import Any

from kist.engine import realtime
from kist.engine.limits import Machine, parse_set
from kist.engine.spec import Device
from kist.errors import InvalidParameter
from kist.linux import capabilities

Json = dict[str, Any]
# Programs that are an init for `--init`, statically linked, in the order of preference.
INITS = ("/usr/bin/docker-init", "/usr/libexec/docker/docker-init", "/usr/bin/tini-static",
         "/usr/bin/catatonit", "/usr/libexec/podman/catatonit", "/usr/libexec/catatonit/catatonit")


@dataclass(frozen=True, slots=True)
class Host:
    name: str
    machine: str
    release: str
    limits: Machine
    memory: int
    known_capabilities: frozenset[str]
    cgroup_version: int
    os_name: str
    os_version: str

    @classmethod
    def read(cls) -> Host:
        uname = os.uname()
        online = _read_set("/sys/devices/system/cpu/online") or frozenset(range(os.cpu_count() or 1))
        known = frozenset(capabilities.NAMES[:capabilities.last_cap() + 1])
        os_name, os_version = _os_release()
        return cls(
            name=uname.nodename, machine=uname.machine, release=uname.release,
            limits=Machine(cpus=len(online), online_cpus=online, realtime=realtime.available(),
                           block_weights=_block_weights(), selinux=os.path.exists("/sys/fs/selinux/enforce"),
                           memory_nodes=_read_set("/sys/devices/system/node/online") or frozenset({0})),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            known_capabilities=known & _permitted(),
            cgroup_version=2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
            os_name=os_name, os_version=os_version)


def _block_weights(root: str = "/sys/fs/cgroup") -> bool:
    """Whether control groups weigh block I/O: the root group has no weight itself, any other one shows it."""
    top = f"{root}/blkio" if os.path.isdir(f"{root}/blkio") else root
    groups = [top, *(entry.path for entry in os.scandir(top) if entry.is_dir())]
    return len(groups) == 1 or any(os.path.exists(f"{group}/{name}") for group in groups for name in _WEIGHTS)


_WEIGHTS = ("blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight")


def find_init() -> str | None:
    return next((path for path in INITS if os.access(path, os.X_OK)), None)


def devices(host: Json) -> tuple[Device, ...]:
    """`--device` (a directory means all below it), or every device of the host for `--privileged`."""
    found: list[Device] = []
    if host["Privileged"]:
        found = [device for path in _device_paths("/dev") if (device := _device(path, path, "rwm")) is not None]
    for entry in host["Devices"]:
        found += _asked(entry)
    return tuple({device.path: device for device in found}.values())


def block_numbers(host: Json) -> dict[str, tuple[int, int]]:
    """The numbers of the block devices that I/O limits name."""
    found = {}
    for field in ("BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps",
                  "BlkioDeviceWriteIOps"):
        for entry in host[field] or ():
            try:
                number = os.stat(entry["Path"]).st_rdev
            except OSError as error:
                raise InvalidParameter(f"stat {entry['Path']}: {(error.strerror or '').lower()}") from None
            if not number:
                raise InvalidParameter(f"{entry['Path']} is not a device")
            found[entry["Path"]] = (os.major(number), os.minor(number))
    return found


def _asked(entry: Json) -> list[Device]:
    source = entry["PathOnHost"]
    target, access = entry["PathInContainer"] or source, entry["CgroupPermissions"] or "rwm"
    if not set(access) <= set("rwm"):
        raise InvalidParameter(f"invalid device mode: {access}")
    device = _device(source, target, access)
    if device is not None:
        return [device]
    if os.path.isdir(source):
        inside = [(path, os.path.join(target, os.path.relpath(path, source))) for path in _device_paths(source)]
        return [found for path, there in inside if (found := _device(path, there, access)) is not None]
    # Docker's words for a missing or plain file.
    raise InvalidParameter(f'error gathering device information while adding custom device "{source}": '
                        + ("not a device node" if os.path.exists(source) else "no such file or directory"))


def _device(source: str, target: str, access: str) -> Device | None:
    try:
        info = os.stat(source)
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(info.st_mode) else "b" if stat.S_ISBLK(info.st_mode) else ""
    if not kind:
        return None
    return Device(path=target, kind=kind, major=os.major(info.st_rdev), minor=os.minor(info.st_rdev),
                  mode=stat.S_IMODE(info.st_mode), uid=info.st_uid, gid=info.st_gid, access=access)


_NOT_FOR_CONTAINERS = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"})


def _device_paths(folder: str) -> list[str]:
    """Device nodes below a directory, without the places that a container has of its own."""
    found: list[str] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return found
    for entry in entries:
        if (folder == "/dev" and entry.name in _NOT_FOR_CONTAINERS) or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _device_paths(entry.path)
        elif not entry.is_file(follow_symlinks=False):
            found.append(entry.path)
    return found


def _read_set(path: str) -> frozenset[int] | None:
    try:
        with open(path, encoding="ascii") as file:
            return parse_set(file.read())
    except (OSError, ValueError):
        return None


def _permitted() -> frozenset[str]:
    """What this server holds itself: a capability that it lacks can't be given to a container."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("CapBnd:"):
                    mask = int(line.split()[1], 16)
                    return frozenset(name for name, bit in capabilities.NUMBER.items() if mask >> bit & 1)
    except (OSError, ValueError):
        pass
    return frozenset(capabilities.NAMES)


def _os_release() -> tuple[str, str]:
    try:
        words = _platform.freedesktop_os_release()
    except OSError:
        return "Linux", ""
    return words.get("PRETTY_NAME", "Linux"), words.get("VERSION_ID", "")
