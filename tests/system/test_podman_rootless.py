"""Podman of a user without privilege, with our runtime: no control group, no mknod, and a pid namespace that the
command may not come back to. The user is one of this test's own: account files are bound over the machine's in a
private mount namespace."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import needs

SRC = Path(__file__).resolve().parents[2] / "src"
WORKER = int("0" + os.environ.get("PYTEST_XDIST_WORKER", "")[2:])  # each its own user: it ends all of his processes
UID, FIRST = 61234 + WORKER, 700000 + 65536 * WORKER
PYTHON = "/usr/bin/python3"
ACCOUNTS = {"passwd": f"root:x:0:0::/root:/bin/sh\nboxer:x:{UID}:{UID}::{{top}}/home:/bin/sh\n",
            "group": f"root:x:0:\nboxer:x:{UID}:\n", "subuid": f"boxer:{FIRST}:65536\n",
            "subgid": f"boxer:{FIRST}:65536\n"}
APPLETS = ("sh", "cat", "id", "ps", "sleep", "tty", "echo", "touch", "grep", "hostname", "stat", "httpd", "ls",
           "chmod")
Done = subprocess.CompletedProcess[str]
Podman = Callable[..., Done]


def _as_user(top: Path, *words: str, text: str | None = None, tty: bool = False) -> Done:
    line = shlex.join(words)
    if tty:
        line = f"script -qec {shlex.quote(line)} /dev/null"
    binds = " && ".join(f"mount --bind {top}/{name} /etc/{name}" for name in ACCOUNTS)
    become = f"setpriv --reuid {UID} --regid {UID} --clear-groups --inh-caps=-all sh -c {shlex.quote(line)}"
    script = f"umount /sys/fs/cgroup/unified 2>/dev/null; {binds} && cd {top}/home && exec {become}"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": f"{top}/home", "XDG_RUNTIME_DIR": f"{top}/run",
                   "USER": "boxer", "LANG": "C.UTF-8", "CONTAINERS_CONF": f"{top}/containers.conf",
                   "CONTAINERS_STORAGE_CONF": f"{top}/storage.conf"}
    # In sessions of its own; Podman leaves a process that holds its user namespace: it is ended below.
    return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], text=True,
                          input=text, capture_output=True, timeout=120, check=False, env=environment)


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    for program in ("podman", "newuidmap", "slirp4netns", PYTHON):
        needs.program(program)
    if subprocess.run([PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False).returncode:
        needs.missing("a Python 3.11 that every user may execute")
    top = Path(tempfile.mkdtemp(prefix="kr"))  # short: Podman's paths are; and not below root's own directory
    top.chmod(0o755)
    for name, text in ACCOUNTS.items():
        (top / name).write_text(text.format(top=top))
    for name in ("home", "run"):
        (top / name).mkdir(mode=0o700)
        os.chown(top / name, UID, UID)
    for part in ("linux", "runtime", "__init__.py", "errors.py", "version.py"):
        copy = shutil.copytree if (SRC / "kist" / part).is_dir() else shutil.copy
        (top / "src" / "kist").mkdir(parents=True, exist_ok=True)
        copy(SRC / "kist" / part, top / "src" / "kist" / part)
    runtime = top / "kist-runtime"
    runtime.write_text(f'#!/bin/sh\nexec {PYTHON} -I -S {top}/src/kist/runtime/start.py "$@"\n')
    runtime.chmod(0o755)
    (top / "containers.conf").write_text(
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "kist-runtime"\n'
        f'[engine.runtimes]\nkist-runtime = ["{runtime}"]\n[containers]\ndefault_ulimits = []\n')
    (top / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{top}/run/c"\n'
                                      f'graphroot = "{top}/home/s"\n')
    with tarfile.open(top / "image.tar", "w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    (top / "image.tar").chmod(0o644)
    if _as_user(top, "unshare", "--user", "--map-root-user", "true").returncode:
        needs.missing("user namespaces for users without privilege")
    done = _as_user(top, "podman", "import", "-q", f"{top}/image.tar", "box")
    assert done.returncode == 0, done.stderr
    yield top
    _as_user(top, "podman", "rm", "--all", "--force", "--time", "0")
    while left := _processes():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
    subprocess.run(["umount", "--recursive", "--quiet", f"{top}/home/s"], check=False)
    shutil.rmtree(top)
    Path(f"/dev/shm/libpod_rootless_lock_{UID}").unlink(missing_ok=True)


def _processes() -> list[int]:
    """The user's, who is this test's alone."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "status").read_text()
            except OSError:
                continue
            if f"\nUid:\t{UID}\t" in status and "\nState:\tZ" not in status:
                found.append(int(entry.name))
    return found


