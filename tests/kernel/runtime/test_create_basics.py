"""The path of every container: made, started, ended, and nothing left. Effects are read from inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def test_streams_and_status(spec: dict[str, Any], run: Any) -> None:
    report = run(spec, "sh", "-c", "cat; echo err >&2; exit 7", stdin="hello\n")
    assert (report["status"], report["stdout"], report["stderr"]) == (7, "hello\n", "err\n")


def test_killed_by_signal(spec: dict[str, Any], run: Any) -> None:
    report = run(spec, "sh", "-c", "sh -c 'kill -9 $PPID'; sleep 5")
    assert report["status"] in (0, 137)  # init of a pid namespace is immune to signals from inside


def test_own_namespaces(sh: Any) -> None:
    kinds = ("pid", "mnt", "net", "uts", "ipc", "cgroup")
    inside = sh("for n in " + " ".join(kinds) + "; do readlink /proc/self/ns/$n; done").split()
    assert all(os.readlink(f"/proc/self/ns/{kind}") != there for kind, there in zip(kinds, inside, strict=True))


def test_a_new_network_has_its_loopback(spec: dict[str, Any], sh: Any) -> None:
    """As by runc and crun. In one that was joined nothing is touched."""
    assert "UP" in sh("ip link show lo").split("<")[1].split(">")[0].split(",")
    assert sh("(echo through | nc -l -p 7000 127.0.0.1) & while ! nc -w 1 127.0.0.1 7000; do :; done") == "through\n"


def test_it_is_process_one_alone(sh: Any) -> None:
    assert sh("echo $$; ls /proc | grep -c '^[0-9]'").split()[0] == "1"
    assert sh("ls -d /proc/[0-9]*").split()[0] == "/proc/1"


def test_hostname(sh: Any) -> None:
    assert sh("hostname") == "box\n"
    assert os.uname().nodename != "box"


def test_the_host_is_out_of_sight(sh: Any, tmp_path: Path) -> None:
    mounts = sh("cat /proc/self/mountinfo")
    assert str(tmp_path) not in mounts.replace(f"{tmp_path}/rootfs / ", "")
    assert next(line.split()[4] for line in mounts.splitlines()) == "/"


def test_devices_and_links(sh: Any) -> None:
    listing = sh("for d in null zero full random urandom tty; do stat -c '%n %t:%T %F' /dev/$d; done;"
                 "for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done")
    assert "/dev/null 1:3 character special file" in listing
    assert "/dev/tty 5:0 character special file" in listing
    assert "/proc/self/fd/2\npts/ptmx\n" in listing


def test_capabilities_default(sh: Any) -> None:
    status = dict(line.split(":\t") for line in sh("grep ^Cap /proc/self/status").splitlines())
    assert status["CapBnd"] == status["CapEff"] == status["CapPrm"] == "00000000a80425fb"
    assert status["CapInh"] == status["CapAmb"] == "0000000000000000"


def test_masked_and_readonly_paths(sh: Any) -> None:
    out = sh("cat /proc/keys | wc -c; ls -A /sys/firmware | wc -l; ls -A /proc/acpi | wc -l;"
             "echo x 2>/dev/null > /proc/sys/kernel/domainname || echo refused;"
             "touch /sys/firmware/x 2>/dev/null || echo refused")
    assert out.split() == ["0", "0", "0", "refused", "refused"]


def test_no_descriptor_leaks(sh: Any) -> None:
    assert sh("ls /proc/self/fd").split() == ["0", "1", "2", "3"]  # 3 is ls' own, of the directory


def test_user_groups_umask_cwd(spec: dict[str, Any], sh: Any) -> None:
    spec["process"].update(user={"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o077},
                           cwd="/made/here")
    out = sh("id -u; id -g; id -G; umask; pwd; grep CapEff /proc/self/status; echo $HOME; echo x > /dev/stdout")
    assert out.split("\n")[:5] == ["1000", "1001", "1001 7 8", "0077", "/made/here"]
    assert "CapEff:\t0000000000000000" in out
    assert out.endswith("/home/alice\nx\n")


def test_environment_is_only_what_was_asked(spec: dict[str, Any], run: Any) -> None:
    spec["process"]["env"] = ["PATH=/bin", "A=1=2", "HOME=/x"]
    assert sorted(run(spec, "env")["stdout"].split()) == ["A=1=2", "HOME=/x", "PATH=/bin"]


def test_terminal(spec: dict[str, Any], run: Any) -> None:
    spec["process"].update(terminal=True, consoleSize={"height": 33, "width": 99})
    report = run(spec, "sh", "-c", "tty; stty size; echo x > /dev/console; echo y > /dev/tty; ls -l /proc/self/fd/")
    assert report["console"].startswith("/dev/pts/0\r\n33 99\r\nx\r\ny\r\n")
    assert report["status"] == 0


@pytest.mark.parametrize(("program", "message", "kind"), [
    ("nope", 'exec: "nope": executable file not found in $PATH', "not found"),
    ("/nope", 'exec: "/nope": stat /nope: no such file or directory', "not found"),
    ("/etc", 'exec: "/etc": is a directory', "not executable"),
    ("/etc/passwd", 'exec: "/etc/passwd": permission denied', "not executable"),
    ("/bad", "exec /bad: exec format error", "not executable"),
])
def test_what_cant_be_executed(spec: dict[str, Any], run: Any, rootfs: Path, program: str, message: str,
                               kind: str) -> None:
    (rootfs / "bad").write_bytes(b"\x7fELFnonsense")
    (rootfs / "bad").chmod(0o755)
    report = run(spec, program)
    assert (report["error"], report["kind"]) == (message, kind)


def test_a_failing_step_names_itself(spec: dict[str, Any], run: Any) -> None:
    spec["mounts"].append({"destination": "/x", "type": "nosuchfs", "source": "x"})
    report = run(spec)
    assert report["error"] == "mount nosuchfs on /x: ENODEV"
    assert report["kind"] == "StepError"


def test_exec_joins_everything(spec: dict[str, Any], run: Any) -> None:
    process = dict(spec["process"])
    probe = {**process, "args": ["sh", "-c", "for n in pid mnt net uts ipc cgroup user; do readlink "
                                 "/proc/self/ns/$n; done; cat /proc/self/cgroup; grep ^Cap /proc/self/status"]}
    inside = {**process, "args": ["sh", "-c", "for n in pid mnt net uts ipc cgroup user; do readlink "
                                  "/proc/1/ns/$n; done; cat /proc/1/cgroup; grep ^Cap /proc/1/status"]}
    report = run(spec, "sleep", "30", execs=[probe, inside])
    assert report["execs"][0]["stdout"] == report["execs"][1]["stdout"] != ""
    assert report["status"] == -9


def test_exec_terminal_user_and_failure(spec: dict[str, Any], run: Any) -> None:
    process = dict(spec["process"])
    execs = [{**process, "args": ["tty"], "terminal": True},
             {**process, "args": ["id", "-u"], "user": {"uid": 1000, "gid": 1000}},
             {**process, "args": ["nope"]},
             {**process, "args": ["sh", "-c", "pwd; exit 3"], "cwd": "/tmp"},
             {**process, "args": ["pwd"], "cwd": "/missing"}]
    report = run(spec, "sleep", "30", execs=execs)["execs"]
    assert report[0]["console"] == "/dev/pts/0\r\n"
    assert report[1]["stdout"] == "1000\n"
    assert (report[2]["error"], report[2]["kind"]) == ('exec: "nope": executable file not found in $PATH', "not found")
    assert (report[3]["stdout"], report[3]["status"]) == ("/tmp\n", 3)
    assert report[4]["error"] == "change to /missing: ENOENT"


def test_rootfs_of_layers_mounts_nothing_on_the_host(spec: dict[str, Any], run: Any, rootfs: Path,
                                                     tmp_path: Path) -> None:
    for name in ("upper", "work", "point"):
        (tmp_path / name).mkdir()
    spec["kist"] = {"rootfs": [{"type": "overlay", "source": "overlay", "options": [
        f"lowerdir={rootfs}", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]}]}
    spec["root"]["path"] = str(tmp_path / "point")
    assert run(spec, "touch", "/written")["status"] == 0
    assert (tmp_path / "upper" / "written").exists()
    assert not (rootfs / "written").exists()
    assert list((tmp_path / "point").iterdir()) == []


def test_many_layers(spec: dict[str, Any], run: Any, rootfs: Path, tmp_path: Path) -> None:
    layers = [str(rootfs)]
    for number in range(60):
        layer = tmp_path / f"layer-with-a-rather-long-name-so-that-options-are-long-{number}"
        layer.mkdir()
        (layer / f"f{number}").touch()
        layers.insert(0, str(layer))
    for name in ("upper", "work", "point"):
        (tmp_path / name).mkdir()
    spec["kist"] = {"rootfs": [{"type": "overlay", "source": "overlay", "options": [
        "lowerdir=" + ":".join(layers), f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work"]}]}
    spec["root"]["path"] = str(tmp_path / "point")
    assert run(spec, "sh", "-c", "ls /f* | wc -l")["stdout"] == "60\n"


ENTERING = """
import json, os, subprocess, sys
sys.path.insert(0, {src!r})
from kist.linux.pidfd import pidfd_open
from kist.runtime.cgroup import open_cgroup
from kist.runtime.errors import StepError
from kist.runtime.exec import exec_process
gone = subprocess.Popen(["true"], stdin=subprocess.PIPE)
pidfd = pidfd_open(gone.pid)
gone.wait()
spec = json.load(open({bundle!r} + "/config.json"))
group = open_cgroup(spec, "entering")
group.create()
try:
    exec_process(os.getpid(), {{**spec["process"], "args": ["touch", {trace!r}]}}, spec, stdio=None, cgroup=group,
                 init_pidfd=pidfd)
except StepError as error:
    print(error)
finally:
    group.remove()
"""


def test_exec_when_the_number_is_anothers_by_now(spec: dict[str, Any], tmp_path: Path, source: Path) -> None:
    """The container's process has ended, and its number is that of a process of the host: whose namespaces are our own,
    so that the program would run on the host, as root."""
    (tmp_path / "config.json").write_text(json.dumps(spec))
    code = ENTERING.format(src=str(source), bundle=str(tmp_path), trace=str(tmp_path / "escaped"))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.stdout == "enter the container: ESRCH\n", done.stderr
    assert not (tmp_path / "escaped").exists()
