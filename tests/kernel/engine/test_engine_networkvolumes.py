"""Volumes that lie on a server: NFS and SMB, mounted from real ones. Where the kernel has no such file system (or the
servers would be a whole machine's) it is the words of the failure that are tested; `make test-vm` has both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import fileservers
from support.daemon import Daemon
from support.groups import MACHINE

SERVED = MACHINE == "files"
NFS = ("-o", "type=nfs", "-o", "o=addr=localhost,vers=4.2,rw,soft,timeo=50,retrans=1", "-o", "device=:/")
CIFS = ("-o", "type=cifs", "-o", "o=username=kist,password=secret,vers=3.1.1,uid=1000", "-o", "device=//localhost/box")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    directory = tmp_path / "export"
    directory.mkdir()
    (directory / "letter").write_text("from the server\n")
    return directory


class Far:
    """A volume on a server."""

    def __init__(self, daemon: Daemon, exported: Path, kind: str, *options: str) -> None:
        self.daemon, self.exported, self.kind = daemon, exported, kind
        daemon.ok("volume", "create", *options, kind)
        self.run = ("run", "--rm", "--network", "none", "-v", f"{kind}:/data", "box")

    def mounts(self) -> list[str]:
        return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" - {self.kind} " in line]

    def use(self) -> None:
        """Read what the server has, write what it then has; mounted while it is used, and no longer."""
        ok = self.daemon.ok
        assert ok(*self.run, "cat", "/data/letter") == "from the server"
        ok(*self.run, "sh", "-c", "echo from the container > /data/answer")
        assert (self.exported / "answer").read_text() == "from the container\n"
        assert self.mounts() == []
        ok("run", "-d", "--name", "stays", "--network", "none", "-v", f"{self.kind}:/data", "box", "sleep", "1000")
        assert len(self.mounts()) == 1
        (self.exported / "late").write_text("later\n")
        assert ok("exec", "stays", "cat", "/data/late") == "later"
        ok("rm", "-f", "stays")
        assert self.mounts() == []

    def refused(self) -> None:
        done = self.daemon.kist(*self.run, "true")
        assert done.returncode == 125
        assert "failed to mount local volume: mount " in done.stderr
        assert "secret" not in done.stderr

    def close(self) -> None:
        self.daemon.kist("rm", "-f", "stays")
        self.daemon.ok("volume", "rm", self.kind)
        assert (self.exported / "letter").exists()


@pytest.fixture
def far(machine: Daemon, exported: Path) -> Iterator[Callable[..., Far]]:
    made: list[Far] = []

    def maker(*words: str) -> Far:
        made.append(Far(machine, exported, *words))
        return made[-1]

    yield maker
    for each in made:
        each.close()


def test_nfs(exported: Path, far: Callable[..., Far]) -> None:
    volume = far("nfs4", *NFS)
    if not SERVED:
        volume.refused()
        return
    with fileservers.nfs(exported):
        volume.use()


def test_cifs(exported: Path, tmp_path: Path, far: Callable[..., Far]) -> None:
    volume = far("cifs", *CIFS)
    if not SERVED:
        volume.refused()
        return
    with fileservers.smb(exported, tmp_path / "smb", share="box", user="kist", password="secret"):
        assert volume.daemon.ok(*volume.run, "stat", "-c", "%u", "/data/letter") == "1000"
        volume.use()
