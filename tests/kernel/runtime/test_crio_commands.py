"""conmon, called as CRI-O calls it, with our runtime below: Kubernetes' log format, pipes that tell the pid, exit
files, exec in the foreground with a time limit, update, stop, delete. (Podman's own: tests/system.)"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import needs, reaper

# What conmon leaves behind when it ends (a command that ran too long) is reaped: until then the container can't end.
CONMON = [sys.executable, "-I", "-S", reaper.__file__, "conmon"]
START = Path(__file__).resolve().parents[3] / "src" / "kist" / "runtime" / "start.py"


class Crio:
    """What internal/oci of CRI-O does with conmon and the runtime."""

    def __init__(self, top: Path, container_id: str, spec: dict[str, Any]) -> None:
        self.top, self.id, self.spec = top, container_id, spec
        self.runtime = top / "kist-runtime"
        self.runtime.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {START} "$@"\n')
        self.runtime.chmod(0o755)
        for name in ("exits", "persist", "sockets"):
            (top / name).mkdir()
        self.children: list[subprocess.Popen[bytes]] = []

    def conmon(self, *words: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
        """The answer on the synchronisation pipe: ``{"pid": …}`` or ``{"data": -1, "message": …}``."""
        read_sync, write_sync = os.pipe()
        read_start, write_start = os.pipe()
        command = [*CONMON, "-c", self.id, "-n", self.id, "-r", str(self.runtime),
                   "--runtime-arg", f"--root={self.top}/state", "--socket-dir-path", str(self.top / "sockets"),
                   "--log-level", "info", *words]
        variables = {"PATH": os.environ["PATH"], "_OCI_SYNCPIPE": str(write_sync), "_OCI_STARTPIPE": str(read_start),
                     **(environment or {})}
        self.children.append(subprocess.Popen(command, env=variables, pass_fds=(write_sync, read_start)))
        os.close(write_sync)
        os.close(read_start)
        os.write(write_start, b"\0")
        os.close(write_start)
        with os.fdopen(read_sync, "rb") as pipe:
            answer: dict[str, Any] = json.loads(pipe.readline() or b"{}")
        return answer

    def create(self, *words: str) -> dict[str, Any]:
        (self.top / "config.json").write_text(json.dumps(self.spec))
        return self.conmon("-b", str(self.top), "--exit-dir", str(self.top / "exits"), "-l", str(self.top / "log"),
                           "-P", str(self.top / "conmon-pidfile"), "-p", str(self.top / "pidfile"),
                           "--persist-dir", str(self.top / "persist"), "-u", self.id, *words)

    def oci(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(self.runtime), f"--root={self.top}/state", *words], capture_output=True, text=True,
                              timeout=60, check=False, **options)

    def exec_sync(self, *args: str, seconds: int = 20) -> tuple[dict[str, Any], str]:
        """(the pid first, later its exit code; what it wrote)"""
        spec = {**self.spec["process"], "args": [*args], "terminal": False}
        (self.top / "exec.json").write_text(json.dumps(spec))
        log = self.top / "exec.log"
        read_sync, write_sync = os.pipe()
        command = [*CONMON, "-c", self.id, "-n", self.id, "-r", str(self.runtime), "-p", str(self.top / "exec.pid"),
                   "-e", "-l", str(log), "--socket-dir-path", str(self.top / "sockets"), "-T", str(seconds),
                   "--exec-process-spec", str(self.top / "exec.json"), "--runtime-arg", f"--root={self.top}/state",
                   "--sync"]
        child = subprocess.Popen(command, env={"PATH": os.environ["PATH"], "_OCI_SYNCPIPE": str(write_sync)},
                                 pass_fds=(write_sync,))
        self.children.append(child)
        os.close(write_sync)
        with os.fdopen(read_sync, "rb") as pipe:
            answers = [json.loads(line) for line in pipe]
        child.wait(60)
        return answers[-1], log.read_text()

    def wait_exit(self) -> int:
        path, deadline = self.top / "exits" / self.id, time.monotonic() + 30
        while not path.exists() or not path.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return int(path.read_text())

    def close(self) -> None:
        self.oci("delete", "--force", self.id)
        for child in self.children:  # with the conmon that went into the background
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise


@pytest.fixture
def crio(tmp_path: Path, container_id: str, spec: dict[str, Any], rootfs: Path) -> Iterator[Crio]:
    needs.program("conmon")  # comes with podman
    spec["process"]["args"] = ["sh", "-c", "echo to out; echo to err >&2; exec sleep 1000"]
    made = Crio(tmp_path, container_id, spec)
    yield made
    made.close()
    assert os.listdir(tmp_path / "state") == []


def lines(path: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 30
    while not path.exists() or path.read_text().count("\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text().splitlines()


def test_the_life_of_a_container(crio: Crio) -> None:
    pid = crio.create()["pid"]
    assert (crio.top / "pidfile").read_text() == str(pid)
    assert json.loads(crio.oci("state", crio.id).stdout)["status"] == "created"
    assert crio.oci("start", crio.id).returncode == 0
    words = [line.split(" ", 1)[1] for line in lines(crio.top / "log", 2)]
    assert sorted(words) == ["stderr F to err", "stdout F to out"]
    state = json.loads(crio.oci("state", crio.id).stdout)
    assert (state["id"], state["status"], state["pid"], state["bundle"]) == (crio.id, "running", pid, str(crio.top))
    assert state["created"].endswith("Z")  # CRI-O reads it
    limits = {"memory": {"limit": 64 << 20}, "cpu": {"shares": 512, "quota": 20000, "period": 100000}}
    assert crio.oci("update", "--resources", "-", crio.id, input=json.dumps(limits)).returncode == 0
    assert json.loads(crio.oci("events", "--stats", crio.id).stdout)["data"]["memory"]["usage"]["limit"] == 64 << 20
    for verb, status in (("pause", "paused"), ("resume", "running")):
        assert crio.oci(verb, crio.id).returncode == 0
        assert json.loads(crio.oci("state", crio.id).stdout)["status"] == status
    assert crio.oci("kill", crio.id, "15").returncode == 0  # process 1 without a handler: the kernel ignores it
    assert crio.oci("kill", crio.id, "9").returncode == 0
    assert crio.wait_exit() == 137
    assert crio.oci("delete", "--force", crio.id).returncode == 0
    assert crio.oci("delete", "--force", crio.id).returncode == 0  # as runc: it is gone
    assert "does not exist" in crio.oci("state", crio.id).stderr


def test_exec_in_the_foreground(crio: Crio) -> None:
    crio.create()
    crio.oci("start", crio.id)
    answer, log = crio.exec_sync("sh", "-c", "echo inside; cat /etc/hostname 2>&1; hostname; exit 5")
    assert answer["exit_code"] == 5
    assert [line.split(" ", 3)[3] for line in log.splitlines()][::2] == ["inside", "box"]


def test_exec_has_a_time_limit(crio: Crio) -> None:
    crio.create()
    crio.oci("start", crio.id)
    answer, _log = crio.exec_sync("sleep", "55", seconds=1)
    assert (answer["exit_code"], answer["message"]) == (-1, "command timed out")
    deadline = time.monotonic() + 20
    while len(json.loads(crio.oci("ps", "--format", "json", crio.id).stdout)) > 1:
        assert time.monotonic() < deadline, "what ran too long runs still"


def test_what_cannot_be_created_is_told_with_the_step(crio: Crio) -> None:
    crio.spec["mounts"].append({"destination": "/x", "type": "bind", "source": "/nowhere/at/all", "options": ["bind"]})
    answer = crio.create()
    assert answer.get("pid", -1) < 0
    assert "bind /nowhere/at/all on /x" in answer["message"]


def test_what_cannot_be_executed_is_told_at_start(crio: Crio) -> None:
    crio.spec["process"]["args"] = ["nothing-like-this"]
    answer = crio.create()
    told = answer.get("message") or crio.oci("start", crio.id).stderr
    assert 'exec: "nothing-like-this": executable file not found in $PATH' in told.replace('\\"', '"')


def test_a_terminal(crio: Crio) -> None:
    crio.spec["process"].update(terminal=True, args=["sh", "-c", "tty; exec sleep 1000"])
    assert crio.create("-t")["pid"] > 0
    assert crio.oci("start", crio.id).returncode == 0
    assert lines(crio.top / "log", 1)[0].split(" ", 1)[1].replace("\r", "") == "stdout F /dev/pts/0"
