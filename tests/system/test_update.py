"""`kist update`: what Docker can't change on an existing container, in the words of `run`."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.daemon import Daemon
from support.hub import free_port
from support.waiting import until

SERVE = "while true; do echo {} | nc -l -p {}; done"


def inspected(daemon: Daemon, name: str) -> Any:
    return json.loads(daemon.ok("inspect", name))[0]


def answer(port: int) -> str:
    """What a server behind a published port says; "" when there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return connection.makefile().read().strip()
    except OSError:
        return ""


def test_a_stopped_container_takes_everything_at_once(daemon: Daemon) -> None:
    port = free_port()
    daemon.ok("create", "--name", "web", "-e", "KEEP=1", "-e", "GO=1", "-e", "A=old", "-l", "one=1", "-l", "two=2",
              "-v", "first:/first", "busybox", "sh", "-c", "echo $A$GO$KEEP; touch /first/x /second/x; cat /made")
    daemon.ok("cp", "/etc/hostname", "web:/made")  # the writable layer
    assert daemon.ok("update", "-e", "A=new", "--env-rm", "GO", "-l", "three=3", "--label-rm", "one",
                     "-v", "second:/second", "-p", f"{port}:80", "--ulimit", "nofile=77:88", "web") == "web"
    found = inspected(daemon, "web")
    assert [entry for entry in found["Config"]["Env"] if not entry.startswith("PATH=")] == ["KEEP=1", "A=new"]
    assert found["Config"]["Labels"] == {"two": "2", "three": "3"}
    assert found["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": str(port)}]}
    assert found["HostConfig"]["Binds"] == ["first:/first", "second:/second"]
    assert {mount["Destination"] for mount in found["Mounts"]} == {"/first", "/second"}
    assert found["HostConfig"]["Ulimits"] == [{"Name": "nofile", "Soft": 77, "Hard": 88}]
    assert "Pending" not in found
    with open("/etc/hostname") as file:
        assert daemon.ok("start", "-a", "web").split() == ["new1", *file.read().split()]
    daemon.ok("update", "--volume-rm", "/second", "--publish-rm", "80", "web")
    found = inspected(daemon, "web")
    assert found["HostConfig"]["PortBindings"] == {} and found["HostConfig"]["Binds"] == ["first:/first"]
    daemon.ok("volume", "rm", "second")


def test_a_running_container_gets_its_ports_at_once(daemon: Daemon) -> None:
    first, second = free_port(), free_port()
    daemon.ok("run", "-d", "--name", "web", "-p", f"127.0.0.1:{first}:80", "busybox", "sh", "-c",
              f"({SERVE.format('eighty', 80)}) & {SERVE.format('ninety', 90)}")
    assert until(lambda: answer(first) == "eighty")
    pid = inspected(daemon, "web")["State"]["Pid"]
    daemon.ok("update", "-p", f"127.0.0.1:{second}:90", "web")
    assert until(lambda: answer(second) == "ninety") and until(lambda: answer(first) == "eighty")
    daemon.ok("update", "--publish-rm", f"{first}:80", "--publish-rm", "90", "-p", f"127.0.0.1:{first}:90", "web")
    assert until(lambda: answer(first) == "ninety") and answer(second) == ""
    assert daemon.ok("port", "web") == f"90/tcp -> 127.0.0.1:{first}"
    assert inspected(daemon, "web")["State"]["Pid"] == pid
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused = daemon.kist("update", "--publish-rm", "90", "-p", f"127.0.0.1:{taken.getsockname()[1]}:80", "web")
    assert refused.returncode == 1 and "address already in use" in refused.stderr
    assert until(lambda: answer(first) == "ninety"), "all or nothing"
    assert daemon.ok("port", "web") == f"90/tcp -> 127.0.0.1:{first}"


