"""By default nothing is shared between two containers: files, processes, IPC, hostname, network, /tmp, /dev/shm …"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from support.daemon import Daemon

NAMESPACES = ("mnt", "pid", "ipc", "uts", "net", "cgroup")


@pytest.fixture
def two(daemon: Daemon) -> Iterator[Daemon]:
    for name in ("one", "two"):
        daemon.ok("run", "-d", "--name", name, "-v", "/volume", "--tmpfs", "/ram", "busybox", "sh", "-c",
                  f"exec sleep 4{len(name)}00{'1' if name == 'one' else '2'}")
    yield daemon
    daemon.clean()


def do(server: Daemon, name: str, command: str) -> str:
    return server.ok("exec", name, "sh", "-c", command)


def test_no_namespace_is_shared_with_the_other_nor_with_the_host(two: Daemon) -> None:
    see = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in NAMESPACES)
    one, other = do(two, "one", see).split(), do(two, "two", see).split()
    with_host = two.command("sh", "-c", see).stdout.split()
    assert len(one) == len(NAMESPACES)
    for kind, a, b, c in zip(NAMESPACES, one, other, with_host, strict=True):
        assert len({a, b, c}) == 3, kind


@pytest.mark.parametrize("place", ["", "/tmp", "/root", "/etc", "/dev", "/dev/shm", "/volume", "/ram", "/var"])
def test_files(two: Daemon, place: str) -> None:
    do(two, "one", f"mkdir -p {place}/; echo secret > {place}/mark")
    assert do(two, "two", f"test -e {place}/mark || echo none") == "none"
    assert do(two, "two", f"ls -A {place or '/'} 2>/dev/null | grep -c mark || true") == "0"


def test_processes(two: Daemon) -> None:
    seen = do(two, "one", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "43001" in seen and "43002" not in seen
    pid = two.ok("inspect", "-f", "{{.State.Pid}}", "two")
    assert two.kist("exec", "one", "kill", "-9", pid).returncode != 0
    do(two, "one", "kill -9 -1 || true")
    assert two.ok("inspect", "-f", "{{.State.Status}}", "two") == "running"


def test_ipc_and_posix_queues(two: Daemon) -> None:
    """System V objects by /proc/sysvipc, message queues by their file system; each container has limits of its own."""
    do(two, "one", "mkdir -p /q; touch /dev/mqueue/mark")
    assert do(two, "two", "ls /dev/mqueue") == ""
    assert do(two, "one", "ls /dev/mqueue") == "mark"
    one, other = (do(two, name, "stat -c %d /dev/mqueue /dev/shm") for name in ("one", "two"))
    assert not set(one.split()) & set(other.split())
    two.ok("run", "-d", "--name", "own", "--sysctl", "kernel.msgmax=4096", "busybox", "sleep", "1000")
    assert do(two, "own", "cat /proc/sys/kernel/msgmax") == "4096"
    assert do(two, "two", "cat /proc/sys/kernel/msgmax") != "4096"


def test_names(two: Daemon) -> None:
    assert len({do(two, "one", "hostname"), do(two, "two", "hostname"), socket.gethostname()}) == 3
    assert do(two, "one", "cat /etc/hosts") != do(two, "two", "cat /etc/hosts")
    two.ok("run", "-d", "--name", "free", "--cap-add", "SYS_ADMIN", "busybox", "sleep", "1000")
    do(two, "free", "hostname changed")
    assert do(two, "two", "hostname") != "changed" and socket.gethostname() != "changed"


def test_network(two: Daemon) -> None:
    """Ports and addresses: the other has its own of each."""
    two.ok("exec", "-d", "one", "nc", "-l", "-p", "80")
    listens = "for i in $(seq 50); do grep -q ':0050 ' /proc/net/tcp /proc/net/tcp6 && exit 0; sleep 0.1; done; exit 1"
    do(two, "one", listens)
    assert do(two, "two", "grep -c ':0050 ' /proc/net/tcp || true") == "0"
    two.ok("exec", "-d", "two", "nc", "-l", "-p", "80")  # the same port is free
    do(two, "two", listens)
    one, other = (do(two, name, "ip -o addr show eth0; cat /sys/class/net/eth0/address") for name in ("one", "two"))
    assert one != other
    assert "43001" not in do(two, "two", "cat /proc/net/unix /proc/net/tcp")


def test_limits_and_what_is_counted(two: Daemon) -> None:
    """A file descriptor, a mount, an environment: nothing of it goes over."""
    two.ok("run", "-d", "--name", "set", "-e", "SECRET=1", "busybox", "sleep", "1000")
    assert "SECRET" not in do(two, "two", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")
    two.ok("run", "-d", "--name", "mounter", "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined",
           "busybox", "sleep", "1000")
    do(two, "mounter", "mount -t tmpfs mark /mnt 2>/dev/null || { mkdir -p /mnt; mount -t tmpfs mark /mnt; }")
    assert "mark" not in do(two, "two", "cat /proc/mounts")
