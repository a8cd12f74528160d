"""docs/operating.md's unit with a real systemd: needs a machine that runs it (`make test-vm` boots one)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
UNITS = Path("/etc/systemd/system")
CLIENT = [sys.executable, "-m", "kist.cli"]

pytestmark = pytest.mark.skipif(not os.path.isdir("/run/systemd/system"), reason="systemd does not run here")


def said(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.strip()


def kist(*words: str) -> str:
    return said(*CLIENT, *words)


def shown(name: str) -> str:
    return said("systemctl", "show", "--value", "--property", name, "kist")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[None]:
    """The page's unit, as it stands; kistd where the page puts it. The machine has few units besides."""
    (unit,) = re.findall(r"```ini\n(.*?)```", (ROOT / "docs/operating.md").read_text(), re.DOTALL)
    for name in ("sysinit", "basic", "shutdown", "multi-user"):
        (UNITS / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (UNITS / "kist.service").write_text(unit)
    kistd = Path("/opt/kist/bin/kistd")
    kistd.parent.mkdir(parents=True)
    kistd.write_text(f"#!/bin/sh\nPYTHONPATH={os.environ['PYTHONPATH']} exec {sys.executable} -m kist.server \"$@\"\n")
    kistd.chmod(0o755)
    said("systemctl", "daemon-reload")
    said("systemctl", "enable", "--now", "kist")
    with tarfile.open(tmp_path / "busybox.tar", "w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
    kist("import", str(tmp_path / "busybox.tar"), "busybox")
    yield
    said("systemctl", "stop", "kist")
    said(str(kistd), "--uninstall", "--force")
    assert not list(Path("/sys/fs/cgroup").glob("**/kist"))


def test_containers_run_on_whatever_becomes_of_the_server(service: None) -> None:
    del service
    kist("run", "-d", "--name", "web", "busybox", "/bin/busybox", "sleep", "1000")
    pid = kist("inspect", "-f", "{{.State.Pid}}", "web")

    def lives() -> None:
        assert kist("inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "web") == f"{pid} running"
        assert kist("exec", "web", "/bin/busybox", "echo", "hi") == "hi"

    said("systemctl", "restart", "kist")
    lives()
    main = shown("MainPID")
    os.kill(int(main), 9)
    while shown("MainPID") in (main, "0") or shown("ActiveState") != "active":
        pass  # Restart=on-failure
    lives()
    said("systemctl", "stop", "kist")
    assert (shown("ActiveState"), shown("Result")) == ("inactive", "success")
    assert Path(f"/proc/{pid}/comm").read_text() == "busybox\n"
    said("systemctl", "start", "kist")
    lives()
    kist("rm", "-f", "web")
