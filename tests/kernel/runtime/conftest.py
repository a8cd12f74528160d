"""A root file system with busybox, a specification to change, and a way to run it (see harness.py)."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SRC = Path(__file__).resolve().parents[3] / "src"
PARTS = sorted(path.name for path in (SRC / "kist").iterdir() if (path / "__init__.py").exists())
HARNESS = Path(__file__).with_name("harness.py")
CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
        "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
        "CAP_AUDIT_WRITE"]
APPLETS = (
    "sh", "true", "false", "cat", "ls", "id", "mount", "ps", "env", "sleep", "tty", "stty", "echo", "touch", "mkdir",
    "ln", "stat", "chmod", "chown", "dd", "test", "head", "hostname", "grep", "sed", "wc", "readlink", "mknod",
    "dmesg", "kill", "date", "df", "du", "cp", "mv", "rm", "sort", "tr", "tail", "od", "printf", "pwd", "seq",
    "umask", "sync", "taskset", "nice", "ionice", "find", "cut", "nc", "ip", "cmp", "yes",
)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    for directory in ("bin", "etc", "tmp", "root"):
        (root / directory).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n")
    return root


@pytest.fixture
def container_id() -> Iterator[str]:
    yield "t" + uuid.uuid4().hex[:12]
    for top in ("", *os.listdir("/sys/fs/cgroup")):
        try:
            os.rmdir(f"/sys/fs/cgroup/{top}/kist-test")
        except OSError:
            continue  # another worker's containers are in it


@pytest.fixture
def spec(rootfs: Path, container_id: str) -> dict[str, Any]:
    """What an engine asks for by default, without network and seccomp."""
    return {
        "ociVersion": "1.2.0",
        "process": {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
                    "capabilities": {kind: [*CAPS] for kind in ("bounding", "effective", "permitted")}},
        "root": {"path": str(rootfs)},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "network", "uts", "ipc", "cgroup")],
                  "cgroupsPath": f"/kist-test/{container_id}",
                  "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware"],
                  "readonlyPaths": ["/proc/sys", "/proc/bus"]},
    }


@pytest.fixture
def limits(spec: dict[str, Any]) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    spec["linux"]["resources"] = resources
    spec["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                           "options": ["nosuid", "noexec", "nodev", "ro"]})
    return resources


Runner = Callable[..., Any]


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The modules to test: ours, or a copy with changes: ``request.param`` has (file, old text, new text) for each."""
    changes = getattr(request, "param", ())
    if not changes:
        return SRC
    copy_of = tmp_path / "changed"
    (copy_of / "kist").mkdir(parents=True)
    for part in ("linux", "runtime") if changes[0][0].startswith(("linux/", "runtime/")) else PARTS:
        shutil.copytree(SRC / "kist" / part, copy_of / "kist" / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("__init__.py", "errors.py", "version.py"):
        shutil.copy(SRC / "kist" / part, copy_of / "kist" / part)
    for name, old, new in changes:
        path = copy_of / "kist" / name
        text = path.read_text()
        assert old in text, f"{name} no longer has: {old}"
        path.write_text(text.replace(old, new))
    return copy_of


@pytest.fixture
def run(container_id: str, tmp_path: Path, source: Path) -> Iterator[Runner]:
    """``run(spec, execs=[…])`` → the harness' report. Afterwards nothing of the container may be left."""
    def runner(spec: dict[str, Any], *args: str, **job: Any) -> Any:
        if args:
            spec["process"]["args"] = list(args)
        text = json.dumps({"spec": spec, "id": container_id, "bundle": str(tmp_path), **job})
        done = subprocess.run([sys.executable, "-I", "-S", str(HARNESS), str(source)], input=text, text=True,
                              capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    yield runner
    for top, directories, _files in os.walk("/sys/fs/cgroup"):
        if top.count("/") > 6:
            directories.clear()
        assert container_id not in directories, f"the control group {top}/{container_id} is left behind"
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert str(tmp_path) not in file.read(), "a mount is left behind on the host"


@pytest.fixture
def sh(spec: dict[str, Any], run: Runner) -> Callable[..., str]:
    """``sh(script)`` runs a shell script in the container and gives what it printed."""
    def runner(script: str, **job: Any) -> str:
        spec["process"]["args"] = ["sh", "-c", script]
        report = run(copy.deepcopy(spec), **job)
        assert "error" not in report, report["error"]
        assert report["status"] == 0, report
        return str(report["stdout"])

    return runner


HOLDER = """
import os, signal, sys
sys.path.insert(0, {src!r})
from kist.linux.namespaces import FLAG, clone3
flags = 0
for kind in {kinds!r}:
    flags |= FLAG[kind]
pid, _ = clone3(flags)
if pid == 0:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
    signal.pause()
if flags & FLAG["user"]:
    for name in ("uid_map", "gid_map"):
        open(f"/proc/{{pid}}/{{name}}", "w").write("0 0 65536")
print(pid, flush=True)
signal.pause()
"""


class Holder:
    """A process in namespaces of its own, to be joined; ``pid`` is the host's."""

    def __init__(self, *kinds: str) -> None:
        self.child = subprocess.Popen([sys.executable, "-I", "-S", "-c", HOLDER.format(src=str(SRC), kinds=kinds)],
                                      stdout=subprocess.PIPE, text=True)
        assert self.child.stdout is not None
        self.pid = self.child.stdout.readline().strip()

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        assert self.child.stdout is not None
        self.child.stdout.close()


@pytest.fixture
def hold() -> Iterator[Callable[..., str]]:
    """``hold("network", …)`` → the pid of a process in such namespaces, new ones."""
    made: list[Holder] = []

    def holder(*kinds: str) -> str:
        made.append(Holder(*kinds))
        return made[-1].pid

    yield holder
    for each in made:
        each.close()
