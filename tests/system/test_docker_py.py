"""docker-py, Docker's own Python client, does its work with Kist unchanged."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from typing import Any

import docker
import docker.errors
import pytest

from support.daemon import Daemon


@pytest.fixture
def api(daemon: Daemon) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto", timeout=30)
    yield client
    client.close()


def test_version_is_negotiated(api: docker.DockerClient) -> None:
    assert api.api.api_version == "1.51"
    assert api.ping()


@pytest.mark.parametrize("version", ["1.24", "1.41", "1.51"])
def test_older_and_newest_versions_are_served(daemon: Daemon, version: str) -> None:
    client = docker.DockerClient(base_url=f"unix://{daemon.socket}", version=version)
    assert client.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"
    client.close()


def test_run_gives_the_output(api: docker.DockerClient) -> None:
    assert api.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"


def test_a_failed_run_raises_with_status_and_stderr(api: docker.DockerClient) -> None:
    with pytest.raises(docker.errors.ContainerError) as caught:
        api.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 4"])
    assert caught.value.exit_status == 4
    assert b"bad" in bytes(caught.value.stderr or b"")


def test_the_life_of_a_container(api: docker.DockerClient) -> None:
    box = api.containers.run("busybox", ["sleep", "1000"], detach=True, name="life", labels={"a": "b"})
    box.reload()
    assert box.status == "running"
    assert [c.id for c in api.containers.list(filters={"label": "a=b"})] == [box.id]
    code, output = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True)
    assert (code, output) == (3, (b"out\n", b"err\n"))
    box.kill()
    assert box.wait()["StatusCode"] == 137
    box.remove()
    with pytest.raises(docker.errors.NotFound):
        api.containers.get("life")


def test_logs_stream_and_tail(api: docker.DockerClient) -> None:
    box = api.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; done"], detach=True)
    box.wait()
    assert box.logs() == b"1\n2\n3\n"
    assert box.logs(tail=1) == b"3\n"
    assert b"".join(box.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    assert b"Z 1\n" in box.logs(timestamps=True)


def test_a_socket_attached_before_the_start(api: docker.DockerClient) -> None:
    created = api.api.create_container("busybox", ["cat"], stdin_open=True)
    stream: Any = api.api.attach_socket(created, params={"stdin": 1, "stdout": 1, "stream": 1})
    raw: socket.socket = stream._sock
    api.api.start(created)
    raw.sendall(b"over the wire\n")
    raw.shutdown(socket.SHUT_WR)
    received = io.BytesIO()
    while chunk := raw.recv(4096):
        received.write(chunk)
    assert received.getvalue() == b"\x01\0\0\0\0\0\0\x0eover the wire\n"
    assert api.api.wait(created)["StatusCode"] == 0
    stream.close()


def test_exec_with_a_terminal(api: docker.DockerClient) -> None:
    box = api.containers.run("busybox", ["sleep", "1000"], detach=True)
    assert box.exec_run(["sh", "-c", "test -t 0 && tty"], tty=True, stdin=True).output.strip() == b"/dev/pts/0"


def test_errors_are_dockers(api: docker.DockerClient) -> None:
    with pytest.raises(docker.errors.ImageNotFound):
        api.images.get("nothing-like-this")
    with pytest.raises(docker.errors.NotFound, match="No such container: nope"):
        api.containers.get("nope")
    with pytest.raises(docker.errors.APIError, match="Minimum memory limit allowed is 6MB"):
        api.containers.create("busybox", mem_limit="1m")


def test_images(api: docker.DockerClient) -> None:
    image = api.images.get("busybox")
    assert image.tags == ["busybox:latest"]
    assert image.attrs["Os"] == "linux"
    assert api.images.pull("hello-world", tag="latest").tags == ["hello-world:latest"]
    api.images.remove("hello-world")
    assert [i.tags for i in api.images.list() if i.tags] == [["busybox:latest"]]


def test_events_are_in_order(api: docker.DockerClient) -> None:
    events = api.events(decode=True, filters={"type": "container"})
    api.containers.run("busybox", ["true"], remove=True)
    seen = []
    for event in events:
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            break
    events.close()
    wanted = ["create", "start", "die", "destroy"]
    assert [e for e in seen if e in wanted] == wanted
