"""The machine's other users have no part in what containers hold, however the server was started."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemon import Daemon
from system.api_http import ask

NOBODY = 65534


def as_nobody(daemon: Daemon, *command: str) -> tuple[int, str]:
    """Run below the server's folder, which others may enter, as a user who may nothing; (status, what was said)."""
    daemon.folder.chmod(0o755)
    done = daemon.command(*command, cwd=daemon.folder, user=NOBODY, group=NOBODY, extra_groups=[])
    return done.returncode, done.stdout + done.stderr


def test_a_set_user_id_program_of_a_container_is_out_of_reach(make_daemon: Callable[..., Daemon]) -> None:
    """CVE-2021-41091: who is root in a container and a plain user of the machine, too, would be root there. Ids of
    containers are no secret, they are in /proc/PID/cgroup."""
    box = make_daemon()
    box.ok("run", "--name", "one", "-v", "vol:/vol", "-e", "WORD=secret", "busybox", "sh", "-c",
           "for at in /usr /vol; do mkdir -p $at; cp /bin/busybox $at/id; chmod 4755 $at/id; done")
    identity = ask(box, "GET", "/containers/one/json")[1]["Id"]
    box.data.chmod(0o711)  # as an older server has made it
    places = (f"data/snapshots/{identity}/fs/usr/id", "data/volumes/vol/_data/id", "data/engine.db")
    assert all(as_nobody(box, "test", "-r", place)[0] == 0 for place in places), "the attack itself doesn't work"
    assert as_nobody(box, places[0])[0] == 0, "the attack itself doesn't work"
    box.restart()
    for place in places:
        assert "Permission denied" in as_nobody(box, "cat", place)[1], place
    assert stat.S_IMODE(box.data.stat().st_mode) == 0o700
    box.ok("start", "-a", "one")
    box.ok("rm", "one")
    box.ok("volume", "rm", "vol")


@pytest.mark.parametrize("mask", [0o077, 0])
def test_modes_are_not_the_callers(make_daemon: Callable[..., Daemon], mask: int) -> None:
    """A server started under umask 077 (hardened accounts have it) would leave /etc/hosts to root alone, one under 0
    files that everybody may write."""
    before = os.umask(mask)
    try:
        box = make_daemon()
    finally:
        os.umask(before)
    box.ok("run", "--rm", "-u", "1000", "-v", "/new", "busybox", "sh", "-c",
           "cat /etc/hosts /etc/resolv.conf /etc/hostname && cd /new")
    open_to_all = [str(path) for folder in (box.data, box.run) for path in _below(folder)
                   if path.lstat().st_mode & 0o002 and not path.is_symlink()]
    assert not open_to_all


def _below(folder: Path) -> list[Path]:
    return [Path(at) / name for at, _, names in os.walk(folder) for name in names]