def test_what_a_running_process_can_not_be_given_waits_for_its_next_start(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "box", "-e", "A=old", "busybox", "sh", "-c", "trap exit TERM; touch /kept; "
              "while true; do sleep 0.05; done")
    assert until(lambda: daemon.kist("exec", "box", "ls", "/kept").returncode == 0)
    done = daemon.kist("update", "-e", "A=new", "-v", "vol:/data", "-l", "now=1", "box")
    assert (done.returncode, done.stdout) == (0, "box\n")
    assert "env A, volume /data: from its next start on" in done.stderr
    found = inspected(daemon, "box")
    assert found["Config"]["Labels"] == {"now": "1"} and "A=old" in found["Config"]["Env"]
    assert found["Pending"] == [{"What": "env A", "Before": "old", "After": "new"},
                                {"What": "volume /data", "Before": "", "After": "vol"}]
    assert daemon.ok("exec", "box", "sh", "-c", "echo $A") == "old"
    assert daemon.kist("volume", "rm", "vol").returncode == 1, "it is in use"
    daemon.ok("restart", "box")
    assert daemon.ok("exec", "box", "sh", "-c", "echo $A; ls -d /data /kept") == "new\n/data\n/kept"
    assert "Pending" not in inspected(daemon, "box")
    done = daemon.kist("update", "-e", "A=newest", "--restart-now", "box")
    assert (done.returncode, done.stdout, done.stderr) == (0, "box\n", "")
    assert daemon.ok("exec", "box", "sh", "-c", "echo $A; ls /kept") == "newest\n/kept"


def test_a_dry_run_tells_and_changes_nothing(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "box", "-e", "A=1", "-m", "64m", "busybox", "sleep", "100")
    before = inspected(daemon, "box")
    told = daemon.ok("update", "--dry-run", "-e", "A=2", "-l", "l=v", "-p", "8080:80", "-m", "32m",
                     "--restart", "always", "-v", "/srv:/srv:ro", "box")
    assert told.splitlines() == [
        "box: env A: 1 → 2 (from its next start on)", "box: label l: - → v", "box: port 80/tcp: - → *:8080",
        "box: volume /srv: - → /srv (read-only) (from its next start on)", f"box: Memory: {64 << 20} → {32 << 20}",
        "box: restart policy: no → always"]
    assert inspected(daemon, "box") == before
    assert daemon.ok("update", "--dry-run", "-e", "A=1", "box") == "box: nothing changes"


LIMITS = """cd /sys/fs/cgroup; if [ -e memory.max ]; then cat memory.max cpu.max pids.max cpu.weight
else cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max cpu/cpu.shares; fi"""


def test_limits_are_taken_away_while_it_runs(daemon: Daemon) -> None:
    free = daemon.ok("run", "--rm", "busybox", "sh", "-c", LIMITS)
    daemon.ok("run", "-d", "--name", "box", "-m", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cpu-shares", "300",
              "--cpuset-cpus", "0", "busybox", "sleep", "1000")
    assert daemon.ok("exec", "box", "sh", "-c", LIMITS).split()[0] == str(64 << 20)
    words = [f"--limit-rm={name}" for name in ("memory", "cpus", "pids-limit", "cpu-shares", "cpuset-cpus")]
    assert daemon.ok("update", "--dry-run", *words, "box").splitlines() == [
        "box: CpuShares: 300 → -", "box: CpusetCpus: 0 → -", f"box: Memory: {64 << 20} → -",
        f"box: MemorySwap: {128 << 20} → -", "box: NanoCpus: 500000000 → -", "box: PidsLimit: 50 → -"]
    daemon.ok("update", *words, "box")
    assert daemon.ok("exec", "box", "sh", "-c", LIMITS) == free
    host = inspected(daemon, "box")["HostConfig"]
    assert [host[name] for name in ("Memory", "MemorySwap", "NanoCpus", "PidsLimit", "CpuShares", "CpusetCpus")] == [
        0, 0, 0, None, 0, ""]
    refused = daemon.kist("update", "--limit-rm", "restart", "box")
    assert (refused.returncode, refused.stderr) == (1, "no such limit: restart\n")


