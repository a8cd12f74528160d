"""Log drivers, by the docker command: what is read back, what goes to another program."""

from __future__ import annotations

import socket
from pathlib import Path

from support.daemon import Daemon


def test_local_is_read_back(daemon: Daemon) -> None:
    done = daemon.docker("run", "--log-driver", "local", "--log-opt", "max-size=1m", "--name", "kept", "busybox",
                         "sh", "-c", "echo out; echo err >&2")
    assert done.returncode == 0, done.stderr
    logs = daemon.docker("logs", "kept")
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    daemon.ok("rm", "kept")


def test_attributes_are_details(daemon: Daemon) -> None:
    done = daemon.docker("run", "--label", "team=blue", "--log-opt", "labels=team", "--log-opt", "tag={{.Name}}",
                         "--name", "tagged", "busybox", "echo", "hi")
    assert done.returncode == 0, done.stderr
    assert daemon.docker("logs", "--details", "tagged").stdout == "tag=tagged,team=blue hi\n"
    daemon.ok("rm", "tagged")


def test_syslog_gets_the_lines(daemon: Daemon, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "s"))
        receiver.settimeout(10)
        done = daemon.docker("run", "--log-driver", "syslog", "--log-opt", f"syslog-address=unixgram://{tmp_path}/s",
                             "--log-opt", "tag={{.Name}}", "--name", "sent", "busybox", "echo", "hi there")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "hi there\n"
        line = receiver.recv(4096).decode()
    assert line.startswith("<30>")
    assert " sent[" in line
    assert line.endswith("]: hi there")
    logs = daemon.docker("logs", "sent")
    assert logs.returncode == 1
    assert "configured logging driver does not support reading" in logs.stderr
    daemon.ok("rm", "sent")


def test_a_receiver_that_is_not_there_fails_the_start(daemon: Daemon, tmp_path: Path) -> None:
    done = daemon.docker("run", "--rm", "--log-driver", "syslog", "--log-opt",
                         f"syslog-address=unix://{tmp_path}/none", "busybox", "true")
    assert done.returncode == 125, done.stderr
    assert "No such file or directory" in done.stderr
