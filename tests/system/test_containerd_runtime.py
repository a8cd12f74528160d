"""containerd with our runtime in place of runc: its own client, its own shim, its own command lines.

Everything of containerd's lies in a directory of this test and in a private mount namespace with a /run of its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs

KIST_RUNTIME = Path(sys.executable).parent / "kist-runtime"
IMAGE = "docker.io/library/box:latest"
APPLETS = ("sh", "cat", "echo", "id", "sleep", "tty", "stty", "true", "grep", "touch")
CONFIG = """version = 2
root = "{top}/root"
state = "{top}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
                    "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{top}/c.sock"
"""
# Until the terminal has the size that ctr gives it after the start, or 30 s have passed.
RESIZED = 'n=0; until [ "$(stty size)" = "22 77" ] || [ $((n+=1)) -gt 300 ]; do sleep 0.1; done'
Done = subprocess.CompletedProcess[str]


def entry(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def docker_archive(path: Path) -> None:
    """An image as `docker save` writes it: busybox and its links."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        entry(archive, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        entry(archive, "etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    diff_id = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = {"architecture": machine, "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["true"]},
              "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = [{"Config": "config.json", "RepoTags": ["box:latest"], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        entry(archive, "layer.tar", layer.getvalue())
        entry(archive, "config.json", json.dumps(config).encode())
        entry(archive, "manifest.json", json.dumps(manifest).encode())


class Containerd:
    """The daemon, and `ctr` in its mount namespace."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.namespace = f"kist-{uuid.uuid4().hex[:8]}"
        runtime = top / "kist-runtime"
        runtime.write_text(f'#!/bin/sh\necho "$@" >>{top}/calls\nexec {KIST_RUNTIME} "$@"\n')
        runtime.chmod(0o755)
        (top / "config.toml").write_text(CONFIG.format(top=top))
        self.log = open(top / "log", "w")
        script = f"mount -t tmpfs tmpfs /run && exec containerd -c {top}/config.toml"
        self.process = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while self("version").returncode:
            assert self.process.poll() is None and time.monotonic() < deadline, (top / "log").read_text()[-2000:]
            time.sleep(0.1)

    def command(self, *words: str) -> list[str]:
        return ["nsenter", "-m", "-t", str(self.process.pid), "--", "ctr", "-a", f"{self.top}/c.sock", "-n",
                self.namespace, *words]

    def __call__(self, *words: str) -> Done:
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL)

    def run(self, *words: str, options: tuple[str, ...] = ("--rm",)) -> Done:
        return self("run", *options, "--runc-binary", f"{self.top}/kist-runtime", IMAGE, *words)

    def terminal(self, *words: str, answer: str = "") -> tuple[int, str]:
        """With a terminal of 77 columns: exit status and what came. A newline is typed when ``answer`` has come."""
        master, slave = os.openpty()
        subprocess.run(["stty", "rows", "22", "cols", "77"], stdin=slave, check=True)
        child = subprocess.Popen(self.command(*words), stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        text = b""
        try:
            while chunk := os.read(master, 4096):
                text += chunk
                if answer and answer in text.decode():
                    os.write(master, b"\n")
                    answer = ""
        except OSError:  # EIO: nobody has the terminal any more
            pass
        os.close(master)
        return child.wait(timeout=60), text.decode()

    def status(self, name: str) -> str:
        """Of the task; empty if there is none."""
        lines = [line.split() for line in self("task", "ls").stdout.splitlines()]
        return next((fields[2] for fields in lines if fields[0] == name), "")

    def wait(self, name: str, status: str) -> None:
        deadline = time.monotonic() + 30
        while self.status(name) != status:
            assert time.monotonic() < deadline, self("task", "ls").stdout
            time.sleep(0.05)

    def close(self) -> None:
        for name in self("containers", "ls", "-q").stdout.split():
            self("task", "rm", "-f", name)
            self("containers", "rm", name)
        self.process.terminate()
        self.process.wait()
        self.log.close()
        for hierarchy in ("", *os.listdir("/sys/fs/cgroup")):
            try:
                os.rmdir(f"/sys/fs/cgroup/{hierarchy}/{self.namespace}")
            except OSError:
                continue  # not there, or no directory


@pytest.fixture(scope="module")
def containerd() -> Iterator[Containerd]:
    needs.program("containerd")
    with tempfile.TemporaryDirectory(prefix="kc") as short:  # a socket's path has 108 bytes at most
        daemon = Containerd(Path(short))
        try:
            docker_archive(Path(short) / "image.tar")
            done = daemon("images", "import", f"{short}/image.tar")
            assert done.returncode == 0, done.stderr
            yield daemon
        finally:
            daemon.close()


@pytest.fixture
def running(containerd: Containerd) -> Iterator[str]:
    """A container that sleeps."""
    name = f"c{uuid.uuid4().hex[:8]}"
    done = containerd.run(name, "sleep", "1000", options=("-d",))
    assert done.returncode == 0, done.stderr
    yield name
    containerd("task", "rm", "-f", name)
    done = containerd("containers", "rm", name)
    assert done.returncode == 0, done.stderr


def test_run(containerd: Containerd) -> None:
    done = containerd.run("one", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert "err" in done.stderr
    calls = [line.split() for line in (containerd.top / "calls").read_text().splitlines()]
    verbs = [next(word for word in call if word in ("create", "start", "delete")) for call in calls if "one" in call]
    assert verbs[:3] == ["create", "start", "delete"]
    assert all(call[call.index("--log-format") + 1] == "json" for call in calls)


def test_what_cannot_be_run_is_said(containerd: Containerd) -> None:
    """The shim takes the words from the last line of the log."""
    done = containerd.run("two", "nosuch")
    assert done.returncode == 1
    assert 'create failed: exec: "nosuch": executable file not found in $PATH' in done.stderr
    assert "two" not in containerd("task", "ls").stdout


def test_a_terminal(containerd: Containerd) -> None:
    """By --console-socket: the shim gets the master, and resizes it."""
    status, text = containerd.terminal("run", "--rm", "-t", "--runc-binary", f"{containerd.top}/kist-runtime", IMAGE,
                                       "three", "sh", "-c", f"tty; {RESIZED}; stty size; exit 5")
    assert status == 5
    assert "/dev/pts/0" in text or "/dev/console" in text
    assert "22 77" in text


def test_exec(containerd: Containerd, running: str) -> None:
    """--process FILE --detach --pid-file FILE."""
    execute = ("task", "exec", "--exec-id")
    done = containerd(*execute, "e1", "--cwd", "/etc", "--user", "1000:1001", running, "sh", "-c", "id; exit 9")
    assert (done.returncode, done.stdout.split()[:2]) == (9, ["uid=1000", "gid=1001"])
    missing = containerd(*execute, "e2", running, "nosuch")
    assert missing.returncode == 1
    assert 'exec failed: exec: "nosuch": executable file not found in $PATH' in missing.stderr
    # It lives until its output has come: ctr resizes the terminal after the start, an error if the process has ended
    # by then, and doesn't always wait for output that the shim still has (with runc, too, on a busy machine).
    status, text = containerd.terminal(*execute, "e3", "-t", running, "sh", "-c", "tty; read x; exit 4",
                                       answer="/dev/pts/")
    assert status == 4
    assert "/dev/pts/" in text


def test_life(containerd: Containerd, running: str) -> None:
    """pause, resume, ps, metrics, kill, delete; checkpoint is refused, and the container goes on."""
    assert containerd.status(running) == "RUNNING"
    assert containerd("task", "pause", running).returncode == 0
    assert containerd.status(running) == "PAUSED"
    assert containerd("task", "resume", running).returncode == 0
    pid = next(line.split()[1] for line in containerd("task", "ls").stdout.splitlines() if running in line)
    assert pid in containerd("task", "ps", running).stdout
    metrics = containerd("task", "metrics", running).stdout
    assert "memory.usage_in_bytes" in metrics or "memory.usage" in metrics
    refused = containerd("task", "checkpoint", running)
    assert refused.returncode == 1
    assert "checkpoint is not supported by this runtime" in refused.stderr
    assert containerd.status(running) == "RUNNING"
    assert containerd("task", "kill", "--all", "-s", "SIGKILL", running).returncode == 0
    containerd.wait(running, "STOPPED")
    deleted = containerd("task", "delete", running)  # by containerd 1.6 a warning, later the client's status, too
    assert "exit code 137" in deleted.stderr or deleted.returncode == 137
    assert containerd.status(running) == ""


def test_events(containerd: Containerd) -> None:
    with subprocess.Popen(containerd.command("events"), stdout=subprocess.PIPE, text=True) as watcher:
        try:
            time.sleep(0.5)
            assert containerd.run("four", "true").returncode == 0
            assert watcher.stdout is not None
            topics = []
            while "/tasks/delete" not in topics:
                topics.append(next(word for word in watcher.stdout.readline().split() if word.startswith("/")))
        finally:
            watcher.terminate()
    assert [topic for topic in topics if topic.startswith("/tasks/")] == ["/tasks/create", "/tasks/start",
                                                                          "/tasks/exit", "/tasks/delete"]


@pytest.mark.parametrize(("option", "script", "expected"), [
    (("--read-only",), "touch /x 2>/dev/null || echo refused", "refused\n"),
    (("--seccomp",), "grep Seccomp: /proc/self/status", "Seccomp:\t2\n"),
    (("--rootfs-propagation", "slave"), "echo fine", "fine\n"),
    (("--rootfs-propagation", "private"), "echo fine", "fine\n"),
    (("--privileged",), "grep CapEff /proc/self/status", None),
    (("--env", "A=b"), "echo $A", "b\n"),
    (("--cwd", "/etc"), "cat passwd", "root:x:0:0::/root:/bin/sh\n"),
])
def test_options(containerd: Containerd, option: tuple[str, ...], script: str, expected: str | None) -> None:
    done = containerd.run("five", "sh", "-c", script, options=("--rm", *option))
    assert done.returncode == 0, done.stderr
    if expected is None:
        assert int(done.stdout.split()[1], 16) & 1 << 21, "CAP_SYS_ADMIN"
    else:
        assert done.stdout == expected


def test_a_limit(containerd: Containerd) -> None:
    done = containerd.run("six", "sleep", "1000", options=("-d", "--memory-limit", "33554432"))
    assert done.returncode == 0, done.stderr
    try:
        group = f"{containerd.namespace}/six"
        files = [Path("/sys/fs/cgroup", name)
                 for name in (f"memory/{group}/memory.limit_in_bytes", f"{group}/memory.max")]
        assert next(path for path in files if path.exists()).read_text() == "33554432\n"
    finally:
        containerd("task", "rm", "-f", "six")
        containerd("containers", "rm", "six")
