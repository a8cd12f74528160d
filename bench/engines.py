"""The engines under measurement: Kist, started for the purpose, and whatever peers are running beside it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.daemon import KIST, Daemon, docker_command
from support.hub import Hub, fill
from support.processes import ENVIRONMENT

MARK = "98765"  # every long-lived payload is `sleep 98765`
PEERS = Path(os.environ.get("PEERS", "/srv/peers"))


class Failed(Exception):
    """A measured command did not succeed: its figure would mean nothing."""


class Engine:
    """Something with a Docker-like command line and, perhaps, an API socket."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], *, socket_path: str | None = None,
                 helpers: tuple[str, ...] = (), daemon: int | None = None, remove: tuple[str, ...] = ()) -> None:
        self.name, self.command, self.env = name, command, env
        self.socket_path, self.helpers, self.daemon, self.remove_options = socket_path, helpers, daemon, remove

    def time(self, *args: str, stdin: int = subprocess.DEVNULL) -> float:
        """Wall milliseconds of one client command."""
        begun = time.perf_counter()
        done = subprocess.run([*self.command, *args], env=self.env, stdin=stdin, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, check=False)
        took = (time.perf_counter() - begun) * 1000
        if done.returncode:
            raise Failed(f"{self.name} {' '.join(args)}: status {done.returncode}: {done.stderr.decode()[-300:]}")
        return took

    def output(self, *args: str) -> bytes:
        """What a client command prints."""
        return subprocess.run([*self.command, *args], env=self.env, stdin=subprocess.DEVNULL, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def popen(self, *args: str, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
        """A client command whose streams the measure holds."""
        return subprocess.Popen([*self.command, *args], env=self.env, stdin=stdin, stdout=stdout,
                                stderr=subprocess.DEVNULL)

    def remove(self, *names: str) -> float:
        return self.time("rm", "-f", *self.remove_options, *names)

    def api(self) -> Api:
        assert self.socket_path is not None
        return Api(self.socket_path)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class Api:
    """One kept connection to an engine's API."""

    def __init__(self, path: str) -> None:
        self._connection = _UnixConnection(path)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data else {}
        self._connection.request(method, f"/v1.41{path}", data, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise Failed(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text) if text else None

    def create(self, *command: str, network: str) -> str:
        body = {"Image": "busybox", "Cmd": list(command), "HostConfig": {"NetworkMode": network}}
        return str(self.call("POST", "/containers/create", body)["Id"])

    def cycle(self, network: str) -> dict[str, float]:
        """create + start + wait of `true`: milliseconds of each and of all; the container is removed untimed."""
        marks = [time.perf_counter()]
        cid = self.create("true", network=network)
        marks.append(time.perf_counter())
        self.call("POST", f"/containers/{cid}/start")
        marks.append(time.perf_counter())
        self.call("POST", f"/containers/{cid}/wait")
        marks.append(time.perf_counter())
        self.call("DELETE", f"/containers/{cid}?force=1")
        steps = dict(zip(("create", "start", "wait"), (b - a for a, b in pairwise(marks)), strict=True))
        steps["all"] = marks[-1] - marks[0]
        return {name: seconds * 1000 for name, seconds in steps.items()}


class Bench:
    """Everything that a run of the measurements needs; `close()` removes it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kist-bench-", dir="/var/tmp"))
        fill(self.folder / "hub", "hello-world", "busybox")
        self.hub = Hub(self.folder / "hub", self.folder / "hub.log")
        (self.folder / "kist").mkdir()
        self.daemon = Daemon(self.folder / "kist", mirror=self.hub.url)
        self.daemon.ok("pull", "-q", "busybox")
        self.engines = [self._kist(), self._docker_on_kist(), *self._peers()]

    def _kist(self) -> Engine:
        return Engine("kist", [str(KIST)], self.daemon.env, socket_path=str(self.daemon.socket),
                      helpers=("kist-monitor",), daemon=self.daemon.process.pid)

    def _docker_on_kist(self) -> Engine:
        return Engine("docker CLI → kist", [docker_command()], self.daemon.env)

    def _peers(self) -> list[Engine]:
        found = []
        docker = PEERS / "run/docker.sock"
        holder = _recorded(PEERS / "run/ns.pid")
        if holder is None:
            return []
        if _recorded(PEERS / "run/docker.pid"):
            found.append(Engine("docker", [docker_command()], {**ENVIRONMENT, "DOCKER_HOST": f"unix://{docker}"},
                                socket_path=str(docker), helpers=("containerd-shim",),
                                daemon=_recorded(PEERS / "run/docker.pid")))
        podman = ["nsenter", "-m", "-t", str(holder), "--", "podman"]
        env = {**ENVIRONMENT, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
        self._service = subprocess.Popen([*podman, "system", "service", "--time=0", f"unix://{PEERS}/run/kb.sock"],
                                         env=env, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found.append(Engine("podman", podman, env, socket_path=f"{PEERS}/run/kb.sock", helpers=("conmon",),
                            remove=("-t", "0")))
        return found

    def close(self) -> None:
        service = getattr(self, "_service", None)
        if service is not None:
            service.terminate()
            service.wait()
        self.daemon.close()
        self.hub.close()
        shutil.rmtree(self.folder)


def _recorded(path: Path) -> int | None:
    """A pid that peers_setup.sh recorded, while that process lives."""
    try:
        pid = int(path.read_text().split()[0])
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return None
    return pid


def pss(pid: int) -> int:
    """Proportional set size of a process in KiB; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def processes() -> dict[int, tuple[str, int]]:
    """pid → (command name, parent)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue
            found[int(entry.name)] = (name, int(stat.rpartition(")")[2].split()[1]))
    return found


def family(root: int, without: tuple[str, ...]) -> set[int]:
    """A process and what descends from it, less the named helpers (and their descendants)."""
    table, found, todo = processes(), set(), [root]
    while todo:
        pid = todo.pop()
        if pid in table and pid not in found and table[pid][0] not in without:
            found.add(pid)
            todo += [child for child, (_, parent) in table.items() if parent == pid]
    return found