def test_what_devices_may_do_changes(daemon: Daemon) -> None:
    """On record; on a device that is none, as nothing else is sure to be there."""
    daemon.ok("create", "--name", "box", "--device-read-bps", "/dev/x:1mb", "--device-write-iops", "/dev/x:5",
              "busybox")
    assert daemon.ok("update", "--dry-run", "--device-read-bps", "/dev/x:2mb", "--device-read-bps", "/dev/y:3mb",
                     "--device-write-iops", "/dev/x:0", "box").splitlines() == [
        f"box: BlkioDeviceReadBps /dev/x: {1 << 20} → {2 << 20}", "box: BlkioDeviceWriteIOps /dev/x: 5 → -",
        f"box: BlkioDeviceReadBps /dev/y: - → {3 << 20}"]
    daemon.ok("update", "--device-read-bps", "/dev/y:3mb", "--device-write-iops", "/dev/x:0", "box")
    host = inspected(daemon, "box")["HostConfig"]
    assert host["BlkioDeviceReadBps"] == [{"Path": "/dev/x", "Rate": 1 << 20}, {"Path": "/dev/y", "Rate": 3 << 20}]
    assert host["BlkioDeviceWriteIOps"] == []
    daemon.ok("update", "--limit-rm", "device-read-bps", "box")
    assert inspected(daemon, "box")["HostConfig"]["BlkioDeviceReadBps"] == []


@pytest.mark.parametrize(("options", "words"), [
    (("--env-rm", "NO"), "no such environment variable: NO"),
    (("--publish-rm", "80"), "port 80 is not published"),
    (("--volume-rm", "/no"), "nothing is mounted on /no"),
    (("-p", "8080:80", "-p", "8080:81"), "port is already allocated"),
    (("--mount", "type=bind,source=/no/such,target=/x"), "bind source path does not exist"),
])
def test_mistakes_are_named_and_change_nothing(daemon: Daemon, options: tuple[str, ...], words: str) -> None:
    daemon.ok("create", "--name", "box", "busybox")
    before = inspected(daemon, "box")
    done = daemon.kist("update", "-l", "a=b", *options, "box")
    assert done.returncode == 1 and words in done.stderr
    assert inspected(daemon, "box") == before


def test_dockers_own_update_is_as_it_was(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "100")
    done = daemon.docker("update", "--memory", "64m", "--memory-swap", "128m", "--restart", "always", "box")
    assert (done.returncode, done.stdout, done.stderr) == (0, "box\n", "")
    assert inspected(daemon, "box")["HostConfig"]["Memory"] == 64 << 20


def test_a_server_killed_in_an_update_leaves_old_or_new(make_daemon: Callable[..., Daemon]) -> None:
    """Killed at some moment of a stream of updates: ports, labels and limits on record are those that hold."""
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    ports = free_port(), free_port()
    daemon.ok("run", "-d", "--name", "box", "-m", "64m", "-l", "round=x", "busybox", "sh", "-c", SERVE.format("hi", 80))
    for delay in (0.05, 0.3, 0.7):
        stop, published = threading.Event(), bool(inspected(daemon, "box")["HostConfig"]["PortBindings"])

        def change(stop: threading.Event = stop, there: bool = published) -> None:
            rounds = 0
            while not stop.is_set():
                gone = ("--publish-rm", "80") if rounds or there else ()
                if daemon.kist("update", *gone, "-p", f"127.0.0.1:{ports[rounds % 2]}:80", "-l", f"round={rounds}",
                               "-m", f"{64 + rounds % 2}m", "box").returncode:
                    return
                rounds += 1

        thread = threading.Thread(target=change)
        thread.start()
        time.sleep(delay)
        daemon.kill()
        stop.set()
        thread.join(60)
        daemon.end_autostarted()
        daemon.start()
        found = inspected(daemon, "box")
        assert found["State"]["Running"]
        number = found["Config"]["Labels"]["round"]
        if number == "x":
            continue
        at = int(number) % 2
        assert found["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == str(ports[at])
        assert until(lambda port=ports[at]: answer(port) == "hi")  # type: ignore[misc]
        assert found["HostConfig"]["Memory"] == (64 + at) << 20
        limit = daemon.ok("exec", "box", "sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
                          "/sys/fs/cgroup/memory.max 2>/dev/null || true")
        assert limit.split()[0] == str((64 + at) << 20)