@pytest.fixture
def podman(top: Path) -> Podman:
    def run(*words: str, text: str | None = None, tty: bool = False) -> Done:
        return _as_user(top, "podman", *words, text=text, tty=tty)

    return run


def test_a_container_of_a_user(podman: Podman) -> None:
    script = "id -u; cat /proc/self/uid_map; stat -c '%F %t:%T' /dev/null; echo x >/dev/null; touch /made; exit 7"
    done = podman("run", "--rm", "--hostname", "here", "box", "sh", "-c", script)
    assert done.returncode == 7, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines == [["0"], ["0", str(UID), "1"], ["1", str(FIRST), "65536"], ["character", "special", "file", "1:3"]]


def test_streams_and_statuses(podman: Podman) -> None:
    assert podman("run", "--rm", "-i", "box", "cat", text="through\n").stdout == "through\n"
    done = podman("run", "--rm", "box", "nothing-like-this")
    assert (done.returncode, "executable file not found in $PATH" in done.stderr) == (127, True)
    assert podman("run", "--rm", "-t", "box", "tty", tty=True).stdout.strip() == "/dev/pts/0"
    assert podman("run", "--rm", "--user", "1000:1001", "box", "id").stdout.split()[:2] == ["uid=1000", "gid=1001"]


def test_exec_stop_and_remove(podman: Podman) -> None:
    name = "long"
    assert podman("run", "-d", "--name", name, "box", "sleep", "300").returncode == 0
    listed = podman("exec", name, "ps", "-o", "pid,args")
    assert (listed.returncode, "1 sleep 300" in listed.stdout) == (0, True), listed.stderr
    assert podman("exec", name, "sh", "-c", "exit 4").returncode == 4
    assert podman("exec", "-t", name, "tty", tty=True).stdout.startswith("/dev/pts/")
    assert podman("stop", "--time", "0", name).returncode == 0
    assert podman("inspect", "--format", "{{.State.ExitCode}}", name).stdout == "137\n"
    assert podman("start", name).returncode == 0
    assert podman("rm", "--force", "--time", "0", name).returncode == 0


@pytest.mark.parametrize(("options", "script", "expected"), [
    (("--userns=keep-id",), "id -u; cat /proc/self/uid_map",
     "UID 0 1 UID UID 0 1 NEXT NEXT REST"),
    (("--userns=auto:size=500",), "id -u; cat /proc/self/uid_map", "0 0 1 500"),
    (("--privileged",), "stat -c %F /dev/ptmx; stat -c %t:%T /dev/null", "symbolic link 1:3"),
    (("--network", "none"), "cat /sys/class/net/lo/flags", "0x9"),
    (("--mount", "type=image,source=box,destination=/image"), "ls -d /image/bin", "/image/bin"),
    (("--tmpfs", "/t", "--read-only"), "touch /t/x && stat -c %a /t", "1777"),
    (("--device", "/dev/kmsg:/dev/log"), "stat -c %t:%T /dev/log", "1:b"),
    (("--security-opt", "mask=/proc/uptime"), "cat /proc/uptime; chmod 666 /proc/uptime 2>/dev/null || echo no", "no"),
])
def test_options(podman: Podman, options: tuple[str, ...], script: str, expected: str) -> None:
    done = podman("run", "--rm", *options, "box", "sh", "-c", script)
    own = {"UID": str(UID), "NEXT": str(UID + 1), "REST": str(65536 - UID)}  # not in the test's name: workers differ
    assert done.stdout.split() == [own.get(word, word) for word in expected.split()], done.stderr


