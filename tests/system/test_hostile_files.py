"""What a container makes of its own files must not lead the server astray: it answers, and opens nothing but files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.daemon import Daemon
from system.api_http import ask

# More directories in one another than a path has room for, of 250 letters and of three.
DEEP = """long=$(printf %0250d 7); d() { cd "$1"; i=0
while [ $i -lt "$3" ]; do mkdir $2 && cd $2 || exit 1; i=$((i+1)); done; }; (d /x $long 40); (d /vol abc 1100)"""


@pytest.fixture
def server(daemon: Daemon) -> Iterator[Daemon]:
    yield daemon
    daemon.clean()


def run(server: Daemon, script: str) -> None:
    server.ok("run", "-d", "--name", "one", "-v", "/vol", "busybox", "sh", "-c",
              f"mkdir /x; {script}\necho made; exec sleep 1000")
    for line in server.ok("logs", "-n", "1", "one"), *iter(lambda: server.ok("logs", "-n", "1", "one"), "made"):
        assert line in ("", "made")


def test_directories_deeper_than_any_path(server: Daemon) -> None:
    """They keep nobody from seeing sizes, or the files beside them; what no path names is left out, as Docker does."""
    run(server, f"echo 12345 > /x/beside; echo 123 > /vol/beside; {DEEP}")
    for target in ("/system/df", "/containers/json?size=1", "/containers/one/changes"):
        assert ask(server, "GET", target)[0] == 200, target
    assert ask(server, "GET", "/containers/one/json?size=1")[1]["SizeRw"] == 6
    for folder in ("x", "vol"):
        status, archive = ask(server, "GET", f"/containers/one/archive?path=/{folder}")
        assert status == 200 and b"beside" in archive
    image = server.ok("commit", "one")
    assert server.ok("run", "--rm", image, "cat", "/x/beside") == "12345"
    server.ok("rm", "-fv", "one")
    server.ok("rmi", image)


@pytest.mark.parametrize("account", ["mkfifo /etc/passwd; sleep 1000 <>/etc/passwd &",
                                     "mknod /etc/passwd c 10 130", "ln -s /dev/tty /etc/passwd", "mkdir /etc/passwd",
                                     "ln -s /proc/self/environ /etc/passwd", "ln -s passwd /etc/passwd"])
def test_accounts_that_are_no_file(server: Daemon, account: str) -> None:
    """CVE-2024-9676 and its like. 10:130 is a watchdog: to open it starts what resets the machine when it is closed."""
    run(server, f"rm /etc/passwd; {account}")
    done = server.kist("exec", "-u", "somebody", "one", "id")
    assert "unable to find user somebody: no matching entries in passwd file" in done.stdout + done.stderr
    assert server.ok("exec", "-u", "7:8", "one", "sh", "-c", "grep Uid /proc/self/status").split()[1] == "7"
