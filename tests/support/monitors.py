"""A launcher and containers of busybox on a plain directory, with everything of theirs gone afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from kist.api.frames import FrameDecoder
from kist.launcher.client import AttachRequest, Launcher, MonitorLink, StartRequest, cleanup
from support.processes import kill_and_wait

CGROUPS = Path("/sys/fs/cgroup")
PARENT = "kist-launcher-"  # then the number of the process whose it is, and more
BUSYBOX = "/bin/busybox"
APPLETS = ("cat", "dd", "echo", "false", "head", "kill", "ls", "printf", "seq", "sh", "sleep", "stty", "tail",
           "test", "true", "tty", "wc", "yes")


def make_rootfs(root: Path) -> Path:
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (root / name).mkdir()
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/text").write_text("not a program\n")
    return root


def process(*args: str, terminal: bool = False) -> dict[str, Any]:
    """An OCI process object."""
    return {"terminal": terminal, "user": {"uid": 0, "gid": 0}, "args": list(args), "cwd": "/",
            "env": ["PATH=/bin", "TERM=xterm"], "noNewPrivileges": False,
            **({"consoleSize": {"height": 33, "width": 77}} if terminal else {})}


def remove_orphans() -> None:
    """The control groups of a test process (or a bench) that was killed."""
    for parent in [*CGROUPS.glob(f"*/{PARENT}*"), *CGROUPS.glob(f"{PARENT}*")]:
        owner, named, _ = parent.name.removeprefix(PARENT).partition("-")
        if named and not Path("/proc", owner).exists():
            remove_group(parent)


def remove_group(group: Path) -> None:
    """With all that is in it, processes too."""
    try:
        for child in filter(Path.is_dir, group.iterdir()):
            remove_group(child)
        for pid in (group / "cgroup.procs").read_text().split():
            kill_and_wait(int(pid))
        group.rmdir()
    except FileNotFoundError:  # another process of the tests did it
        pass


class House:
    """Makes containers in one place; remembers them, so that none is left."""

    def __init__(self, place: Path, rootfs: Path, launcher: Launcher) -> None:
        self.place = place
        self.rootfs = rootfs
        self.launcher = launcher
        self.links: list[MonitorLink] = []
        remove_orphans()
        self.parent = f"/{PARENT}{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def request(self, *args: str, terminal: bool = False, driver: str = "json-file", resources: Any = None,
                **options: Any) -> StartRequest:
        name = uuid.uuid4().hex
        run, data = self.place / "run" / name, self.place / "data" / name
        run.mkdir(parents=True)
        data.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({
            "ociVersion": "1.2.0", "hostname": "test", "process": process(*args, terminal=terminal),
            "root": {"path": str(self.rootfs), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "cgroup", "network")],
                      "cgroupsPath": f"{self.parent}/{name}", "resources": resources or {}}}))
        return StartRequest(id=name, bundle_dir=str(run), run_dir=str(run), data_dir=str(data), tty=terminal,
                            log={"driver": driver, "path": str(data / "json.log"), "max_size": 1 << 20, "max_file": 3},
                            **options)

    async def start(self, *args: str, **options: Any) -> MonitorLink:
        return await self.begin(self.request(*args, **options))

    async def begin(self, request: StartRequest, meanwhile: Coroutine[Any, Any, None] | None = None) -> MonitorLink:
        link = await self.launcher.start(request, meanwhile)
        self.links.append(link)
        return link

    async def attached(self, *args: str, stdin: bool = True, terminal: bool = False, keys: bytes = b"",
                       **options: Any) -> tuple[MonitorLink, Client]:
        client, attach = Client.make(stdin=stdin, framed=not terminal, keys=keys)
        link = await self.start(*args, terminal=terminal, open_stdin=stdin, stdin_once=True, attaches=[attach],
                                **options)
        return link, client

    def cgroups(self) -> list[Path]:
        """The control groups of containers of this house, in every hierarchy."""
        return [path for top in self._parents() for path in top.iterdir() if path.is_dir()]

    def _parents(self) -> list[Path]:
        name = self.parent[1:]
        return [path for path in [*CGROUPS.glob(f"*/{name}"), CGROUPS / name] if path.is_dir()]

    async def close(self) -> None:
        try:
            for link in self.links:
                if not link.exited.done():
                    try:
                        await link.kill(9)
                        await asyncio.wait_for(link.exited, 10)
                    except OSError:
                        pass
                link.close()
            for run in (self.place / "run").glob("*/state.json"):
                cleanup(str(run.parent))
            await self.launcher.close()
            assert self.cgroups() == []
        finally:
            for parent in self._parents():
                remove_group(parent)


class Client:
    """The other end of an attached connection."""

    def __init__(self, sock: socket.socket, *, framed: bool) -> None:
        self.sock = sock
        self.framed = framed

    @classmethod
    def make(cls, *, stdin: bool = True, framed: bool = True, keys: bytes = b"") -> tuple[Client, AttachRequest]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return cls(ours, framed=framed), AttachRequest(theirs.detach(), stdin=stdin, framed=framed, detach_keys=keys)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def end_input(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def receive(self, until: bytes) -> bytes:
        got = b""
        while until not in got:
            piece = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 65536), 15)
            assert piece, got
            got += piece
        return got

    async def rest(self) -> dict[int, bytes]:
        """All that comes until the end, by stream (1 for a terminal)."""
        out = {1: bytearray(), 2: bytearray()}
        decoder = FrameDecoder()
        while piece := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 1 << 20), 30):
            if self.framed:
                for stream, data in decoder.feed(piece):
                    out[stream] += data
            else:
                out[1] += piece
        decoder.close()
        self.sock.close()
        return {stream: bytes(data) for stream, data in out.items()}


async def soon(check: Any, seconds: float = 10) -> None:
    give_up = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < give_up, "it never came"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
