"""The systemd driver: the control group is a transient scope that systemd knows and does not touch (Delegate).

``linux.cgroupsPath`` is ``slice:prefix:name``, as runc has it: ``machine.slice:libpod:abc`` becomes the unit
``libpod-abc.scope`` in ``machine.slice``. A scope needs a process to begin with; a placeholder lives in it until the
container's own process is there. Limits that systemd knows are set there as well, or it would undo them.
"""

from __future__ import annotations

import os

from kist.linux.dbus import SYSTEMD_PRIVATE, Bus, BusError, Variant
from kist.runtime.cgroup import Layout, detect
from kist.runtime.cgroup.base import Cgroup
from kist.runtime.cgroup.v1 import V1
from kist.runtime.cgroup.v2 import V2
from kist.runtime.cgroup.v2_limits import io_weight, weight
from kist.runtime.errors import SpecError, StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make

_SERVICE = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_INFINITY = (1 << 64) - 1


def open_systemd(spec: dict[str, Any], container_id: str, layout: Layout | None = None) -> Cgroup:
    text = (spec.get("linux") or {}).get("cgroupsPath") or f"system.slice:kist:{container_id}"
    parts = text.split(":")
    if len(parts) != 3 or not parts[2]:
        raise SpecError(f"linux.cgroupsPath: expected \"slice:prefix:name\" for the systemd driver, got {text!r}")
    parent, prefix, name = parts
    parent = parent or "system.slice"
    unit = name if name.endswith(".slice") else f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    return make(f"{slice_path(parent)}/{unit}", unit, parent, layout)


def reopen(record: dict[str, Any]) -> Cgroup:
    return make(record["cgroup"], record["systemd"], "", None)


def make(path: str, unit: str, parent: str, layout: Layout | None) -> Cgroup:
    layout = layout or detect()
    return SystemdV2(path, layout, unit, parent) if layout.kind == "v2" else SystemdV1(path, layout, unit, parent)


def slice_path(name: str) -> str:
    """a-b.slice lies in a.slice (systemd.slice(5))."""
    if name == "-.slice":
        return ""
    if not name.endswith(".slice") or "/" in name or name.startswith("-") or "--" in name:
        raise SpecError(f"linux.cgroupsPath: {name!r} is not the name of a slice")
    words = name.removesuffix(".slice").split("-")
    return "".join("/" + "-".join(words[: count + 1]) + ".slice" for count in range(len(words)))


