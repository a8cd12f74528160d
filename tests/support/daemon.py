"""A server of the test's own: its data, socket, bridge, packet filter table and cgroups are nobody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.processes import ENVIRONMENT, PYTHON, end, kill_and_wait, mentioning, read_ready

ROOT = Path(__file__).parents[2]
KIST = ROOT / ".venv" / "bin" / "kist"
CLIENT = [str(KIST)] if KIST.exists() else [PYTHON, "-m", "kist.cli"]  # in a virtual machine it isn't installed


def docker_command() -> str:
    found = shutil.which("docker") or str(ROOT / ".cache/docker/usr/bin/docker")
    assert os.access(found, os.X_OK), "no docker command: scripts/setup test unpacks one"
    return found


class Daemon:
    """Starts at once; `close()` removes everything and says what was left behind."""

    def __init__(self, folder: Path, *, mirror: str | None = None, settings: str = "",
                 options: Sequence[str] = ()) -> None:
        """``options``: more words of the server's command line."""
        self.folder = folder
        self.options = options
        self.tag = f"{zlib.crc32(str(folder).encode()):08x}"
        self.data, self.run = folder / "data", Path("/run") / f"kt-{self.tag}"
        self.socket = self.run / "kist.sock"
        self.log = folder / "server.log"
        self.config = folder / "config.toml"
        self.bridge = f"kt{self.tag}"
        self.cgroup = f"/kist-test-{self.tag}"
        self.table = f"kt{self.tag}"
        third = int(self.tag[:4], 16)
        self.subnet = f"10.{128 + third % 64}.{(third >> 6) % 256}.0/24"
        self.config.write_text(self._config(mirror, settings))
        self.env = {**ENVIRONMENT, "KIST_HOST": f"unix://{self.socket}", "DOCKER_HOST": f"unix://{self.socket}",
                    "KIST_CONFIG": str(self.config), "DOCKER_CONFIG": str(folder / "docker"), "HOME": str(folder)}
        self.start()

    def _config(self, mirror: str | None, settings: str) -> str:
        text = (f'data = "{self.data}"\nrun = "{self.run}"\ncgroup-parent = "{self.cgroup}"\n{settings}\n'
                f'[network]\nbridge = "{self.bridge}"\nsubnet = "{self.subnet}"\nnft-table = "{self.table}"\n')
        if mirror:
            text += f'[registries."docker.io"]\nmirrors = ["{mirror}"]\n'
        return text

    def start(self) -> None:
        reader, writer = os.pipe()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "kist.server", "--config", str(self.config), "--ready-fd", str(writer),
                 *self.options],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=ENVIRONMENT, pass_fds=[writer])
        os.close(writer)
        try:
            read_ready(reader, self.process, 30, self.log)
        except AssertionError:  # nobody gets this object, who could end it
            self.kill()
            raise

    def kill(self) -> None:
        """What a crash does: SIGKILL, nothing said to anybody."""
        self.process.kill()
        self.process.wait(15)

    def end_autostarted(self) -> None:
        """Kills servers that clients have started over our configuration."""
        for pid, line in mentioning(str(self.config)):
            if "kist.server" in line:
                kill_and_wait(pid)

    def restart(self) -> None:
        self.kill()
        self.start()

    def command(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        options.setdefault("timeout", 60)
        options.setdefault("env", self.env)
        return subprocess.run(args, capture_output=True, text=True, errors="replace", check=False, **options)

    def kist(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.command(*CLIENT, *args, **options)

    def docker(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.command(docker_command(), *args, **options)

    def ok(self, *args: str, **options: Any) -> str:
        """A kist command that must succeed; its standard output, stripped."""
        done = self.kist(*args, **options)
        assert done.returncode == 0, f"kist {' '.join(args)}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def clean(self) -> None:
        """Removes every container and network (between tests that share a daemon)."""
        ids = self.ok("ps", "-aq").split()
        if ids:
            self.kist("rm", "-f", "-v", *ids)
        if self.ok("network", "ls", "-q", "--filter", "type=custom"):
            self.kist("network", "prune", "-f")

    def clean_volumes(self) -> None:
        """Removes every volume; nothing of them is left."""
        names = self.ok("volume", "ls", "-q").split()
        if names:
            self.ok("volume", "rm", *names)
        assert [path for folder in ("volumes", "volumes.new") for path in (self.data / folder).iterdir()] == []

    def close(self) -> None:
        if self.process.poll() is None:
            self.clean()
        end(self.process)
        self.end_autostarted()
        left = self.leftovers()
        for pid, _ in mentioning(str(self.run)):
            kill_and_wait(pid)
        shutil.rmtree(self.run, ignore_errors=True)
        self._remove_network()
        assert not left, "left behind:\n" + "\n".join(left)

    def leftovers(self) -> list[str]:
        found = [f"process {pid}: {line}" for pid, line in mentioning(str(self.run))]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount {m}" for m in mounts if str(self.folder) in m or str(self.run) in m]
        found += [f"cgroup {p}" for parent in self._cgroups() for p in parent.iterdir() if p.is_dir()]
        containers = self.run / "containers"
        found += [f"run state {p}" for p in containers.iterdir()] if containers.is_dir() else []
        return found

    def _remove_network(self) -> None:
        """The links, the tables and the parent cgroups belong to the machine until somebody removes them."""
        for link in (self.bridge, f"{self.bridge}-i"):  # the pair by which the host reaches its own published ports
            subprocess.run(["ip", "link", "delete", link], capture_output=True, check=False)
        for family in ("inet", "ip", "ip6", "bridge") if shutil.which("nft") else ():  # else there was no network
            subprocess.run(["nft", "delete", "table", family, self.table], capture_output=True, check=False)
        for path in self._cgroups():
            path.rmdir()

    def _cgroups(self) -> list[Path]:
        """Our containers' parent in each hierarchy. Nothing is searched: others' groups come and go meanwhile."""
        root = Path("/sys/fs/cgroup")
        hierarchies = [root, *(p for p in root.iterdir() if p.is_dir())]
        return [parent for h in hierarchies if (parent := h / self.cgroup.lstrip("/")).is_dir()]
