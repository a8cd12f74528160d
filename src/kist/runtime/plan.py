"""From the specification to the list of steps. Pure: nothing of the system is read, nothing is changed.

The order of the lists is the order of the story that `init` runs:

    root     the namespaces' names and settings, and the root in its place
    setup    the container's view of the world, before its root becomes /
    pivot    into it
    process  everything that makes this process the user's
    (the barrier: `start`)
    last     what must come right before execve(2)
"""

from __future__ import annotations

from kist.linux.namespaces import CLONE_NEWNET
from kist.runtime import kernel, process, root, scheduling
from kist.runtime.cgroup.mounts import CgroupMounts
from kist.runtime.devices import Devices, Links
from kist.runtime.errors import SpecError
from kist.runtime.mounts import Bind, Mount, RemountReadonly, normal, steps_for
from kist.runtime.namespaces import Namespaces
from kist.runtime.paths import MaskedPaths, ReadonlyPaths
from kist.runtime.step import Step

# With others some mounts of the host's tree are still shared: what holds the root, and what is let go of in the end.
_FOR_EVERY_MOUNT = ("rslave", "rprivate")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Plan:
    __slots__ = ("last", "pivot", "process", "root", "setup")

    def __init__(self) -> None:
        self.root: list[Step] = []
        self.setup: list[Step] = []
        self.pivot: list[Step] = []
        self.process: list[Step] = []
        self.last: list[Step] = []

    def steps(self) -> list[Step]:
        return [*self.root, *self.setup, *self.pivot, *self.process, *self.last]


def plan(spec: dict[str, Any], namespaces: Namespaces, *, container_id: str, bundle: str, terminal: bool,
         no_pivot: bool = False) -> Plan:
    """SpecError for what can't be; the words say which field."""
    linux = spec.get("linux") or {}
    made = Plan()
    mounted = "mount" in namespaces.private
    made.root.append(root.HostView())
    _identity(made, spec, linux, namespaces)
    _root(made, spec, linux, bundle, mounted=mounted)
    if mounted:
        _mounts(made, spec, namespaces, bundle)
        _dev(made, spec, linux, namespaces)
    elif spec.get("mounts"):
        raise SpecError("mounts: they need a mount namespace")
    if terminal:
        from kist.runtime.console import OpenConsole

        made.setup.append(OpenConsole(spec.get("process") or {}, bind=mounted))
    _finish_root(made, spec, linux, mounted=mounted, no_pivot=no_pivot)
    if spec.get("process"):
        keyring = (spec.get("kist") or {}).get("keyring", True)
        made.process, made.last = process.steps_for(spec["process"], linux, container_id, keyring=keyring,
                                                    keep_groups=process.keeps_groups(spec))
    return made


def _identity(made: Plan, spec: dict[str, Any], linux: dict[str, Any], namespaces: Namespaces) -> None:
    for field, step in (("hostname", kernel.Hostname), ("domainname", kernel.Domainname)):
        if spec.get(field):
            if "uts" not in namespaces.private:
                raise SpecError(f"{field}: it needs a uts namespace")
            made.root.append(step(spec[field]))
    if namespaces.cgroup:
        made.root.append(kernel.JoinCgroupNamespace())
    if namespaces.new & CLONE_NEWNET:
        from kist.runtime.loopback import Loopback

        made.root.append(Loopback())
    rate = (spec.get("kist") or {}).get("networkRate")
    if rate:
        from kist.runtime.network_rate import NetworkRate

        if "network" not in namespaces.private:
            raise SpecError("kist.networkRate: it needs a network namespace")
        made.root.append(NetworkRate(rate))
    for key, value in (linux.get("sysctl") or {}).items():
        kernel.check_sysctl(key, namespaces.private)
        made.root.append(kernel.Sysctl(key, str(value)))
    score = (spec.get("process") or {}).get("oomScoreAdj")
    if score is not None:
        made.root.append(scheduling.OomScore(score))
    made.root += process.labels(spec.get("process") or {})