def properties(resources: dict[str, Any], version: int) -> list[tuple[str, Variant]]:
    """The limits in systemd's words (org.freedesktop.systemd1(5))."""
    found: list[tuple[str, Variant]] = []

    def add(name: str, signature: str, value: Any) -> None:
        found.append((name, Variant(signature, value)))

    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    if memory.get("limit"):
        add("MemoryMax" if version == 2 else "MemoryLimit", "t", _size(memory["limit"]))
    if version == 2 and memory.get("reservation"):
        add("MemoryLow", "t", _size(memory["reservation"]))
    if version == 2 and memory.get("swap") and memory.get("limit"):
        swap = memory["swap"]
        add("MemorySwapMax", "t", _INFINITY if swap < 0 else swap - memory["limit"])
    if cpu.get("shares"):
        add("CPUWeight" if version == 2 else "CPUShares", "t",
            weight(cpu["shares"]) if version == 2 else cpu["shares"])
    if cpu.get("quota"):
        period = cpu.get("period") or 100000
        per_second = _INFINITY if cpu["quota"] < 0 else -(-cpu["quota"] * 1_000_000 // period // 10000) * 10000
        add("CPUQuotaPerSecUSec", "t", per_second)
        add("CPUQuotaPeriodUSec", "t", period)
    if (resources.get("pids") or {}).get("limit"):
        limit = resources["pids"]["limit"]
        add("TasksMax", "t", limit if limit > 0 else _INFINITY)
    block = (resources.get("blockIO") or {}).get("weight")
    if block:
        add("IOWeight" if version == 2 else "BlockIOWeight", "t", io_weight(block) if version == 2 else block)
    return found


def _size(value: int) -> int:
    return _INFINITY if value < 0 else value


class _Scope:
    """What both versions share; mixed into the class that works on the files."""

    unit = ""
    parent = ""
    placeholder = 0
    bus_address = ""

    def _bus(self) -> Bus:
        """systemd's own socket for root works without a bus, and before there is one."""
        if self.bus_address:
            return Bus(self.bus_address)
        return Bus(SYSTEMD_PRIVATE, direct=True) if os.path.exists(SYSTEMD_PRIVATE) else Bus()

    def begin(self) -> None:
        """Start the scope around a placeholder, and wait until systemd says that the job is done."""
        self.placeholder = _sleeper()
        accounting = [(f"{name}Accounting", Variant("b", 1)) for name in ("CPU", "Memory", "IO", "Tasks")]
        wanted = [("Description", Variant("s", "kist container")), ("Slice", Variant("s", self.parent)),
                  ("Delegate", Variant("b", 1)), ("PIDs", Variant("au", [self.placeholder])),
                  ("DefaultDependencies", Variant("b", 0)), *accounting]
        try:
            self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", self.unit, "fail", wanted, [])
        except BaseException:
            self.settled()
            raise

    def _job(self, method: str, signature: str, *arguments: Any) -> None:
        bus = self._bus()
        try:
            bus.call(*_SERVICE, "Subscribe")
            if not bus.direct:
                rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'"
                bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s", rule)
            job = bus.call(*_SERVICE, method, signature, *arguments)[0]
            while True:
                body = bus.signal("JobRemoved").body
                if body[1] == job:
                    break
            if body[3] != "done":
                raise StepError(f"{method} {self.unit}: systemd says {body[3]}")
        except BusError as error:
            raise StepError(f"{method} {self.unit}: {error.strerror}") from None
        finally:
            bus.close()

    def tell(self, resources: dict[str, Any], version: int) -> None:
        wanted = properties(resources, version)
        if not wanted:
            return
        bus = self._bus()
        try:
            bus.call(*_SERVICE, "SetUnitProperties", "sba(sv)", self.unit, 1, wanted)
        except BusError as error:
            raise StepError(f"SetUnitProperties {self.unit}: {error.strerror}") from None
        finally:
            bus.close()

    def settled(self) -> None:
        if self.placeholder:
            os.kill(self.placeholder, signal.SIGKILL)
            os.waitpid(self.placeholder, 0)
            self.placeholder = 0

    def end(self) -> None:
        """A scope ends by itself with its last process; one that was killed would be kept as failed. Nothing is waited
        for here: the group's directory is removed next, and that takes its time if it must."""
        bus = self._bus()
        try:
            for method, signature, arguments in (("StopUnit", "ss", (self.unit, "replace")),
                                                 ("ResetFailedUnit", "s", (self.unit,))):
                try:
                    bus.call(*_SERVICE, method, signature, *arguments)
                except BusError:
                    continue  # it is gone already
        finally:
            bus.close()


def _sleeper() -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os.closerange(3, 1024)
            signal.pause()
        finally:
            os._exit(0)
    return pid


class SystemdV2(_Scope, V2):
    def __init__(self, path: str, layout: Layout, unit: str, parent: str) -> None:
        V2.__init__(self, path, layout)
        self.unit, self.parent = unit, parent

    def create(self) -> None:
        self.begin()
        V2.create(self)

    def apply(self, resources: dict[str, Any]) -> None:
        self.tell(resources, 2)
        V2.apply(self, resources)

    def settled(self) -> None:
        _Scope.settled(self)

    def remove(self) -> None:
        self.settled()
        self.end()
        V2.remove(self)


class SystemdV1(_Scope, V1):
    def __init__(self, path: str, layout: Layout, unit: str, parent: str) -> None:
        V1.__init__(self, path, layout)
        self.unit, self.parent = unit, parent

    def create(self) -> None:
        """The placeholder goes into every hierarchy: systemd removes what is empty from those that its unit doesn't
        need, whenever it looks at the unit again."""
        self.begin()
        for attempt in range(8):
            V1.create(self)
            try:
                self.join(self.placeholder)
                return
            except FileNotFoundError:  # it looked just now
                if attempt == 7:
                    raise

    def apply(self, resources: dict[str, Any]) -> None:
        self.tell(resources, 1)
        V1.apply(self, resources)

    def settled(self) -> None:
        _Scope.settled(self)

    def remove(self) -> None:
        self.settled()
        self.end()
        V1.remove(self)
