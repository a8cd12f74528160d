"""`kist server --uninstall`: nothing of a server's is left, nothing of anybody else's goes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from support.daemon import CLIENT, Daemon
from support.processes import end


def uninstall(daemon: Daemon, *words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    return daemon.command(*CLIENT, "server", "--uninstall", *words, input=answer)


def links() -> str:
    return subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout


def kernels_objects(daemon: Daemon) -> list[str]:
    """Links, packet filter tables and control groups of a server, by its names."""
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
    groups = [*Path("/sys/fs/cgroup").glob(daemon.cgroup[1:]), *Path("/sys/fs/cgroup").glob(f"*{daemon.cgroup}")]
    return [*(line for line in links().splitlines() if daemon.bridge in line), *map(str, groups),
            *(line for line in tables if line.endswith(f" {daemon.table}"))]


def test_nothing_is_left(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.ok("network", "create", "shop")
    daemon.ok("volume", "create", "-o", "size=8m", "goods")
    daemon.ok("run", "-d", "--name", "web", "--network", "shop", "-p", "80", "-v", "goods:/goods", "busybox",
              "sleep", "1000")
    (shop,) = daemon.ok("network", "ls", "-q", "-f", "name=shop").split()
    assert shop in links()

    running = uninstall(daemon, "--force")
    assert (running.returncode, running.stdout) == (1, "")
    assert f"another server runs already with {daemon.run}" in running.stderr

    end(daemon.process)
    used = uninstall(daemon, "--force")
    assert (used.returncode, used.stdout) == (1, "")
    assert "kistd: containers are running, first " in used.stderr

    daemon.start()
    assert daemon.ok("exec", "web", "echo", "lives") == "lives"  # nothing was touched
    daemon.ok("rm", "-f", "web")
    end(daemon.process)
    assert kernels_objects(daemon)
    (daemon.data / "hub").mkdir()  # as `make run` has it
    assert uninstall(daemon, answer="n\n").returncode == 1
    assert (daemon.data / "volumes/goods").is_dir()

    done = uninstall(daemon, answer="y\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith(f"kept, as it is not the server's: {daemon.data}/hub")
    assert list(daemon.data.iterdir()) == [daemon.data / "hub"]
    assert not daemon.run.exists()
    assert kernels_objects(daemon) == []
    assert shop not in links()

    again = uninstall(daemon, "--force")  # with nothing there
    assert (again.returncode, again.stderr) == (0, "")
    assert not daemon.run.exists()


def test_what_is_mounted_below_is_not_emptied(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon()
    end(daemon.process)
    place, precious = daemon.data / "volumes/a b", tmp_path / "precious"
    for folder in (place, precious):
        folder.mkdir()
    (precious / "file").touch()
    subprocess.run(["mount", "--bind", str(precious), str(place)], check=True)
    try:
        refused = uninstall(daemon, "--force")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert (refused.returncode, refused.stderr) == (1, f"kistd: {place} is mounted: unmount it first\n")
    assert (precious / "file").exists()
    assert uninstall(daemon, "--force").returncode == 0
    assert not daemon.data.exists()


def test_a_data_folder_that_is_a_disk_of_its_own(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon()
    end(daemon.process)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)
    try:
        (disk / "containers").mkdir()
        done = uninstall(daemon, "--force", "--data", str(disk))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert list(disk.iterdir()) == []
        assert not daemon.run.exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