def _root(made: Plan, spec: dict[str, Any], linux: dict[str, Any], bundle: str, *, mounted: bool) -> None:
    path = (spec.get("root") or {}).get("path") or "rootfs"
    path = path if path.startswith("/") else f"{bundle}/{path}"
    if mounted:
        propagation = linux.get("rootfsPropagation") or "rslave"
        if "unbindable" in propagation:
            propagation = "rslave"  # until all that has to be bound is: RootPropagation
        made.root.append(root.Propagation(propagation))
        if propagation not in _FOR_EVERY_MOUNT:
            made.root.append(root.PrivateParent(path))
        own = spec.get("kist") or {}
        layers = own.get("rootfs") or []
        if own.get("storageQuota"):
            from kist.runtime.quota import StorageQuota, with_quota

            made.root.append(StorageQuota(own["storageQuota"], path))
            layers = with_quota(layers, path)
        label = linux.get("mountLabel") or ""
        if label:
            layers = [{**mount, "options": [*(mount.get("options") or []), f"context={label}"]} for mount in layers]
        in_user = any(one.get("type") == "user" for one in linux.get("namespaces") or [])
        if in_user and any("destination" in mount for mount in layers):
            raise SpecError("kist.rootfs: mounts below the root can't be combined with a user namespace")
        made.root += [root.MountRootfs(mount, mount.get("destination") or path, -1 - number)
                      for number, mount in enumerate(layers)]
        if not layers:
            made.root.append(root.BindRoot(path))
    made.root.append(root.OpenRoot(path))


def _mounts(made: Plan, spec: dict[str, Any], namespaces: Namespaces, bundle: str) -> None:
    label = (spec.get("linux") or {}).get("mountLabel") or ""
    def cgroup_steps(destination: str, options: Any) -> list[Step]:
        return [CgroupMounts(destination, options, own_namespace="cgroup" in namespaces.private)]

    made.setup += [root.EmptyFile(path) for path in (spec.get("kist") or {}).get("files") or []]
    for index, mount in enumerate(spec.get("mounts") or []):
        made.setup += steps_for(mount, bundle, index, cgroup_steps, label)
    made.setup += _readonly_late(made.setup)


def _readonly_late(steps: list[Step]) -> list[Step]:
    """Of a read-only tmpfs with mounts below it: their places have to be made in it first."""
    found: list[Step] = []
    for index, step in enumerate(steps):
        if isinstance(step, Mount) and step.type == "tmpfs" and step.readonly and step.destination != "/dev":
            below = step.destination.rstrip("/") + "/"
            step.late = any(getattr(later, "destination", "").startswith(below) for later in steps[index + 1:])
            found += [RemountReadonly(step.destination)] if step.late else []
    return found


def _dev(made: Plan, spec: dict[str, Any], linux: dict[str, Any], namespaces: Namespaces) -> None:
    """A /dev bound from the host is complete; nothing is made in it."""
    mounts = {normal(mount["destination"]): mount for mount in spec.get("mounts") or []}
    bound = any(isinstance(step, Bind) and step.destination == "/dev" for step in made.setup)
    if not bound:
        ptmx = "/dev/pts" in mounts  # then /dev/ptmx is its multiplexer, and no device that was asked for
        devices = [device for device in linux.get("devices") or []
                   if not ptmx or normal(device["path"]) != "/dev/ptmx"]
        made.setup.append(Devices(devices, bind=namespaces.in_user))
        made.setup.append(Links(ptmx=ptmx))
    if "/dev" in mounts and not bound and "ro" in (mounts["/dev"].get("options") or []):
        made.setup.append(RemountReadonly("/dev"))


def _finish_root(made: Plan, spec: dict[str, Any], linux: dict[str, Any], *, mounted: bool, no_pivot: bool) -> None:
    cwd = (spec.get("process") or {}).get("cwd") or "/"
    made.setup.append(process.MakeWorkingDirectory(cwd))
    for field in ("readonlyPaths", "maskedPaths"):
        if linux.get(field) and not mounted:
            raise SpecError(f"linux.{field}: needs a mount namespace")
    if linux.get("readonlyPaths"):
        made.setup.append(ReadonlyPaths(linux["readonlyPaths"]))
    if linux.get("maskedPaths"):
        made.setup.append(MaskedPaths(linux["maskedPaths"]))
    if (spec.get("root") or {}).get("readonly"):
        if not mounted:
            raise SpecError("root.readonly: needs a mount namespace")
        made.setup.append(root.ReadonlyRoot())
    propagation = linux.get("rootfsPropagation") or ""
    if not mounted:
        made.pivot.append(root.Chroot())
        return
    shared = propagation not in ("", *_FOR_EVERY_MOUNT)
    made.pivot.append(root.MoveRoot() if no_pivot else root.PivotRoot(slave=shared))
    if "shared" in propagation or "unbindable" in propagation:
        made.pivot.append(root.RootPropagation(propagation))
