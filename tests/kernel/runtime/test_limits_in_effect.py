"""Limits in effect: what a process that meets one sees, or what the kernel counted when it did.

Where a limit needs something that this machine lacks (huge pages, swap, a controller) the virtual machines have it
(tests/vm: parts v2, v1 and rdma); here its refusal is tested, or what is left of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.groups import OURS, V2, inside, table

Shell = Callable[..., str]


@pytest.fixture
def python(spec: dict[str, Any]) -> str:
    """This machine's Python, for containers: where it is inside."""
    for place in ("/usr", "/lib", "/lib64"):
        spec["mounts"].append({"destination": place, "type": "bind", "source": place, "options": ["rbind", "ro"]})
    return str(Path("/proc/self/exe").resolve())


def kernel_setting(path: str, value: str) -> Iterator[None]:
    file = Path(path)
    before = file.read_text()
    file.write_text(value)
    yield
    file.write_text(before)


# huge pages

HUGE = 2 << 20
HUGE_PAGES = f"""
import mmap, os
PRIVATE, ANONYMOUS, NORESERVE, HUGETLB = 0x2, 0x20, 0x4000, 0x40000
try:
    mmap.mmap(-1, 3 * {HUGE}, flags=PRIVATE | ANONYMOUS | HUGETLB)
except OSError as error:
    print(error.strerror, flush=True)
pages = mmap.mmap(-1, 3 * {HUGE}, flags=PRIVATE | ANONYMOUS | HUGETLB | NORESERVE)
for page in range(3):
    pid = os.fork()
    if pid == 0:
        for number in range(page + 1):
            pages[number * {HUGE}] = 1
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture
def huge_pages() -> Iterator[None]:
    if OURS:
        yield from kernel_setting("/proc/sys/vm/nr_hugepages", "16")
    else:
        yield


def test_huge_pages(spec: dict[str, Any], limits: dict[str, Any], run: Any, python: str, huge_pages: None) -> None:
    """Two may be had. Three are not even reserved; who does without a reservation gets SIGBUS at the third."""
    limits["hugepageLimits"] = [{"pageSize": "2MB", "limit": 2 * HUGE}]
    report = run(spec, python, "-I", "-S", "-c", HUGE_PAGES)
    if not OURS and "error" in report:
        assert "huge" in report["error"]
        return
    assert report["stdout"].splitlines() == ["Cannot allocate memory", "0", "0", "-7"], report


# memory and swap


@pytest.fixture
def swap() -> Iterator[None]:
    """64 MiB of it, on compressed memory, unless there is some."""
    if len(Path("/proc/swaps").read_text().splitlines()) > 1:
        yield
        return
    if not OURS:
        pytest.skip("no swap here: the virtual machine has it (make test-vm)")
    subprocess.run(["modprobe", "zram"], check=True)
    Path("/sys/block/zram0/disksize").write_text("64M")
    subprocess.run(["mkswap", "/dev/zram0"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", "/dev/zram0"], check=True)
    yield
    subprocess.run(["swapoff", "/dev/zram0"], check=True)
    Path("/sys/block/zram0/reset").write_text("1")


def test_swap(limits: dict[str, Any], sh: Shell, swap: None) -> None:
    """32 MiB and 16 MiB of swap: a process of 40 MiB fits, one of 60 MiB is killed. (The shell stays: it is small.)"""
    limits["memory"] = {"limit": 32 << 20, "swap": 48 << 20}
    out = sh(inside("memory", "memory.memsw.limit_in_bytes", "memory.swap.max") + "; for size in 40M 60M; do "
             "dd if=/dev/zero of=/dev/null bs=$size count=1 2>/dev/null; echo $?; done")
    assert out.split() == [str((16 if V2 else 48) << 20), "0", "137"]


def test_no_swap(limits: dict[str, Any], sh: Shell, swap: None) -> None:
    limits["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    assert sh("dd if=/dev/zero of=/dev/null bs=40M count=1 2>/dev/null; echo $?") == "137\n"


# processors

SPIN = "end=$(($(cut -d. -f1 /proc/uptime) + {seconds})); while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do :; done"


def test_quota(limits: dict[str, Any], sh: Shell) -> None:
    """A tenth of a processor, and the kernel counted the periods in which it had to wait."""
    limits["cpu"] = {"quota": 10000, "period": 100000}
    count = table(sh(f"{SPIN.format(seconds=2)}; {inside('cpu', 'cpu.stat', 'cpu.stat')}"))
    assert count["nr_throttled"] > 3
    assert count["throttled_usec" if V2 else "throttled_time"] > 0


def test_burst(limits: dict[str, Any], sh: Shell) -> None:
    """What was left of one period is used up in another."""
    limits["cpu"] = {"quota": 10000, "period": 100000, "burst": 10000}
    count = table(sh(f"sleep 1; {SPIN.format(seconds=2)}; {inside('cpu', 'cpu.stat', 'cpu.stat')}"))
    assert count["nr_bursts"] > 0
    assert count["burst_usec" if V2 else "burst_time"] > 0


class Rival:
    """A process in a group beside the container's, with the weight that every group begins with. When the container
    asks (by a file that both see) it does its work for two seconds, and removes the file: so long the two compete."""

    def __init__(self, place: Path, controller: str, work: str) -> None:
        top = Path("/sys/fs/cgroup", "" if V2 else controller, "kist-test")
        self.group = top / f"rival-{os.getpid()}"
        self.group.mkdir(parents=True)
        for above in (top.parent, top) if V2 else ():
            (above / "cgroup.subtree_control").write_text(f"+{controller}")
        self.place = place
        place.mkdir()
        code = RIVAL.format(group=self.group, place=place, work=work)
        self.process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code])

    def did(self) -> int:
        return int((self.place / "did").read_text())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.group.rmdir()


RIVAL = """
import mmap, os, time
open("{group}/cgroup.procs", "w").write("0")
{work}
while not os.path.exists("{place}/go"):
    time.sleep(0.01)
