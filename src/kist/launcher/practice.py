"""A creator that waits plans a container that nobody has asked for.

What a fork writes is copied, page by page (2 µs each), and the first thing that happens to an object is that its count
of references is written. A creator writes 600 pages until the container runs: a millisecond between the request and the
program. Half of them are the plan's, which needs nothing but a specification; so a creator writes them while it waits.
Its memory goes with it. The launcher plans, too, before it forks: the interpreter then has its specialised
instructions once and for all (see rehearsal.py).
"""

from __future__ import annotations

import os
import select
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair

from kist.launcher import channel, protocol, state
from kist.launcher.pipes import Pipes
from kist.runtime.cgroup import open_cgroup
from kist.runtime.devices import cgroup_rules
from kist.runtime.namespaces import Namespaces
from kist.runtime.plan import plan
from kist.runtime.seccomp import key

# The interpreter specialises a function at its eighth call, and its instructions some calls later.
ROUNDS = 20

_NOEXEC = ["nosuid", "noexec", "nodev"]
_ETC = [{"destination": f"/etc/{name}", "type": "bind", "source": f"/nowhere/{name}", "options": ["rbind", "rprivate"]}
        for name in ("resolv.conf", "hostname", "hosts")]
_CAPABILITIES = [f"CAP_{name}" for name in (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE")]
# A container as the engine asks for it.
SPEC = protocol.encode({
    "ociVersion": "1.2.0", "hostname": "practice",
    "root": {"path": "/nowhere"},
    "process": {"args": ["sh"], "cwd": "/", "env": ["PATH=/bin", "HOME=/"], "user": {"uid": 0, "gid": 0},
                "oomScoreAdj": 0, "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES)},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": _NOEXEC},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_NOEXEC, "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*_NOEXEC, "ro"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": _NOEXEC},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": [*_NOEXEC, "mode=1777", "size=65536k"]},
        *_ETC],
    "linux": {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "uts", "ipc", "cgroup", "network")],
        "resources": {"devices": [{"allow": False, "access": "rwm"}], "memory": {}, "cpu": {}, "pids": {"limit": 100}},
        "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
                    "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]},
        "maskedPaths": ["/proc/acpi", "/proc/kcore", "/sys/firmware"], "readonlyPaths": ["/proc/bus", "/proc/sys"]},
    "kist": {"files": ["/.dockerenv"], "rootfs": [{"type": "overlay", "source": "overlay",
                         "options": ["lowerdir=/nowhere/1:/nowhere/0", "upperdir=/nowhere/u", "workdir=/nowhere/w"]}]},
})


def practise(sock: socket) -> None:
    """Once, unless a request is there already."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    if not poll.poll(0):
        play()


def play() -> None:
    """All that comes before the first thing that is made. Leaves nothing."""
    here, there = socketpair(AF_UNIX, SOCK_SEQPACKET)
    pipes = Pipes().open(stdin=False, output=True)
    channel.send(here, {"n": 1, "netns": None, "attaches": []}, pipes.monitor)
    received = channel.receive(there)
    pipes.close_monitor()
    pipes.close_child()
    here.close()
    there.close()
    if received is not None:
        channel.close_all(received[1])
    spec = protocol.decode(SPEC, "")
    linux = spec["linux"]
    plan(spec, Namespaces(linux, None), container_id="practice", bundle="/nowhere", terminal=False)
    open_cgroup(spec, "practice").exists()
    cgroup_rules(linux["resources"])
    key(linux["seccomp"])
    state.start_time(os.getpid())
