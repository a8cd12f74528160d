"""The list of mounts: Docker's own, then the generated /etc files with binds, volumes and tmpfs of the user.

A user's mount replaces a default one of the same destination. Parents come before children (stable sort by
depth), so `-v /a:/x -v /b:/x/y` gives what one expects in either order, and who mounts something on /etc still has
the generated files in it (as Docker's).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kist.engine.records import Mount
from kist.engine.spec.defaults import MOUNTS

Json = dict[str, Any]
ETC_FILES = ("resolv.conf", "hostname", "hosts")
# Relative paths in the root file system that exist for the sake of Kist's own mounts.
MOUNT_POINTS = (".dockerenv", "dev", "proc", "sys", *(f"etc/{name}" for name in ETC_FILES))
_PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_TREE_WORDS = _PROPAGATIONS | {"unbindable", "runbindable"}


def mounts(host: Json, user: Iterable[Mount], *, etc: dict[str, str], shm: str | None,
           images: Mapping[str, str] | None = None, owners: Mapping[str, Json] | None = None) -> list[Json]:
    """`etc`: file name → host path of the generated file; `shm`: host path of a shared /dev/shm, or None; `images`:
    target → where an image's files are mounted before the root is; `owners`: target → its id mappings."""
    asked = [_asked(mount, images or {}, owners or {}) for mount in user]
    taken = {mount["destination"].rstrip("/") or "/" for mount in asked}
    found = [_default(*entry, host=host, shm=shm) for entry in MOUNTS
             if entry[0] not in taken and not _left_out(entry[0], host)]
    generated = [_generated(name, path, host) for name, path in etc.items() if f"/etc/{name}" not in taken]
    return found + sorted([*generated, *asked], key=lambda mount: mount["destination"].rstrip("/").count("/"))


def _generated(name: str, path: str, host: Json) -> Json:
    """Read-only where the root is (moby: networkMounts)."""
    options = ["rbind", "rprivate", "ro"] if host["ReadonlyRootfs"] else ["rbind", "rprivate"]
    return {"destination": f"/etc/{name}", "type": "bind", "source": path, "options": options}


def _left_out(target: str, host: Json) -> bool:
    """`--ipc none` has no /dev/shm at all (moby: "none: own private IPC namespace, with /dev/shm not mounted")."""
    return target == "/dev/shm" and host["IpcMode"] == "none"


def _default(target: str, kind: str, source: str, options: tuple[str, ...], *, host: Json,
             shm: str | None) -> Json:
    wanted = list(options)
    if target == "/dev/shm":
        if shm is not None:
            return {"destination": target, "type": "bind", "source": shm, "options": ["rbind", "rprivate"]}
        wanted.append(f"size={host['ShmSize']}")
    if host["IpcMode"] == "host" and target == "/dev/shm":  # an mqueue is its IPC namespace's: a new mount shows it
        return {"destination": target, "type": "bind", "source": target, "options": ["rbind", "rprivate"]}
    if host["Privileged"] and target in ("/sys", "/sys/fs/cgroup"):
        wanted = [option for option in wanted if option != "ro"]
    return {"destination": target, "type": kind, "source": source, "options": wanted}


def _asked(mount: Mount, images: Mapping[str, str], owners: Mapping[str, Json]) -> Json:
    if mount.type == "tmpfs":
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs",
                "options": tmpfs_options(mount.options, read_only=not mount.rw)}
    modes = set(mount.mode.split(",")) if mount.mode else set()
    propagation = mount.propagation or next(iter(modes & _PROPAGATIONS), "rprivate")
    options = ["bind" if mount.recursion == "disabled" or "bind-nonrecursive" in modes else "rbind", propagation]
    if not mount.rw:  # rro: what is mounted below, too (Docker since 25)
        options.append("ro" if mount.recursion == "writable" else "rro")
    found: Json = {"destination": mount.target, "type": "bind", "source": images.get(mount.target, mount.source),
                   "options": options, **owners.get(mount.target, {})}
    if mount.subpath:
        found["kist"] = {"subpath": mount.subpath}
    return found


def tmpfs_options(asked: Iterable[str], *, read_only: bool = False) -> list[str]:
    """Docker's defaults for tmpfs with the user's words over them (`exec` takes away `noexec`)."""
    found: dict[str, str] = {"exec": "noexec", "suid": "nosuid", "dev": "nodev", "ro": "rw"}
    for option in asked:
        key = option.partition("=")[0]
        if option in _TREE_WORDS:
            found[option] = found.pop(option, option)  # each is done, in this order
            continue
        plain = key.removeprefix("no") if key.removeprefix("no") in ("exec", "suid", "dev") else key
        found["ro" if plain == "rw" else plain] = option
    if read_only:
        found["ro"] = "ro"
    return [option for option in found.values() if option not in ("rw", "exec", "suid", "dev")]


def replaced(user: Iterable[Mount]) -> list[str]:
    """Generated files of /etc that the user mounts something over: they are there below it, as in Docker's init layer,
    so that nothing but a file goes on them."""
    names = {f"/etc/{name}" for name in ETC_FILES}
    return [mount.target for mount in user if mount.target in names]


def root_propagation(user: Iterable[Mount]) -> str:
    """The weakest propagation of `/` under which every asked one works (runtime-spec: rootfsPropagation). By rslave the
    host's mounts come in, nothing goes out; each mount of the container has its own word besides."""
    return "shared" if any(mount.propagation.endswith("shared") for mount in user) else "rslave"
