"""What a container's processes do with their streams, numbers and limits keeps nobody from ending or asking them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.daemon import Daemon


@pytest.fixture
def server(daemon: Daemon) -> Iterator[Daemon]:
    yield daemon
    daemon.clean()


WRITERS = "for i in 1 2 3; do yes 12345678901234567890 & done; "


def test_others_write_on_when_the_first_process_ends(server: Daemon) -> None:
    """In the host's pid namespace the kernel doesn't end them with it."""
    server.ok("run", "-d", "--name", "loud", "--pid", "host", "--log-opt", "max-size=1m", "busybox", "sh", "-c",
              WRITERS + "sleep 0.3; exit 3")
    assert server.ok("wait", "loud", timeout=20) == "3"
    server.ok("rm", "loud")


@pytest.mark.parametrize("options", [(), ("-t",)])
def test_an_execs_children_write_on(server: Daemon, options: tuple[str, ...]) -> None:
    server.ok("run", "-d", "--name", "one", "--init", "busybox", "sleep", "1000")
    done = server.kist("exec", *options, "one", "sh", "-c", f"trap '' HUP; {WRITERS} sleep 0.3; exit 3", timeout=20)
    assert done.returncode == 3
    assert server.ok("exec", "one", "echo", "yes", timeout=20) == "yes"
    server.ok("rm", "-f", "one", timeout=20)