def test_a_volume(podman: Podman, top: Path) -> None:
    (top / "home" / "shared").mkdir()
    os.chown(top / "home" / "shared", UID, UID)
    done = podman("run", "--rm", "-v", f"{top}/home/shared:/data", "--read-only", "box", "sh", "-c",
                  "echo kept >/data/file; touch /elsewhere")
    assert "Read-only file system" in done.stderr
    assert (top / "home" / "shared" / "file").read_text() == "kept\n"
    assert (top / "home" / "shared" / "file").stat().st_uid == UID


def test_a_published_port(podman: Podman) -> None:
    done = podman("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "box", "sh", "-c",
                  "echo hello >/index.html; exec httpd -f -p 80 -h /")
    assert done.returncode == 0, done.stderr
    where = podman("port", "web", "80").stdout.strip()
    asked = subprocess.run(["curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1",
                            f"http://{where}/index.html"], capture_output=True, text=True, timeout=60, check=False)
    assert asked.stdout == "hello\n"
    assert podman("rm", "--force", "--time", "0", "web").returncode == 0


def a_bundle(top: Path) -> Path:
    bundle = top / "home" / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    (bundle / "rootfs" / "bin").mkdir(parents=True)
    for applet in ("sh", "cat"):
        shutil.copy("/bin/busybox", bundle / "rootfs" / "bin" / applet)
    subprocess.run(["chown", "-R", f"{UID}:{UID}", str(bundle)], check=True)
    return bundle


def test_ranges_of_ids_by_the_helpers(top: Path) -> None:
    """A plain user maps more than himself with newuidmap and newgidmap; what isn't his they refuse."""
    bundle = a_bundle(top)
    assert _as_user(top, f"{top}/kist-runtime", "spec", "--rootless", "--bundle", str(bundle)).returncode == 0
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=["sh", "-c", "cat /proc/self/gid_map"])
    for first in (FIRST, FIRST - 1):
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [
            {"containerID": 0, "hostID": UID, "size": 1}, {"containerID": 1, "hostID": first, "size": 1000}]
        (bundle / "config.json").write_text(json.dumps(config))
        done = _as_user(top, f"{top}/kist-runtime", "run", "--bundle", str(bundle), "alone")
        if first == FIRST:
            assert done.stdout.split() == ["0", str(UID), "1", "1", str(FIRST), "1000"], done.stderr
        else:
            assert f"newuidmap refused the mapping 0 {UID} 1, 1 {first} 1000" in done.stderr


@pytest.mark.parametrize("entry", [(), ("unshare", "--user", "--map-root-user")], ids=["user", "root of a namespace"])
def test_the_command_by_itself(top: Path, entry: tuple[str, ...]) -> None:
    """Without a control group: no limits, and words that say why; `--rootless` is asked for what it means."""
    bundle = a_bundle(top)

    def oci(*words: str) -> Done:
        return _as_user(top, *entry, f"{top}/kist-runtime", *words)

    assert oci("spec", "--rootless", "--bundle", str(bundle)).returncode == 0
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=["sh", "-c", "echo alive; echo $$"])
    if entry:
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    (bundle / "config.json").write_text(json.dumps(config))
    done = oci("run", "--bundle", str(bundle), "alone")
    assert (done.returncode, done.stdout) == (0, "alive\n1\n"), done.stderr
    config["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 0}}
    (bundle / "config.json").write_text(json.dumps(config))
    done = oci("run", "--bundle", str(bundle), "alone")
    assert "limit memory: the container has no control group (its user may make none" in done.stderr
    done = oci("--rootless", "false", "run", "--bundle", str(bundle), "alone")
    assert "make the control group /alone: EACCES" in done.stderr
    done = oci("--rootless", "perhaps", "run", "--bundle", str(bundle), "alone")
    assert "--rootless: 'perhaps' is not true, false or auto" in done.stderr
    assert os.listdir(top / "run" / "kist-runtime") == []
