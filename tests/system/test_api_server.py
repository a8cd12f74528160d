"""The server's process: start, readiness, one at a time, end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable

from support.daemon import Daemon
from support.processes import ENVIRONMENT, PYTHON, end
from system.api_http import ask

Make = Callable[..., Daemon]


def test_the_socket_is_there_when_the_server_says_so(make_daemon: Make) -> None:
    daemon = make_daemon()
    assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o660
    assert ask(daemon, "GET", "/_ping") == (200, b"OK")


def test_a_second_server_for_the_same_run_directory_is_refused(make_daemon: Make) -> None:
    daemon = make_daemon()
    second = subprocess.run([PYTHON, "-m", "kist.server", "--config", str(daemon.config)], env=ENVIRONMENT,
                            capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"another server runs already with {daemon.run} (process {daemon.process.pid})" in second.stderr
    assert "Traceback" not in second.stderr
    assert ask(daemon, "GET", "/_ping")[0] == 200


def test_the_end_is_clean_and_containers_go_on(make_daemon: Make) -> None:
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    box = daemon.ok("run", "-d", "busybox", "sleep", "1000")
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(daemon.socket))
        waiting.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(15) == 0
    assert not daemon.socket.exists()
    assert "Traceback" not in daemon.log.read_text()
    daemon.start()
    assert ask(daemon, "GET", f"/containers/{box}/json")[1]["State"]["Running"] is True


def test_the_server_listens_where_the_environment_says(make_daemon: Make) -> None:
    daemon = make_daemon()
    end(daemon.process)
    elsewhere = daemon.run / "else.sock"
    reader, writer = os.pipe()
    with subprocess.Popen([PYTHON, "-m", "kist.server", "--config", str(daemon.config), "--ready-fd", str(writer)],
                          env={**ENVIRONMENT, "KIST_HOST": f"unix://{elsewhere}"}, pass_fds=[writer],
                          stderr=subprocess.DEVNULL) as server:
        os.close(writer)
        assert os.read(reader, 1)
        os.close(reader)
        assert stat.S_ISSOCK(elsewhere.stat().st_mode)
        assert not daemon.socket.exists()
        end(server)
    daemon.start()


def test_a_configuration_that_is_wrong_is_told_in_one_line(make_daemon: Make) -> None:
    daemon = make_daemon()
    bad = daemon.folder / "bad.toml"
    bad.write_text("nosuch = 1\n")
    told = subprocess.run([PYTHON, "-m", "kist.server", "--config", str(bad)], env=ENVIRONMENT, capture_output=True,
                          text=True, timeout=30, check=False)
    assert told.returncode == 1
    assert told.stderr == f"kistd: configuration file {bad}: nosuch: unknown key\n"
