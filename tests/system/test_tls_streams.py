"""Streams over TCP with TLS: the end of input is an alert, and the rest of the output still comes."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import docker
import docker.tls
import pytest
from docker.utils.socket import frames_iter

from support.daemon import KIST, Daemon, docker_command
from support.hub import Hub
from support.pki import make_pki

COMMANDS = pytest.mark.parametrize("command", [str(KIST), docker_command()], ids=["kist", "docker"])


@pytest.fixture(scope="module")
def remote(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A server that its clients reach by TCP; with a container "box"."""
    pki = make_pki(tmp_path_factory.mktemp("pki"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("remote")
    place = f"tcp://127.0.0.1:{port}"
    found = Daemon(folder, mirror=hub.url, options=[
        "--tlsverify", "--tlscacert", str(pki / "ca.pem"), "--tlscert", str(pki / "server.pem"), "--tlskey",
        str(pki / "server.key"), "-H", place])
    for name, source in (("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client.key")):
        (pki / f"{name}.pem").write_bytes((pki / source).read_bytes())
    for tool in ("DOCKER", "KIST"):
        found.env.update({f"{tool}_HOST": place, f"{tool}_TLS_VERIFY": "1", f"{tool}_CERT_PATH": str(pki)})
    found.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    yield found
    found.close()


@COMMANDS
@pytest.mark.parametrize("words", [["run", "-i", "--rm", "busybox"], ["exec", "-i", "box"]], ids=["run", "exec"])
def test_what_comes_after_the_end_of_input_still_arrives(remote: Daemon, command: str, words: list[str]) -> None:
    done = remote.command(command, *words, "sh", "-c", "cat; sleep 0.3; echo late; echo err >&2; exit 3", input="x\n")
    assert (done.returncode, done.stdout, done.stderr) == (3, "x\nlate\n", "err\n")


@COMMANDS
def test_commands_without_input(remote: Daemon, command: str) -> None:
    assert remote.command(command, "run", "--rm", "busybox", "echo", "hi").stdout == "hi\n"
    assert remote.command(command, "logs", "box").returncode == 0
    assert remote.command(command, "ps", "-q").stdout.strip()


@COMMANDS
def test_a_hundred_megabytes_in_and_out(remote: Daemon, command: str) -> None:
    """With a reader that begins late: neither side hoards."""
    block = os.urandom(1 << 20)
    there, back = hashlib.sha256(), hashlib.sha256()

    def feed(pipe: IO[bytes]) -> None:
        for _ in range(100):
            pipe.write(block)
            there.update(block)
        pipe.close()

    with subprocess.Popen([command, "run", "-i", "--rm", "--log-driver", "none", "busybox", "cat"], env=remote.env,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        writer = threading.Thread(target=feed, args=(process.stdin,))
        writer.start()
        while data := process.stdout.read(1 << 20):
            back.update(data)
        writer.join()
    assert process.returncode == 0
    assert back.digest() == there.digest()


def test_docker_py_attaches(remote: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would be asked before ours
        monkeypatch.delenv(name, raising=False)
    pki = Path(remote.env["DOCKER_CERT_PATH"])
    tls = docker.tls.TLSConfig(client_cert=(str(pki / "cert.pem"), str(pki / "key.pem")), ca_cert=str(pki / "ca.pem"),
                               verify=True)
    api = docker.DockerClient(base_url=remote.env["DOCKER_HOST"].replace("tcp", "https"), tls=tls)
    try:
        made = api.api.create_container("busybox", ["head", "-n", "1"], stdin_open=True)["Id"]
        stream = api.api.attach_socket(made, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        api.api.start(made)
        stream.sendall(b"over TLS\n")
        assert b"".join(data for _, data in frames_iter(stream, tty=False)) == b"over TLS\n"
        assert api.containers.get("box").exec_run(["echo", "hi"]).output == b"hi\n"
    finally:
        api.close()


def test_a_client_that_vanishes_is_let_go(remote: Daemon) -> None:
    with subprocess.Popen([docker_command(), "exec", "-i", "box", "cat"], env=remote.env, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"x\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"x\n"
        process.kill()
    for _ in range(200):
        if "cat" not in remote.ok("top", "box", "-o", "pid,comm").split():
            return
    raise AssertionError("the exec's input has not ended")
