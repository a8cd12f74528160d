"""By default nothing is shared between two containers: files, processes, IPC, hostname, network, /tmp, /dev/shm …"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from support.daemon import Daemon
from support.processes import ENVIRONMENT, PYTHON

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


# In the namespaces of a container: one of each of System V's objects with the same key, and an abstract socket. It says
# whether any was there already, then waits for the end of its standard input.
MAKE = """
import ctypes, os, socket, sys
from kist.linux.namespaces import setns
for kind in ("ipc", "net"):
    fd = os.open(f"/proc/{sys.argv[1]}/ns/{kind}", os.O_RDONLY)
    setns(fd)
    os.close(fd)
libc, KEY, NEW = ctypes.CDLL(None, use_errno=True), 0x5EC2E7, 0o3600
made = [libc.msgget(KEY, NEW), libc.semget(KEY, 1, NEW), libc.shmget(KEY, 4096, NEW)]
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0secret-name")
print("there" if -1 in made else "fresh", flush=True)
sys.stdin.read()
"""


def test_system_v_objects_and_abstract_sockets(two: Daemon) -> None:
    """Made in both with the same key and name, and each sees its own alone; nor does the host see any of them."""
    makers = [subprocess.Popen([PYTHON, "-c", MAKE, two.ok("inspect", "-f", "{{.State.Pid}}", name)], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
              for name in ("one", "two")]
    try:
        assert [maker.stdout.readline() for maker in makers if maker.stdout] == ["fresh\n", "fresh\n"]
        key = str(0x5EC2E7)
        for kind in ("msg", "sem", "shm"):
            rows = [do(two, name, f"cat /proc/sysvipc/{kind}").splitlines()[1:] for name in ("one", "two")]
            assert [[row.split()[0] for row in found] for found in rows] == [[key], [key]], kind
            assert key not in two.command("cat", f"/proc/sysvipc/{kind}").stdout
        for name in ("one", "two"):
            assert do(two, name, "grep -c '@secret-name' /proc/net/unix") == "1"
        assert "@secret-name" not in two.command("cat", "/proc/net/unix").stdout
    finally:
        for maker in makers:
            maker.communicate()


def test_terminals_keys_and_groups(two: Daemon) -> None:
    """Each has terminals of its own; the kernel's list of keys is hidden, and each session has a keyring of its own;
    control groups are seen from the container's own as the root."""
    two.ok("run", "-dt", "--name", "tty", "busybox", "sleep", "1000")
    two.ok("run", "-dt", "--name", "tty2", "busybox", "sleep", "1000")
    assert do(two, "tty", "ls /dev/pts").split() == do(two, "tty2", "ls /dev/pts").split() == ["0", "ptmx"]
    assert do(two, "one", "ls /dev/pts") == "ptmx"
    assert len(set(do(two, "tty", "stat -c %d /dev/pts").split() + do(two, "tty2", "stat -c %d /dev/pts").split())) == 2
    assert do(two, "one", "cat /proc/keys") == ""
    ids = [two.ok("inspect", "-f", "{{.Id}}", name) for name in ("one", "two")]
    with open("/proc/keys", encoding="ascii") as file:
        rings = [line.split() for line in file if any(f"_ses.{id}:" in line for id in ids)]
    assert len({row[0] for row in rings}) == 2, rings
    for name in ("one", "two"):
        lines = do(two, name, "cat /proc/self/cgroup").splitlines()
        assert lines and all(line.endswith(":/") for line in lines)


def test_what_they_share_of_an_image_is_never_written(two: Daemon) -> None:
    """The same file of the same layer in both: a write, a truncation, a new mode and a removal are one's own."""
    see = "md5sum < /etc/passwd; stat -c '%a %Y %s' /etc/passwd /bin/busybox"
    before = do(two, "two", see)
    do(two, "one", "chmod 700 /etc/passwd /bin/busybox; touch /bin/busybox; echo x >> /etc/passwd; : > /etc/passwd; "
                   "rm /etc/passwd; test ! -e /etc/passwd")
    assert do(two, "two", see) == before
    assert two.ok("run", "--rm", "busybox", "sh", "-c", see) == before