end = time.monotonic() + 2
did = 0
while time.monotonic() < end:
    did += step()
open("{place}/did", "w").write(str(did))
os.unlink("{place}/go")
"""
LOOP = """
os.sched_setaffinity(0, {0})
last = time.process_time_ns()
def step():
    global last
    for _ in range(10000):
        pass
    before, last = last, time.process_time_ns()
    return last - before
"""
READ = """
disk = os.open("{disk}", os.O_RDONLY | os.O_DIRECT)
room = mmap.mmap(-1, 4096)
def step():
    return os.preadv(disk, [room], 0)
"""


@pytest.fixture
def rival(spec: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., Rival]]:
    made: list[Rival] = []

    def maker(*words: str) -> Rival:
        made.append(Rival(tmp_path / "rival", *words))
        spec["mounts"].append({"destination": "/rival", "type": "bind", "source": str(tmp_path / "rival"),
                               "options": ["bind"]})
        return made[-1]

    yield maker
    for each in made:
        each.close()


def race(limits: dict[str, Any], sh: Shell, rival: Callable[..., Rival], cpu: dict[str, Any]) -> tuple[int, int]:
    """Two loops on one processor: how much of it the container got, and how much the rival, in nanoseconds."""
    limits["cpu"] = {**cpu, "cpus": "0", "mems": "0"}
    other = rival("cpu", LOOP)
    usage = inside("cpuacct", "cpuacct.usage", "cpu.stat | head -1 | cut -d' ' -f2")
    before, after = map(int, sh(f"{usage}; touch /rival/go; while [ -e /rival/go ]; do :; done; {usage}").split())
    return (after - before) * (1000 if V2 else 1), other.did()


def test_idle(limits: dict[str, Any], sh: Shell, rival: Callable[..., Rival]) -> None:
    """What is left over by others."""
    ours, others = race(limits, sh, rival, {"idle": 1})
    assert ours < others / 4


def test_shares(limits: dict[str, Any], sh: Shell, rival: Callable[..., Rival]) -> None:
    """Eight times as much as one with the usual 1024."""
    ours, others = race(limits, sh, rival, {"shares": 8192})
    assert ours > others


# block devices


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[str, int, int]]:
    """A disk of 8 MiB that nobody else uses: its path and number."""
    name = f"kist{os.getpid()}"
    if OURS:
        path = null_disk(name)
    else:
        image = tmp_path / "disk"
        image.write_bytes(bytes(8 << 20))
        path = subprocess.run(["losetup", "-f", "--show", str(image)], check=True, text=True,
                              capture_output=True).stdout.strip()
    number = os.stat(path).st_rdev
    yield path, os.major(number), os.minor(number)
    if OURS:
        Path("/sys/kernel/config/nullb", name, "power").write_text("0")
        Path("/sys/kernel/config/nullb", name).rmdir()
    else:
        subprocess.run(["losetup", "-d", path], check=True)


def null_disk(name: str) -> str:
    """null_blk(kernel: block/null_blk): one queue of one request, each of which takes 10 ms."""
    subprocess.run(["modprobe", "null_blk", "nr_devices=0"], check=True)
    config = Path("/sys/kernel/config")
    if not (config / "nullb").exists():
        subprocess.run(["mount", "-t", "configfs", "configfs", str(config)], check=True)
    place = config / "nullb" / name
    place.mkdir()
    for key, value in (("size", 8), ("submit_queues", 1), ("hw_queue_depth", 1), ("irqmode", 2),
                       ("completion_nsec", 10_000_000), ("power", 1)):
        (place / key).write_text(str(value))
    path = f"/dev/nullb{(place / 'index').read_text().strip()}"
    deadline = time.monotonic() + 10
    while not os.path.exists(path) and not os.path.exists(f"/dev/{name}"):
        assert time.monotonic() < deadline, os.listdir("/dev")
        time.sleep(0.01)
    return path if os.path.exists(path) else f"/dev/{name}"


def with_disk(spec: dict[str, Any], limits: dict[str, Any], disk: tuple[str, int, int]) -> dict[str, int]:
    """The disk as /dev/disk in the container; its number, as limits name it."""
    _path, major, minor = disk
    spec["linux"]["devices"] = [{"path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600}]
    limits["devices"] = [{"allow": False, "access": "rwm"},
                         {"allow": True, "type": "b", "major": major, "minor": minor, "access": "rw"}]
    return {"major": major, "minor": minor}


DIRECT = {"read": "dd if=/dev/disk of=/dev/null iflag=direct bs={bs} count={count} 2>/dev/null",
          "write": "dd if=/dev/zero of=/dev/disk oflag=direct bs={bs} count={count} 2>/dev/null"}
CLOCK = "cut -d' ' -f1 /proc/uptime"


@pytest.mark.parametrize(("limit", "rate", "way", "block"), [
    ("throttleReadBpsDevice", 1 << 20, "read", "128k"), ("throttleWriteBpsDevice", 1 << 20, "write", "128k"),
    ("throttleReadIOPSDevice", 8, "read", "4k"), ("throttleWriteIOPSDevice", 8, "write", "4k")])
def test_block_throttle_is_felt(spec: dict[str, Any], limits: dict[str, Any], sh: Shell, disk: tuple[str, int, int],
                                limit: str, rate: int, way: str, block: str) -> None:
    """Two seconds' worth takes more than one. (A machine that is busy makes it longer, never shorter.)"""
    limits["blockIO"] = {limit: [{**with_disk(spec, limits, disk), "rate": rate}]}
    files = {name: f"blkio.throttle.{way}_{name}_device" for name in ("bps", "iops")}
    shown = inside("blkio", files["iops" if "IOPS" in limit else "bps"], "io.max")
    out = sh(f"{CLOCK}; {DIRECT[way].format(bs=block, count=16)} && {CLOCK}; {shown}")
    began, ended = map(float, out.split()[:2])
    assert re.search(rf"\b{rate}\b", out.splitlines()[2])
    assert ended - began > 1


