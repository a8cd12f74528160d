"""Much at once, and often: a gigabyte through pipes, events of many containers, a thousand containers come and gone."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

import kist.client
from support.daemon import KIST, Daemon, docker_command

GIGABYTE = 1 << 30
PIECE = 1 << 20
# What is sent is this again and again. Its length is prime: a piece that is lost or doubled shifts all that follows.
PATTERN = os.urandom(1_000_003)
TWICE = PATTERN * 2


def feed(to: IO[bytes], total: int) -> None:
    """Write so many bytes of the pattern, and the end."""
    done = 0
    while done < total:
        at = done % len(PATTERN)
        done += to.write(memoryview(TWICE)[at:at + min(PIECE, len(PATTERN), total - done)])
    to.close()


def check(out: IO[bytes]) -> int:
    """Read the pattern to the end; how many bytes came."""
    seen = 0
    while piece := out.read1(PIECE // 2):  # type: ignore[attr-defined]
        at = seen % len(PATTERN)
        assert piece == TWICE[at:at + len(piece)], f"another byte after {seen}"
        seen += len(piece)
    return seen


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("command", [str(KIST), docker_command()], ids=["kist", "docker"])
def test_a_gigabyte_in_and_out_byte_for_byte(daemon: Daemon, command: str, verb: str) -> None:
    words = ["run", "-i", "--rm", "--log-driver", "none", "busybox", "cat"]
    if verb == "exec":
        daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
        words = ["exec", "-i", "box", "cat"]
    with subprocess.Popen([command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=daemon.env) as process:
        assert process.stdin is not None and process.stdout is not None
        writer = threading.Thread(target=feed, args=(process.stdin, GIGABYTE))
        writer.start()
        assert check(process.stdout) == GIGABYTE
        writer.join()
    assert process.returncode == 0


def test_events_keep_their_order_under_load(daemon: Daemon) -> None:
    """Several listeners, one of which never reads; every container's story is in order, and the same for all."""
    host = f"unix://{daemon.socket}"
    heard: list[list[dict[str, Any]]] = [[], [], []]
    ready = threading.Barrier(len(heard) + 1)

    def listen(into: list[dict[str, Any]]) -> None:
        with kist.client.connect(host) as client:
            stream = client.system.events(filters={"type": ["container"]}, since=str(time.time()))
            ready.wait(20)
            for event in stream:
                into.append(event)
                if event["Action"] == "destroy" and sum(one["Action"] == "destroy" for one in into) == 60:
                    return

    def live(number: int) -> None:
        with kist.client.connect(host) as client, client.run("busybox", "true", name=f"e{number}") as container:
            container.wait()

    with kist.client.connect(host) as deaf:
        silent = deaf.request("GET", "/events")  # its head is here, its body is never read
        listeners = [threading.Thread(target=listen, args=(into,)) for into in heard]
        for listener in listeners:
            listener.start()
        ready.wait(20)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(live, range(60)))
        for listener in listeners:
            listener.join(20)
            assert not listener.is_alive()
        silent.close()
    assert heard[0] == heard[1] == heard[2]
    moments = [event["timeNano"] for event in heard[0]]
    assert moments == sorted(moments)
    stories = defaultdict(list)
    for event in heard[0]:
        stories[event["Actor"]["ID"]].append(event["Action"])
    assert len(stories) == 60
    assert {tuple(story) for story in stories.values()} == {("create", "start", "die", "destroy")}


def descriptors(pid: int) -> int:
    """Open ones, but for folders that are being emptied at this moment (what is removed goes to the trash first)."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:  # closed meanwhile
            continue
    return sum("trash" not in path for path in found)


def memory(pid: int) -> int:
    """Bytes that are the process's own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no figure")


def files(daemon: Daemon) -> set[str]:
    return {str(path) for top in (daemon.data, daemon.run) for path in top.rglob("*")}


def settled(look: Callable[[], Any], wanted: Any) -> None:
    """What is done in the background is done soon."""
    end = time.monotonic() + 20
    while (found := look()) != wanted:
        assert time.monotonic() < end, f"{found} is not {wanted}"
        time.sleep(0.1)


def test_a_thousand_that_came_and_went_leave_nothing(daemon: Daemon) -> None:
    with kist.client.connect(f"unix://{daemon.socket}") as client:
        def cycles(count: int) -> None:
            for _ in range(count):
                made = client.containers.create({"Image": "busybox", "Cmd": ["true"], "Volumes": {"/v": {}}})
                client.containers.remove(made["Id"], volumes=True)

        cycles(600)  # what is kept on purpose (events for replay) is full then
        server = daemon.process.pid
        before, had, used = descriptors(server), files(daemon), memory(server)
        mounts = Path("/proc/self/mountinfo").read_text().count(str(daemon.folder))
        cycles(1000)
        settled(lambda: descriptors(server), before)
        settled(lambda: files(daemon) - had, set())
        assert Path("/proc/self/mountinfo").read_text().count(str(daemon.folder)) == mounts
        # A leak of one small record per container would be some MB; the allocator's own breathing is less than one.
        assert memory(server) - used < 2 << 20
