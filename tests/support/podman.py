"""Debian's Podman with our runtime in place of crun, in a home of its own: storage, state and configuration.

Podman works in a private mount namespace without the (empty) version 2 hierarchy: it refuses the mixed layout.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import needs

KIST_RUNTIME = Path(sys.executable).parent / "kist-runtime"
APPLETS = ("sh", "cat", "ls", "id", "ps", "env", "sleep", "tty", "stty", "echo", "touch", "mount", "df", "grep",
           "hostname", "pwd", "wc", "nc", "true", "kill", "stat", "head", "ip", "httpd", "wget", "chmod", "date",
           "mkdir", "mknod", "readlink", "rmdir", "tail", "umount", "sort", "cut")
CONF = """[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
[engine]
runtime_supports_json = ["kist-runtime"]
runtime_supports_nocgroup = ["kist-runtime"]
[engine.runtimes]
kist-runtime = ["{runtime}"]
"""
IDS = "containers:2000000:1000000\n"  # whom --userns=auto takes them from
Done = subprocess.CompletedProcess[str]


class Podman:
    """``podman("run", …)``."""

    def __init__(self, top: Path, short: str) -> None:
        self.top = top
        self.short = short  # for sockets: their paths have 108 bytes at most, and Podman's own 50 characters

    def __call__(self, *words: str, text: str | None = None, tty: bool = False, under: tuple[str, ...] = (),
                 timeout: float = 120) -> Done:
        """``under``: the command that executes it, with its words."""
        podman = [*under, "podman", "--root", f"{self.top}/root", "--runroot", f"{self.short}/run",
                  "--tmpdir", self.short, "--cgroup-manager", "cgroupfs", "--runtime", f"{self.top}/kist-runtime",
                  "--events-backend", "none", *words]
        line = shlex.join(podman)
        if tty:
            line = f"script -qec {shlex.quote(line)} /dev/null"
        binds = "; ".join(f"mount --bind {self.top}/ids /etc/{name}" for name in ("subuid", "subgid"))
        script = f"umount /sys/fs/cgroup/unified 2>/dev/null; {binds}; {line}"
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], text=True,
                              capture_output=True, input=text, timeout=timeout, check=False,
                              cwd=self.top,  # conmon says "oom" by a file where it is started
                              env={**os.environ, "CONTAINERS_CONF": f"{self.top}/containers.conf"})

    def ok(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def box(self, *words: str, text: str | None = None, tty: bool = False) -> Done:
        """``box(option…, "--", command…)``: run --rm in the image, without network."""
        at = words.index("--")
        return self("run", "--rm", "--network", "none", *words[:at], "box", *words[at + 1:], text=text, tty=tty)

    def sh(self, *words: str) -> str:
        """``sh(option…, script)`` → its output; a status other than 0 is a failure."""
        done = self.box(*words[:-1], "--", "sh", "-c", words[-1])
        assert done.returncode == 0, done
        return done.stdout

    @contextmanager
    def running(self, *options: str, command: tuple[str, ...] = ("sleep", "300"),
                under: tuple[str, ...] = ()) -> Iterator[str]:
        name = "c" + uuid.uuid4().hex[:8]
        network = () if "--pod" in options else ("--network", "none")
        try:
            done = self("run", "-d", "--name", name, *network, *options, "box", *command, under=under)
            assert done.returncode == 0, done.stderr
            yield name
        finally:
            self("rm", "--force", "--time", "0", name)

    @contextmanager
    def pod(self, *options: str) -> Iterator[str]:
        name = "p" + uuid.uuid4().hex[:8]
        try:
            self.ok("pod", "create", "--name", name, "--network", "none", "--infra-image", "box", "--infra-command",
                    "/bin/sleep 300", *options)
            yield name
        finally:
            self("pod", "rm", "--force", "--time", "0", name)


@contextmanager
def home(top: Path) -> Iterator[Podman]:
    """``top`` is an empty directory."""
    needs.program("podman")
    podman = Podman(top, tempfile.mkdtemp(prefix="kp"))
    runtime = top / "kist-runtime"
    runtime.write_text(f'#!/bin/sh\nexec {KIST_RUNTIME} --root {top}/oci "$@"\n')
    runtime.chmod(0o755)
    (top / "containers.conf").write_text(CONF.format(runtime=runtime))
    (top / "ids").write_text(IDS)
    _image(top / "image.tar")
    try:
        podman.ok("import", "-q", "-c", "ENV PATH=/bin", str(top / "image.tar"), "box")
        yield podman
    finally:
        _clear(podman)


def _image(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for directory in ("tmp", "etc", "proc", "sys", "dev", "root"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)


def _clear(podman: Podman) -> None:
    podman("rm", "--all", "--force", "--time", "0")
    podman("pod", "rm", "--all", "--force", "--time", "0")
    podman("unshare", "true")
    subprocess.run(["umount", "--recursive", "--quiet", str(podman.top / "root" / "overlay")], check=False)
    shutil.rmtree(podman.short, ignore_errors=True)
    for group in ("libpod_parent/conmon", "libpod_parent"):  # Podman's own, shared by whoever uses it
        for hierarchy in ("", *os.listdir("/sys/fs/cgroup")):
            try:
                os.rmdir(f"/sys/fs/cgroup/{hierarchy}/{group}")
            except OSError:
                continue
