"""The Python SDK and its pytest plugin on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kist.client
from kist.errors import Conflict, EngineFailure, InvalidParameter, NotFound, NotSupported
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


def test_files_go_in_and_out(k: kist.client.Kist, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/inner").write_text("inside")
    with k.create("busybox", "true") as c:
        c.write("/etc/motd", b"hello\n", mode=0o600)
        assert c.read("/etc/motd") == b"hello\n"
        c.put("/tmp", tmp_path / "folder")
        assert c.read("/tmp/folder/inner") == b"inside"
        assert b"inside" in b"".join(c.archive("/tmp/folder"))
        with pytest.raises(InvalidParameter):
            c.read("/tmp")
        with pytest.raises(NotFound):
            c.read("/nothing")
        with pytest.raises(NotFound):
            c.write("/nothing/here", b"")


def test_a_command_to_talk_with(k: kist.client.Kist) -> None:
    with k.run("busybox", "sleep 1000") as c:
        with c.popen(["sh", "-c", "while read x; do echo got $x; done; echo over >&2; exit 5"]) as process:
            process.write(b"one\n")
            assert next(iter(process)) == (False, b"got one\n")
            process.write(b"two\n")
            process.close_stdin()
            assert list(process) == [(False, b"got two\n"), (True, b"over\n")]
            assert process.wait() == 5
        with c.popen("sh", tty=True) as shell:
            shell.resize(40, 100)
            shell.write(b"stty size; exit\n")
            assert b"40 100" in b"".join(data for _, data in shell)
        with c.popen("true", stdin=False) as short:
            assert short.communicate() == (0, b"", b"")


def test_the_rest_of_a_containers_life(k: kist.client.Kist) -> None:
    with k.run("busybox", ["sh", "-c", "echo a; echo b; exec sleep 1000"]) as c:
        c.pause()
        assert c.status == "paused"
        c.unpause()
        assert [row["CMD"] for row in c.top()] == ["sleep 1000"]
        assert next(c.stats())["pids_stats"]["current"] == 1
        assert list(c.logs(tail=1)) == [(False, b"b\n")]
        image = c.commit("sdk-commit:v1")
        assert k.images.inspect("sdk-commit:v1")["Id"] == image
        k.images.remove("sdk-commit:v1")
        c.restart(timeout=0)
        assert c.status == "running"
        c.stop(timeout=0)
        assert c.wait() == 137


def test_what_is_refused_is_typed(k: kist.client.Kist) -> None:
    with pytest.raises(NotSupported):
        list(k.images.build([b""]))
    with k.run("busybox", "sleep 1000", name="taken"):
        with pytest.raises(Conflict):
            k.create("busybox", name="taken")
        with pytest.raises(InvalidParameter):
            k.create("busybox", memory=1)
    with pytest.raises(kist.client.NoServer):
        kist.connect("unix:///nowhere.sock").containers.list()
