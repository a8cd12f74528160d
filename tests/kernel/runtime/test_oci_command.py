"""The command `kist oci`: the life of a container through its verbs, with runc's options, statuses and words."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MAIN = Path(__file__).resolve().parents[3] / "src" / "kist" / "runtime" / "__main__.py"
Done = subprocess.CompletedProcess[str]


class Oci:
    """The command with a state directory of its own; a bundle to run."""

    def __init__(self, root: Path, bundle: Path, spec: dict[str, Any]) -> None:
        self.root = root
        self.bundle = bundle
        self.spec = spec
        self.id = "o" + uuid.uuid4().hex[:10]
        spec["linux"]["cgroupsPath"] = f"/kist-test/{self.id}"

    def __call__(self, *words: str, **options: Any) -> Done:
        command = [sys.executable, "-I", "-S", str(MAIN), "--root", str(self.root), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)

    def write(self) -> None:
        (self.bundle / "config.json").write_text(json.dumps(self.spec))

    def background(self, *verbs: str) -> None:
        """create (and start) with output to nowhere: whoever holds our pipes would keep us waiting."""
        self.write()
        for verb in verbs:
            words = ["create", "-b", str(self.bundle), self.id] if verb == "create" else [verb, self.id]
            command = [sys.executable, "-I", "-S", str(MAIN), "--root", str(self.root), *words]
            subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def status(self) -> str:
        return str(json.loads(self("state", self.id).stdout)["status"])

    def wait(self, status: str) -> None:
        deadline = time.monotonic() + 20
        while self.status() != status:
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.02)


@pytest.fixture
def oci(tmp_path: Path, spec: dict[str, Any], rootfs: Path) -> Iterator[Oci]:
    # orphans of `create` become this process' children, as they become conmon's
    libc = __import__("ctypes").CDLL(None)
    libc.prctl(36, 1, 0, 0, 0)
    spec["process"]["args"] = ["sleep", "60"]
    command = Oci(tmp_path / "state", tmp_path, spec)
    yield command
    command("delete", "--force", command.id)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    assert not (tmp_path / "state" / command.id).exists()
    for top in ("", *os.listdir("/sys/fs/cgroup")):
        assert not os.path.exists(f"/sys/fs/cgroup/{top}/kist-test/{command.id}")


def test_without_control_groups(oci: Oci) -> None:
    """crun's `--cgroup-manager disabled`, Podman's `--cgroups=disabled`: it stays in its creator's groups."""
    oci.write()
    oci.spec["process"]["args"] = ["cat", "/proc/self/cgroup"]
    oci.spec["linux"]["namespaces"] = [one for one in oci.spec["linux"]["namespaces"] if one["type"] != "cgroup"]
    oci.write()
    run = ("run", "-b", str(oci.bundle), oci.id)
    done = oci("--cgroup-manager", "disabled", *run)
    assert (done.returncode, done.stdout) == (0, Path("/proc/self/cgroup").read_text()), done.stderr
    assert f"/kist-test/{oci.id}" in oci("--cgroup-manager", "cgroupfs", *run).stdout
    oci.spec["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    oci.write()
    done = oci("--cgroup-manager", "disabled", *run)
    assert "limit memory: the container has no control group" in done.stderr
    done = oci("--cgroup-manager", "none", *run)
    assert "--cgroup-manager: 'none' is not cgroupfs, systemd or disabled" in done.stderr


@pytest.mark.parametrize(("change", "words"), [
    ({"cwd": "/etc/passwd"}, "/etc/passwd: ENOTDIR: not a directory"),
    ({"args": ["/etc"]}, 'exec: "/etc": is a directory: permission denied'),
    ({"args": ["/etc/passwd"]}, 'exec: "/etc/passwd": permission denied'),
    ({"args": ["/nosuch"]}, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
])
def test_words_that_podman_makes_a_status_of(oci: Oci, change: dict[str, Any], words: str) -> None:
    oci.spec["process"].update(change)
    oci.write()
    done = oci("run", "-b", str(oci.bundle), oci.id)
    assert f'{words}"\n' in done.stderr.replace('\\"', '"'), done.stderr
    (oci.bundle / "process.json").write_text(json.dumps(oci.spec["process"]))
    oci.spec["process"].update(args=["sleep", "60"], cwd="/")
    oci.background("create", "start")
    done = oci("exec", "-p", str(oci.bundle / "process.json"), oci.id)
    assert f'{words}"\n' in done.stderr.replace('\\"', '"'), done.stderr


def test_the_life_of_a_container(oci: Oci) -> None:
    oci.background("create")
    state = json.loads(oci("state", oci.id).stdout)
    assert (state["status"], state["bundle"], state["ociVersion"]) == ("created", str(oci.bundle), "1.2.0")
    assert Path(f"/proc/{state['pid']}/root/bin/busybox").exists()
    assert "sleep" not in Path(f"/proc/{state['pid']}/cmdline").read_text()
    oci.background("start")
    assert oci.status() == "running"
    assert Path(f"/proc/{state['pid']}/cmdline").read_text() == "sleep\x0060\x00"
    assert oci("kill", oci.id, "KILL").returncode == 0
    oci.wait("stopped")
    assert oci("delete", oci.id).returncode == 0
    assert oci("state", oci.id).stderr.count("container does not exist") == 1


@pytest.mark.parametrize(("state", "verb", "words"), [
    ("created", "delete", "that is not stopped: created"), ("created", "resume", "container not paused"),
    ("running", "start", "cannot start an already running container"), ("running", "delete", "not stopped: running"),
    ("stopped", "start", "cannot start a container that has stopped"), ("stopped", "kill", "container not running"),
    ("stopped", "pause", "container not running"), ("paused", "pause", "container not running"),
    ("paused", "start", "cannot start a container that is paused"),
])
def test_what_a_state_forbids(oci: Oci, state: str, verb: str, words: str) -> None:
    if state == "stopped":
        oci.spec["process"]["args"] = ["true"]
    oci.background("create", *([] if state == "created" else ["start"]))
    if state == "stopped":
        oci.wait("stopped")
    if state == "paused":
        assert oci("pause", oci.id).returncode == 0
    done = oci(verb, oci.id)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert oci.status() == state


def test_the_id_is_unique_and_checked(oci: Oci) -> None:
    oci.background("create")
    assert "already exists" in oci("create", "-b", str(oci.bundle), oci.id).stderr
    for bad in ("a/b", "..", "", "a b"):
        assert oci("create", "-b", str(oci.bundle), bad).returncode == 1


def test_run_gives_the_status(oci: Oci) -> None:
    oci.spec["process"]["args"] = ["sh", "-c", "echo out; echo err >&2; cat; exit 42"]
    oci.write()
    done = oci("run", "-b", str(oci.bundle), oci.id, input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (42, "out\nin\n", "err\n")
    assert oci("list", "-q").stdout == ""


def test_run_killed(oci: Oci) -> None:
    oci.write()
    command = [sys.executable, "-I", "-S", str(MAIN), "--root", str(oci.root), "run", "-b", str(oci.bundle), oci.id]
    with subprocess.Popen(command) as child:
        oci_running(oci)
        oci("kill", oci.id, "9")
        assert child.wait(20) == 137


def oci_running(oci: Oci) -> None:
    deadline = time.monotonic() + 20
    while oci("list").stdout.count(" running ") != 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_run_passes_signals_on(oci: Oci) -> None:
    oci.spec["process"]["args"] = ["sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done"]
    oci.write()
    command = [sys.executable, "-I", "-S", str(MAIN), "--root", str(oci.root), "run", "-b", str(oci.bundle), oci.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGUSR1)
        assert child.wait(20) == 9


def test_terminal_by_console_socket(oci: Oci, tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    oci.spec["process"].update(terminal=True, args=["sh", "-c", "tty; read x; echo got $x"])
    oci.write()
    assert "cannot allocate tty" in oci("create", "-b", str(oci.bundle), oci.id).stderr
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        done = oci("create", "-b", str(oci.bundle), "--console-socket", str(path), "--pid-file",
                   str(tmp_path / "pid"), oci.id)
        assert done.returncode == 0, done.stderr
        connection, _address = server.accept()
        _words, fds, _flags, _from = socket.recv_fds(connection, 100, 1)
        connection.close()
    assert (tmp_path / "pid").read_text() == str(json.loads(oci("state", oci.id).stdout)["pid"])
    oci("start", oci.id)
    os.write(fds[0], b"word\n")
    got = b""
    while b"got word" not in got:
        got += os.read(fds[0], 100)
    os.close(fds[0])
    assert b"/dev/pts/0\r\n" in got  # the echo of what was typed may come before it


def test_exec(oci: Oci) -> None:
    oci.background("create", "start")
    done = oci("exec", "--cwd", "/tmp", "-e", "A=b", "-u", "1000:1001", oci.id, "sh", "-c",
               "pwd; echo $A; id -u; id -g; cat; exit 4", input="x")
    assert (done.returncode, done.stdout) == (4, "/tmp\nb\n1000\n1001\nx")
    done = oci("exec", oci.id, "nope")
    assert done.returncode == 255
    assert 'exec: \\"nope\\": executable file not found in $PATH' in done.stderr
    for odd in ("+1", "1_0", "0x1", "-1", "4294967295", "x"):  # CVE-2026-46680
        assert "is not an id" in oci("exec", "-u", odd, oci.id, "id").stderr


def test_exec_detached_with_pid_file_and_process_file(oci: Oci, tmp_path: Path) -> None:
    oci.background("create", "start")
    process = {**oci.spec["process"], "args": ["sleep", "33"]}
    (tmp_path / "p.json").write_text(json.dumps(process))
    command = [sys.executable, "-I", "-S", str(MAIN), "--root", str(oci.root), "exec", "-d", "-p",
               str(tmp_path / "p.json"), "--pid-file", str(tmp_path / "xpid"), oci.id]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30)
    pid = (tmp_path / "xpid").read_text()
    assert Path(f"/proc/{pid}/cmdline").read_text() == "sleep\x0033\x00"
    assert json.loads(oci("ps", "--format", "json", oci.id).stdout) == sorted(
        [int(pid), json.loads(oci("state", oci.id).stdout)["pid"]])
    assert "sleep 33" in oci("ps", oci.id).stdout
    os.kill(int(pid), signal.SIGKILL)
    os.waitpid(int(pid), 0)  # it is our orphan; as long as it is a zombie its pid namespace can't end


def test_exec_without_the_container(oci: Oci) -> None:
    done = oci("exec", "nothing", "true")
    assert (done.returncode, "container does not exist" in done.stderr) == (255, True)


def test_pause_and_resume(oci: Oci) -> None:
    oci.spec["process"]["args"] = ["sh", "-c", "while :; do echo x >> /count; done"]
    oci.background("create", "start")
    assert oci("pause", oci.id).returncode == 0
    assert oci.status() == "paused"
    count = oci.bundle / "rootfs" / "count"
    before = count.stat().st_size
    time.sleep(0.2)
    assert count.stat().st_size == before
    assert "cannot exec in a paused container" in oci("exec", oci.id, "true").stderr
    assert oci("resume", oci.id).returncode == 0
    assert oci.status() == "running"
    deadline = time.monotonic() + 20
    while count.stat().st_size == before:
        assert time.monotonic() < deadline


def test_update(oci: Oci) -> None:
    oci.spec["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                               "options": ["ro"]})
    oci.background("create", "start")
    assert oci("update", "--memory", "100m", "--pids-limit", "12", oci.id).returncode == 0
    stats = json.loads(oci("events", "--stats", oci.id).stdout)["data"]
    assert (stats["memory"]["usage"]["limit"], stats["pids"]["limit"]) == (100 << 20, 12)
    done = oci("update", "-r", "-", oci.id, input=json.dumps({"pids": {"limit": 13}}))
    assert done.returncode == 0, done.stderr
    assert json.loads(oci("events", "--stats", oci.id).stdout)["data"]["pids"]["limit"] == 13


def test_kill_all_reaches_others(oci: Oci) -> None:
    """Without a pid namespace the end of the first process is not the end of the others."""
    oci.spec["linux"]["namespaces"] = [entry for entry in oci.spec["linux"]["namespaces"] if entry["type"] != "pid"]
    oci.spec["process"]["args"] = ["sh", "-c", "sleep 61 & sleep 62; :"]
    oci.spec["mounts"] = [mount for mount in oci.spec["mounts"] if mount["destination"] != "/proc"]
    oci.spec["linux"].pop("maskedPaths")
    oci.spec["linux"].pop("readonlyPaths")
    oci.background("create", "start")
    deadline = time.monotonic() + 20
    while len(json.loads(oci("ps", "-f", "json", oci.id).stdout)) < 3:
        assert time.monotonic() < deadline
    pids = json.loads(oci("ps", "-f", "json", oci.id).stdout)
    assert oci("kill", oci.id, "KILL").returncode == 0
    oci.wait("stopped")
    assert oci("delete", oci.id).returncode == 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or ") Z " in stat.read_text()


def hook(tmp_path: Path, script: str, **extra: Any) -> dict[str, Any]:
    return {"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin", f"T={tmp_path}"], **extra}


def test_hooks_run_in_their_places(oci: Oci, tmp_path: Path) -> None:
    """Each writes its name, the state it got, and the mount namespace it ran in."""
    log = tmp_path / "log"
    script = "cat >> $T/log; echo >> $T/log; busybox readlink /proc/self/ns/mnt >> $T/log"
    oci.spec["hooks"] = {kind: [hook(tmp_path, f"echo {kind} >> $T/log; {script}")]
                         for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}
    oci.spec["hooks"]["startContainer"] = [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /seen; hostname >> /seen"],
                                            "env": ["PATH=/bin"]}]
    oci.spec["annotations"] = {"org.example": "yes"}
    oci.background("create")
    pid = json.loads(oci("state", oci.id).stdout)["pid"]
    inside = os.readlink(f"/proc/{pid}/ns/mnt")
    assert not (tmp_path / "rootfs" / "seen").exists()
    oci.background("start")
    oci("kill", oci.id, "KILL")
    oci.wait("stopped")
    oci("delete", oci.id)
    lines = log.read_text().splitlines()
    names, states, namespaces = lines[0::3], [json.loads(line) for line in lines[1::3]], lines[2::3]
    assert names == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    assert [state["status"] for state in states] == ["creating", "creating", "creating", "running", "stopped"]
    own = os.readlink("/proc/self/ns/mnt")
    assert namespaces == [own, own, inside, own, own]
    assert states[0]["pid"] == pid
    assert states[0]["annotations"] == {"org.example": "yes"}
    seen = (tmp_path / "rootfs" / "seen").read_text()
    assert '"status": "created"' in seen
    assert seen.endswith("box\n")


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_undoes_create(oci: Oci, tmp_path: Path, kind: str) -> None:
    """And whoever had set something up for it hears of its end (runtime.md#lifecycle)."""
    oci.spec["hooks"] = {kind: [hook(tmp_path, "exit 3")], "poststop": [hook(tmp_path, "cat > $T/end")]}
    oci.write()
    done = oci("create", "-b", str(oci.bundle), oci.id)
    assert (done.returncode, f"run {kind} hook #0 /bin/busybox: exit status 3" in done.stderr) == (1, True)
    assert oci("list", "-q").stdout == ""
    assert json.loads((tmp_path / "end").read_text())["status"] == "stopped"


def test_a_failing_start_hook(oci: Oci, tmp_path: Path) -> None:
    oci.spec["hooks"] = {"startContainer": [{"path": "/bin/false"}]}
    oci.background("create")
    done = oci("start", oci.id)
    assert (done.returncode, "startContainer hook #0 /bin/false: exit status 1" in done.stderr) == (1, True)
    oci.wait("stopped")


def test_a_hook_has_a_timeout(oci: Oci, tmp_path: Path) -> None:
    oci.spec["hooks"] = {"createRuntime": [hook(tmp_path, "sleep 50", timeout=1)]}
    oci.write()
    assert "it did not end within 1 s" in oci("create", "-b", str(oci.bundle), oci.id).stderr


def test_a_failing_poststart_hook_is_a_warning(oci: Oci, tmp_path: Path) -> None:
    oci.spec["hooks"] = {"poststart": [hook(tmp_path, "exit 3"), hook(tmp_path, "echo > $T/second")]}
    oci.background("create")
    done = oci("start", oci.id)
    assert (done.returncode, "level=warning" in done.stderr) == (0, True)
    assert (tmp_path / "second").exists()


@pytest.mark.parametrize(("change", "words"), [
    (lambda s: s.pop("ociVersion"), "ociVersion: it is required"),
    (lambda s: s["process"].pop("cwd"), "process.cwd: it is required"),
    (lambda s: s["process"].update(cwd="relative"), "process.cwd: it must be an absolute path"),
    (lambda s: s["process"].update(terminal=7), "process.terminal: 7 is not of type boolean"),
    (lambda s: s["process"].update(rlimits=[{"type": "NOFILE", "soft": 1, "hard": 1}]), "does not match"),
    (lambda s: s["linux"].update(namespaces=[{"type": "time travel"}]), "is not one of"),
    (lambda s: s["linux"].update(resources={"memory": {"limit": "1g"}}), "linux.resources.memory.limit"),
    (lambda s: s["process"]["user"].update(uid=-5), "process.user.uid: -5 is out of range"),
    (lambda s: s["linux"].update(intelRdt={"closID": "x"}), "linux.intelRdt"),
    (lambda s: s["linux"].update(sysctl={"kernel.panic": "1"}), "is not in a separate kernel namespace"),
    (lambda s: s["linux"].update(rootfsPropagation="sideways"), "linux.rootfsPropagation"),
])
def test_the_bundle_is_validated(oci: Oci, change: Callable[[dict[str, Any]], Any], words: str) -> None:
    change(oci.spec)
    oci.write()
    done = oci("create", "-b", str(oci.bundle), oci.id)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert not (oci.root / oci.id).exists()


@pytest.mark.parametrize("text", ["", "{", '{"a": }', '{"a": 1} x', "[1, 2", '"\\q"', "nul"])
def test_a_configuration_that_is_no_json(oci: Oci, text: str) -> None:
    (oci.bundle / "config.json").write_text(text)
    done = oci("create", "-b", str(oci.bundle), oci.id)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "config.json" in done.stderr


def test_log_lines(oci: Oci, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    done = oci("--log", str(log), "--log-format", "json", "create", "-b", "/missing", "x")
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["time"])
    assert entry["msg"] in done.stderr
    assert "JSON specification file /missing/config.json not found" in entry["msg"]


def test_spec_features_and_refusals(oci: Oci, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert oci("spec", "-b", str(tmp_path / "new")).returncode == 0
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert config["process"]["args"] == ["sh"]
    assert "exists" in oci("spec", "-b", str(tmp_path / "new")).stderr
    features = json.loads(oci("features").stdout)
    assert "rro" in features["mountOptions"]
    assert features["linux"]["seccomp"]["enabled"] is True
    # features.md: of the runtime, "irrelevant to the cgroup version of the host operating system"
    assert features["linux"]["cgroup"] == {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": True}
    assert features["linux"]["intelRdt"] == {"enabled": False}
    assert f"spec: {features['ociVersionMax']}" in oci("--version").stdout
    for verb in ("checkpoint", "restore"):
        assert f"{verb} is not supported" in oci(verb, "x").stderr
    assert oci("--version").stdout.startswith("kist-runtime version")
    assert oci("nonsense").returncode == 1


@pytest.mark.parametrize(("words", "status", "said"), [
    (["exec", "nope", "true"], 255, "exec failed: container does not exist"),
    (["exec", "ID", "nosuch"], 255, 'exec failed: exec: "nosuch": executable file not found in $PATH'),
    (["exec", "ID", "/bin"], 255, 'exec: "/bin": is a directory'),
    (["exec", "--user", "bob", "ID", "id"], 255, "'bob' is not an id"),
    (["exec", "--cap", "CAP_NOPE", "ID", "true"], 0, "ignoring unknown or unavailable capabilities: [CAP_NOPE]"),
    (["exec", "--preserve-fds", "5", "ID", "true"], 255, "unable to stat preserved-fd 3 (of 5)"),
    (["kill", "ID", "0"], 0, ""), (["kill", "ID", "NOSIG"], 1, "unknown signal 'NOSIG'"),
    (["kill", "ID", "_BLOCK"], 1, "unknown signal '_BLOCK'"),
    (["update", "--memory", "foo", "ID"], 1, "invalid size 'foo'"),
    (["--log-format", "xml", "state", "ID"], 1, "invalid log-format: xml"),
])
def test_statuses_and_words_as_runc(oci: Oci, words: list[str], status: int, said: str) -> None:
    """Held against runc 1.1.15 by hand, command for command."""
    oci.background("create", "start")
    done = oci(*(oci.id if word == "ID" else word for word in words))
    assert (done.returncode, said in done.stderr.replace('\\"', '"')) == (status, True), done.stderr
    if not said:
        assert done.stderr == ""


def test_a_created_container_can_be_paused(oci: Oci) -> None:
    """And has to be resumed before it can start."""
    oci.background("create")
    assert oci("pause", oci.id).returncode == 0
    assert oci.status() == "paused"
    assert oci("start", oci.id).returncode == 1
    assert oci("resume", oci.id).returncode == 0
    assert oci.status() == "created"
    oci.background("start")
    assert oci.status() == "running"


def test_a_stopped_container_has_no_processes(oci: Oci) -> None:
    oci.spec["process"]["args"] = ["true"]
    oci.background("create", "start")
    oci.wait("stopped")
    assert oci("ps", "--format", "json", oci.id).stdout == "[]\n"
    assert "is not running" in oci("events", "--stats", oci.id).stderr
    assert "container not running" in oci("update", "--memory", "64m", oci.id).stderr


def test_descriptors_are_preserved(oci: Oci) -> None:
    """``--preserve-fds`` and LISTEN_FDS."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    oci.spec["process"]["args"] = ["sh", "-c", "ls /proc/self/fd; cat <&3; echo $LISTEN_FDS"]
    oci.write()
    read_end, write_end = os.pipe()
    os.write(write_end, b"through\n")
    os.close(write_end)
    script = f'exec 3<&{read_end}; exec "$@"'
    command = ["bash", "-c", script, "sh", sys.executable, "-I", "-S", str(MAIN), "--root", str(oci.root), "run",
               "--preserve-fds", "1", "-b", str(oci.bundle), oci.id]
    done = subprocess.run(command, capture_output=True, text=True, pass_fds=[read_end], timeout=60, check=False)
    os.close(read_end)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:4] == ["0", "1", "2", "3"]
    assert "through" in done.stdout


@pytest.mark.parametrize("words", [
    ["features", "more"], ["list", "more"], ["spec", "more"], ["features", "--frob"], ["start", "--frob"],
    ["state", "--frob"], ["pause", "--frob"], ["resume", "--frob"], ["events", "--interval", "x", "none"],
    ["events", "--interval", "-1s", "none"],
])
def test_no_word_is_ignored(oci: Oci, words: list[str]) -> None:
    done = oci(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search("flag provided but not defined: -frob|expected, got 1|duration", done.stderr), done.stderr


@pytest.mark.parametrize(("words", "said"), [
    (["-e", "novalue", "true"], "invalid environment variable"),
    (["-t", "-d", "true"], "cannot allocate tty"),
    (["--console-socket", "/nowhere", "true"], "cannot use console socket"),
])
def test_an_exec_that_makes_no_sense(oci: Oci, words: list[str], said: str) -> None:
    oci.background("create", "start")
    options, command = words[:-1], words[-1:]
    done = oci("exec", *options, oci.id, *command)
    assert done.returncode == 255
    assert said in done.stderr


@pytest.mark.parametrize(("text", "said"), [
    ("{bad", "not JSON"), ("[]", "no process"), ('{"args": [], "cwd": "/"}', "process.args"),
    ('{"args": "true", "cwd": "/"}', "process.args"), ('{"args": ["true"]}', "process.cwd"),
    ('{"args": ["true"], "cwd": "/", "env": [1]}', "process.env"),
])
def test_a_process_file_is_checked(oci: Oci, tmp_path: Path, text: str, said: str) -> None:
    oci.background("create", "start")
    file = tmp_path / "process.json"
    file.write_text(text)
    done = oci("exec", "--process", str(file), oci.id)
    assert done.returncode == 255
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_machines_other_users_see_no_configuration(oci: Oci) -> None:
    """It holds the environment, passwords too; the id is no secret, it is in /proc/PID/cgroup."""
    oci.spec["process"]["env"].append("PASSWORD=secret")
    oci.background("create")
    config = oci.root / oci.id / "config.json"
    assert "PASSWORD=secret" in config.read_text()
    done = subprocess.run(["cat", f"{oci.root.name}/{oci.id}/config.json"], cwd=_open_to_all(oci.root.parent),
                          capture_output=True, text=True, check=False, user=65534, group=65534, extra_groups=[])
    assert "Permission denied" in done.stderr
    assert oci("delete", "--force", oci.id).returncode == 0


def _open_to_all(folder: Path) -> Path:
    """So that it isn't pytest's own folder that keeps them out."""
    folder.chmod(0o755)
    return folder