@pytest.fixture
def bfq(disk: tuple[str, int, int]) -> Iterator[None]:
    scheduler = Path("/sys/block", os.path.basename(disk[0]), "queue", "scheduler")
    if OURS:
        subprocess.run(["modprobe", "bfq"], check=True)
    if "bfq" not in scheduler.read_text():
        pytest.skip("no bfq here: the virtual machine has it (make test-vm)")
    before = re.findall(r"\[(\S+)\]", scheduler.read_text())[0]
    scheduler.write_text("bfq")
    idle = scheduler.with_name("iosched") / "slice_idle_us"  # an emulated reader thinks for long
    idle.write_text("50000")
    yield
    scheduler.write_text(before)


def test_block_weight(spec: dict[str, Any], limits: dict[str, Any], run: Any, disk: tuple[str, int, int],
                      rival: Callable[..., Rival], python: str, bfq: None) -> None:
    """Ten times the rival's, who asks the same slow disk."""
    other = rival("io" if V2 else "blkio", READ.format(disk=disk[0]))
    limits["blockIO"] = {"weight": 1000}
    with_disk(spec, limits, disk)
    report = run(spec, python, "-I", "-S", "-c", READER)
    weight, did = report["stdout"].split("/")
    assert weight.endswith("1000\n"), report
    if OURS:  # there the disk is what bounds both
        assert int(did) > 2 * other.did()


