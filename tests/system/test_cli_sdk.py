"""The Python SDK and its pytest plugin on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kist.client
from kist.errors import EngineFailure, NotFound
from support.daemon import Daemon
from support.processes import ENVIRONMENT


@pytest.fixture
def k(daemon: Daemon) -> Iterator[kist.client.Kist]:
    with kist.client.connect(f"unix://{daemon.socket}") as client:
        yield client


def test_a_container_is_gone_when_its_block_ends(k: kist.client.Kist) -> None:
    with k.run("busybox", "sleep 1000", name="box", env={"A": "b c"}, labels={"x": "y"}) as c:
        assert (c.name, c.status) == ("box", "running")
        assert c.exec(["sh", "-c", "echo $A; echo err >&2; exit 4"]) == (4, b"b c\n", b"err\n")
        assert k.get("box").id == c.id
    with pytest.raises(NotFound):
        k.get("box")


def test_exec_carries_input(k: kist.client.Kist) -> None:
    data = os.urandom(3 << 20)
    with k.run("busybox", ["sleep", "1000"]) as c:
        assert c.exec("cat", stdin=data).stdout == data
        assert c.exec("pwd", workdir="/tmp", user="1").check().text == "/tmp\n"
        with pytest.raises(EngineFailure, match="exit status 1"):
            c.exec("ls /nope").check()


def test_the_output_of_one_that_ends(k: kist.client.Kist) -> None:
    with k.run("busybox", ["sh", "-c", "echo out; echo err >&2; exit 3"]) as c:
        assert c.output() == (3, b"out\n", b"err\n")


def test_ports_and_readiness(k: kist.client.Kist) -> None:
    import urllib.request

    with k.run("busybox", "httpd -f -h /etc", ports={"80": None}) as c:
        host, port = c.port(80)
        c.wait_until(lambda c: c.exec("wget -q -O- http://127.0.0.1/hostname").exit_code == 0)
        with urllib.request.urlopen(f"http://{host}:{port}/hostname", timeout=10) as answer:
            assert answer.read().decode().strip() == c.id[:12]
        with pytest.raises(NotFound, match="81/tcp"):
            c.port(81)
        with pytest.raises(TimeoutError):
            c.wait_until(lambda c: False, seconds=0.1)


def test_one_that_can_t_start_leaves_nothing(k: kist.client.Kist) -> None:
    with pytest.raises(Exception, match="executable file not found"):
        k.run("busybox", "nosuch", name="broken")
    with pytest.raises(NotFound):
        k.get("broken")


def test_the_pytest_plugin(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test_it(kist_run):\n"
        "    assert kist_run('busybox', 'sleep 1000', name='plugged').exec('echo hi').text == 'hi\\n'\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "kist.client.pytest_plugin", "-p", "no:cacheprovider",
                           "--kist-host", f"unix://{daemon.socket}", str(tmp_path)],
                          capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert daemon.ok("ps", "-aq") == ""
