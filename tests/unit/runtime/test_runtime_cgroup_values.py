"""Control groups without a kernel: layouts, version 2 on a tree of plain files, device programs, systemd."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from kist.linux.dbus import Bus, BusError, Reader, Variant, Writer, decode, encode, split
from kist.runtime.cgroup import Layout, parse
from kist.runtime.cgroup.devices_bpf import program
from kist.runtime.cgroup.systemd import open_systemd, properties, slice_path
from kist.runtime.cgroup.v1_limits import device_line
from kist.runtime.cgroup.v2_limits import apply, io_weight, weight
from kist.runtime.errors import RuntimeFailure, SpecError, StepError

V1 = """25 1 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
26 1 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
27 1 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 1 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_layouts() -> None:
    hybrid = parse(V1)
    assert (hybrid.kind, hybrid.v2) == ("hybrid", "/sys/fs/cgroup/unified")
    assert hybrid.v1["cpu"] == hybrid.v1["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert "name=systemd" in hybrid.v1
    assert parse("28 1 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw").kind == "v2"


@pytest.fixture
def group(tmp_path: Path) -> Path:
    for name in ("memory.max", "memory.swap.max", "memory.low", "memory.current", "pids.max", "cpu.weight", "cpu.max",
                 "cpu.max.burst", "cpu.idle", "cpuset.cpus", "io.max", "io.weight", "memory.high"):
        (tmp_path / name).write_text("max 100000" if name == "cpu.max" else "0")
    return tmp_path


def read(group: Path, name: str) -> str:
    return (group / name).read_text()


def test_version_2_values(group: Path) -> None:
    apply(str(group), {"memory": {"limit": 100, "swap": 300, "reservation": 50}, "pids": {"limit": -1},
                       "cpu": {"shares": 1024, "quota": 5000, "cpus": "0-1"},
                       "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}]},
                       "unified": {"memory.high": "99"}})
    found = {name: read(group, name) for name in ("memory.max", "memory.swap.max", "memory.low", "pids.max",
                                                 "cpu.weight", "cpuset.cpus", "io.max", "memory.high")}
    assert {name: value.rstrip("0") if name == "x" else value for name, value in found.items()} == {
        "memory.max": "100", "memory.swap.max": "200", "memory.low": "50", "pids.max": "max", "cpu.weight": "39",
        "cpuset.cpus": "0-1", "io.max": "8:0 rbps=7", "memory.high": "99"}
    assert read(group, "cpu.max").startswith("5000")


@pytest.mark.parametrize("resources", [
    {"memory": {"swap": 5}}, {"memory": {"swap": 5, "limit": 10}}, {"memory": {"swappiness": 5}},
    {"cpu": {"realtimeRuntime": 5}}, {"unified": {"../x": "1"}}, {"unified": {"no.such": "1"}},
])
def test_version_2_refuses(group: Path, resources: dict[str, Any]) -> None:
    with pytest.raises(RuntimeFailure):
        apply(str(group), resources)


def test_weights() -> None:
    assert [weight(shares) for shares in (2, 1024, 262144)] == [1, 39, 10000]
    assert [io_weight(value) for value in (10, 1000)] == [1, 10000]


def test_device_lines() -> None:
    assert device_line({"allow": False, "access": "rwm"}) == "a"
    assert device_line({"type": "c", "major": 1, "minor": -1, "access": "rw"}) == "c 1:* rw"


def run_program(code: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """The few eBPF instructions that are used, interpreted."""
    registers = [0] * 11
    context = {0: access << 16 | kind, 4: major, 8: minor}
    position = 0
    while True:
        opcode, pair, offset, value = struct.unpack_from("=BBhi", code, position * 8)
        dst, src = pair & 15, pair >> 4
        position += 1
        if opcode == 0x61:
            registers[dst] = context[offset]
        elif opcode == 0xBC:
            registers[dst] = registers[src]
        elif opcode == 0x54:
            registers[dst] &= value
        elif opcode == 0x74:
            registers[dst] >>= value
        elif opcode == 0xB7:
            registers[dst] = value
        elif opcode == 0x55:
            position += offset if registers[dst] != value else 0
        elif opcode == 0x5D:
            position += offset if registers[dst] != registers[src] else 0
        elif opcode == 0x95:
            return registers[0]
        else:
            raise AssertionError(hex(opcode))


RULES = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
         {"allow": True, "type": "b", "access": "m"}, {"allow": True, "type": "c", "major": 136, "access": "rwm"},
         {"allow": False, "type": "c", "major": 136, "minor": 9, "access": "r"}]


@pytest.mark.parametrize(("kind", "access", "major", "minor", "allowed"), [
    (2, 2, 1, 3, 1), (2, 6, 1, 3, 1), (2, 1, 1, 3, 0), (2, 7, 1, 3, 0), (2, 2, 1, 4, 0), (1, 1, 8, 0, 1),
    (1, 2, 8, 0, 0), (2, 7, 136, 5, 1), (2, 2, 136, 9, 0), (2, 4, 136, 9, 1), (1, 2, 1, 3, 0),
])
def test_device_program(kind: int, access: int, major: int, minor: int, allowed: int) -> None:
    assert run_program(program(RULES), kind, access, major, minor) == allowed


def test_device_program_default_is_no() -> None:
    assert run_program(program([]), 2, 2, 1, 3) == 0
    assert run_program(program([{"allow": True, "access": "rwm"}]), 2, 2, 1, 3) == 1


# systemd, by a bus of our own


def test_marshalling() -> None:
    assert split("sa(sv)ua{sv}") == ["s", "a(sv)", "u", "a{sv}"]
    writer = Writer()
    value = [("A", Variant("au", [1, 2])), ("B", Variant("s", "x")), ("C", Variant("t", 1 << 40))]
    writer.write("y", 7)
    writer.write("a(sv)", value)
    reader = Reader(bytes(writer.data))
    assert reader.read("y") == 7
    assert reader.read("a(sv)") == [("A", [1, 2]), ("B", "x"), ("C", 1 << 40)]


def test_a_call_as_the_specification_has_it() -> None:
    raw = encode(5, "/o", "i.f", "M", "d.e", "su", ("abc", 9))
    assert raw[:4] == b"l\x01\x00\x01"
    message = decode(raw)
    assert (message.serial, message.fields[3], message.body) == (5, "M", ["abc", 9])


class FakeSystemd(threading.Thread):
    """Speaks D-Bus on a socket: answers each call with a job, and says that the job is done."""

    def __init__(self, path: Path, result: str = "done") -> None:
        super().__init__(daemon=True)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen()
        self.result = result
        self.calls: list[tuple[str, list[Any]]] = []

    def run(self) -> None:
        while True:
            try:
                peer = self.server.accept()[0]
            except OSError:
                return
            with peer:
                self._serve(peer)

    def _serve(self, peer: socket.socket) -> None:
        data = b""
        while not data.endswith(b"BEGIN\r\n"):  # a call that is read along with it lies there: systemd waits for more
            data += peer.recv(1000)
        peer.sendall(b"OK 1234\r\n")
        data = b""
        while True:
            chunk = peer.recv(65536)
            if not chunk:
                return
            data += chunk
            while len(data) >= 16:
                body, fields = struct.unpack_from("<I", data, 4)[0], struct.unpack_from("<I", data, 12)[0]
                total = 16 + fields + -(16 + fields) % 8 + body
                self._answer(peer, decode(data[:total]))
                data = data[total:]

    def _answer(self, peer: socket.socket, call: Any) -> None:
        member = call.fields[3]
        self.calls.append((member, call.body))
        if member in ("StartTransientUnit", "StopUnit"):
            peer.sendall(_message(2, [(5, Variant("u", call.serial))], "o", "/job/1"))
            peer.sendall(_message(4, [(1, Variant("o", "/m")), (2, Variant("s", "M")), (3, Variant("s", "JobRemoved"))],
                                  "uoss", 1, "/job/1", call.body[0], self.result))
        elif member == "Fail":
            peer.sendall(_message(3, [(5, Variant("u", call.serial)), (4, Variant("s", "org.Bad"))], "s", "no"))
        else:
            peer.sendall(_message(2, [(5, Variant("u", call.serial))], "s", ":1.5"))


def _message(kind: int, fields: list[tuple[int, Variant]], signature: str, *values: Any) -> bytes:
    body = Writer()
    for part, value in zip(split(signature), values, strict=True):
        body.write(part, value)
    head = Writer()
    head.data += struct.pack("<BBBBII", ord("l"), kind, 0, 1, len(body.data), 1)
    head.write("a(yv)", [*fields, (8, Variant("g", signature))])
    head.align(8)
    return bytes(head.data + body.data)


def test_a_scope_is_started_and_stopped(tmp_path: Path) -> None:
    fake = FakeSystemd(tmp_path / "bus")
    fake.start()
    (tmp_path / "cg" / "machine.slice" / "libpod-x.scope").mkdir(parents=True)
    for directory in (tmp_path / "cg", tmp_path / "cg" / "machine.slice"):
        (directory / "cgroup.controllers").write_text("")
        (directory / "cgroup.subtree_control").write_text("")
    group: Any = open_systemd({"linux": {"cgroupsPath": "machine.slice:libpod:x"}}, "x",
                              Layout({}, str(tmp_path / "cg")))
    group.bus_address = str(tmp_path / "bus")
    group.create()
    placeholder = group.placeholder
    assert Path(f"/proc/{placeholder}").exists()
    group.apply({"pids": {}, "memory": {}})
    group.settled()
    assert not Path(f"/proc/{placeholder}").exists()
    group.remove()
    fake.server.close()
    started = dict(fake.calls)["StartTransientUnit"]
    assert started[:2] == ["libpod-x.scope", "fail"]
    wanted = dict(started[2])
    assert (wanted["Slice"], wanted["Delegate"], wanted["PIDs"]) == ("machine.slice", 1, [placeholder])
    assert dict(fake.calls)["StopUnit"] == ["libpod-x.scope", "replace"]


def test_a_refused_scope_leaves_nothing(tmp_path: Path) -> None:
    fake = FakeSystemd(tmp_path / "bus", result="failed")
    fake.start()
    group: Any = open_systemd({}, "x", Layout({}, str(tmp_path)))
    group.bus_address = str(tmp_path / "bus")
    with pytest.raises(StepError, match="systemd says failed"):
        group.create()
    assert group.placeholder == 0
    fake.server.close()


def test_bus_errors(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Bus(str(tmp_path / "none"))
    fake = FakeSystemd(tmp_path / "bus")
    fake.start()
    bus = Bus(str(tmp_path / "bus"))
    with pytest.raises(BusError) as caught:
        bus.call("d", "/p", "i", "Fail")
    assert caught.value.name == "org.Bad"
    bus.close()
    fake.server.close()


def test_slices_and_limits() -> None:
    assert slice_path("a-b-c.slice") == "/a.slice/a-b.slice/a-b-c.slice"
    assert slice_path("-.slice") == ""
    for bad in ("x", "a--b.slice", "-a.slice", "a/b.slice"):
        with pytest.raises(SpecError):
            slice_path(bad)
    found = {name: variant.value for name, variant in properties(
        {"memory": {"limit": 10, "swap": 30}, "cpu": {"quota": 50000, "period": 100000, "shares": 1024},
         "pids": {"limit": -1}}, 2)}
    assert found == {"MemoryMax": 10, "MemorySwapMax": 20, "CPUWeight": 39, "CPUQuotaPerSecUSec": 500000,
                     "CPUQuotaPeriodUSec": 100000, "TasksMax": (1 << 64) - 1}