READER = "import mmap, os\n" + READ.format(disk="/dev/disk") + f"""
print(open("/sys/fs/cgroup/{'io.bfq.weight' if V2 else 'blkio/blkio.bfq.weight'}").read(), end="/")
open("/rival/go", "w").close()
did = 0
while os.path.exists("/rival/go"):
    did += step()
print(did)
"""


# network


def count(netns: str, hook: str, match: str) -> Callable[[], int]:
    """Counts the loopback device's packets that match, in the network namespace of a process."""
    def nft(*words: str, **options: Any) -> str:
        command = ["nsenter", f"--net=/proc/{netns}/ns/net", *words]
        return str(subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout)

    nft("ip", "link", "set", "lo", "up")
    rules = f"type filter hook {hook} priority 0; {match} counter;"
    nft("nft", "-f", "-", input=f"table inet kisttest {{ chain c {{ {rules} }}; }}")
    return lambda: int(re.findall(r"packets (\d+)", nft("nft", "list", "table", "inet", "kisttest"))[0])


def test_network_class(spec: dict[str, Any], limits: dict[str, Any], run: Any, hold: Callable[..., str]) -> None:
    """The packet filter knows the container's packets by their class."""
    limits["network"] = {"classID": 0x100001}
    if V2 or not OURS:
        where = "not available with cgroup version 2" if V2 else "controller net_cls is not mounted"
        assert where in run(spec)["error"]
        return
    pid = hold("network")
    seen = count(pid, "output", f"meta cgroup {0x100001}")
    subprocess.run(["nsenter", "-t", pid, "-n", "nc", "127.0.0.1", "9"], stdin=subprocess.DEVNULL, capture_output=True)
    assert seen() == 0
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "network"]
    spec["linux"]["namespaces"].append({"type": "network", "path": f"/proc/{pid}/ns/net"})
    report = run(spec, "sh", "-c", "cat /sys/fs/cgroup/net_cls/net_cls.classid; nc 127.0.0.1 9")
    assert report["stdout"] == f"{0x100001}\n"
    assert seen() > 0


def test_network_priority(spec: dict[str, Any], limits: dict[str, Any], run: Any) -> None:
    """On a device of the machine's, which a container with its network uses."""
    limits["network"] = {"priorities": [{"name": "lo", "priority": 5}]}
    if V2 or not OURS:
        where = "not available with cgroup version 2" if V2 else "controller net_prio is not mounted"
        assert where in run(spec)["error"]
        return
    seen = count("self", "prerouting", "iif lo meta priority 0:5")
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "network"]
    report = run(spec, "sh", "-c", "cat /sys/fs/cgroup/net_prio/net_prio.ifpriomap; nc 127.0.0.1 9")
    assert "lo 5\n" in report["stdout"]
    assert seen() > 0
    subprocess.run(["nft", "delete", "table", "inet", "kisttest"], check=True)
