"""`docker info` says what is the case: each figure beside another source of it."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

from support import needs
from support.daemon import Daemon

FILE_SYSTEMS = {"ext2/ext3": "extfs", "overlayfs": "overlayfs", "tmpfs": "tmpfs", "xfs": "xfs", "btrfs": "btrfs"}


def info(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.docker("info", "--format", "{{json .}}").stdout)
    return found


def test_the_machine_and_the_server(daemon: Daemon) -> None:
    found = info(daemon)
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(daemon.data)], capture_output=True, text=True, check=True)
    assert dict(found["DriverStatus"])["Backing Filesystem"] == FILE_SYSTEMS[kind.stdout.strip()]
    assert found["Plugins"]["Log"] == ["journald", "json-file", "local", "syslog"]
    for name in found["Plugins"]["Log"]:  # the drivers that it names are known, others aren't
        made = daemon.docker("create", "--log-driver", name, "busybox", "true")
        assert "error looking up logging plugin" not in made.stderr
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert found["SwapLimit"] == Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
    assert found["IPv4Forwarding"] == (Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n")
    assert (found["NCPU"], found["KernelVersion"]) == (os.cpu_count(), os.uname().release)
    assert found["NFd"] > 5


@needs.docker_28
def test_the_command_shows_it_as_dockers_does(daemon: Daemon) -> None:
    """But for its own name, and the versions of programs that Kist hasn't got."""
    theirs = daemon.docker("info").stdout.splitlines(keepends=True)
    ours = daemon.kist("info").stdout.splitlines(keepends=True)
    own = ("Client", " Version:", " Context:", " Debug Mode:")
    left = [line for line in theirs if not line.startswith((*own, " containerd v", " runc v", " init v"))]
    assert [line for line in ours if not line.startswith(own)] == left
    assert ours[-1] == "\n"


def test_the_engine_keeps_its_identity(daemon: Daemon) -> None:
    before = info(daemon)["ID"]
    assert str(uuid.UUID(before)) == before
    daemon.restart()
    assert info(daemon)["ID"] == before


def test_client_and_server_name_the_machine_alike(daemon: Daemon) -> None:
    """In Go's words, as Docker's clients have them (amd64, not x86_64)."""
    form = "{{.%s.Os}}/{{.%s.Arch}}"
    client, server = (daemon.ok("version", "-f", form % (side, side)) for side in ("Client", "Server"))
    assert client == server
