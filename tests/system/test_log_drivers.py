"""Log drivers, by the docker command: what is read back, what goes to another program."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.pki import make_pki
from support.syslog_tls import Receiver


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
    assert line.endswith("]: hi there\n")
    assert daemon.docker("logs", "sent").stdout == "hi there\n"  # kept here as well
    daemon.ok("rm", "sent")


def test_syslog_over_tls(daemon: Daemon, tmp_path: Path) -> None:
    """The files are read at each start; who can't be trusted fails it."""
    make_pki(tmp_path)
    to = Receiver(tmp_path, asks=True)
    try:
        options = {"syslog-address": f"tcp+tls://127.0.0.1:{to.address[2]}", "syslog-format": "rfc5424",
                   "syslog-tls-ca-cert": f"{tmp_path}/trusted.pem", "syslog-tls-cert": f"{tmp_path}/client.pem",
                   "syslog-tls-key": f"{tmp_path}/client.key", "tag": "{{.Name}}"}
        words = [word for name, value in options.items() for word in ("--log-opt", f"{name}={value}")]
        daemon.ok("create", "--name", "sent", "--log-driver", "syslog", *words, "busybox", "echo", "hi there")
        absent = daemon.docker("start", "sent")
        assert absent.returncode == 1 and "could not read CA certificate" in absent.stderr
        (tmp_path / "trusted.pem").write_bytes((tmp_path / "stranger.pem").read_bytes())
        false = daemon.docker("start", "sent")
        assert false.returncode == 1 and "tls: failed to verify certificate: x509: " in false.stderr
        (tmp_path / "trusted.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
        assert daemon.docker("start", "-a", "sent").stdout == "hi there\n"
    finally:
        to.close()
    (line,) = to.got
    length, _, record = bytes(line).partition(b" ")
    assert int(length) == len(record) and record.endswith(b" sent - hi there\n")
    assert daemon.docker("logs", "sent").stdout == "hi there\n"
    daemon.ok("rm", "sent")


@pytest.mark.parametrize("options", [["syslog", "--log-opt", "cache-disabled=true"], ["none"]])
def test_what_is_kept_nowhere_is_not_read(daemon: Daemon, tmp_path: Path, options: list[str]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "s"))
        if options[0] == "syslog":
            options = [*options, "--log-opt", f"syslog-address=unixgram://{tmp_path}/s"]
        daemon.ok("run", "--name", "sent", "--log-driver", *options, "busybox", "echo", "hi")
    logs = daemon.docker("logs", "sent")
    assert logs.returncode == 1
    assert "configured logging driver does not support reading" in logs.stderr
    daemon.ok("rm", "sent")


def test_what_is_sent_is_followed_and_compressed_here(daemon: Daemon) -> None:
    """… and who doesn't take it (non-blocking, a small buffer) holds up neither the container nor the log here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        where = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        id = daemon.ok("run", "-d", "--name", "sent", "--log-driver", "syslog", "--log-opt", f"syslog-address={where}",
                       "--log-opt", "cache-max-size=10k", "--log-opt", "mode=non-blocking", "--log-opt",
                       "max-buffer-size=1k", "--log-opt", "syslog-format=rfc5424", "--log-opt",
                       "syslog-facility=local3", "--log-opt", "tag={{.Name}}", "busybox", "sh", "-c",
                       "seq 1000; sleep 0.2; seq 1001 1500")
        receiver.settimeout(10)
        first = receiver.recv(4096).decode()
        assert first.startswith("<158>1 ")
        assert first.endswith(" sent - 1\n")
        assert daemon.docker("logs", "-f", "sent").stdout.split() == [str(number) for number in range(1, 1501)]
    give_up = time.monotonic() + 20
    place = daemon.data / "containers" / id / "local-logs"
    while list(place.glob("*.[0-9]")) or not list(place.glob("*.gz")):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    daemon.ok("rm", "sent")


@pytest.mark.parametrize(("address", "status", "said"), [  # real Docker 26's statuses
    ("unix://{}/none", 127, "/none: connect: no such file or directory"),
    ("tcp://127.0.0.1:1", 125, "failed to create task for container: failed to initialize logging driver: "
                               "dial tcp 127.0.0.1:1: connect: connection refused"),
])
def test_a_receiver_that_is_not_there_fails_the_start(daemon: Daemon, tmp_path: Path, address: str, status: int,
                                                      said: str) -> None:
    done = daemon.docker("run", "--rm", "--log-driver", "syslog", "--log-opt",
                         f"syslog-address={address.format(tmp_path)}", "busybox", "true")
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
