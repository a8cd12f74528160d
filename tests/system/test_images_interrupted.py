"""Pulls that are cut off: what has come is kept and gone on with, what isn't whole is never seen."""

from __future__ import annotations

import json
import os
import random
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from support.daemon import KIST, Daemon
from support.hub import Hub
from support.liar import Image, digest, tar_of
from support.relay import Relay
from support.slow_registry import SlowRegistry
from support.waiting import until
from system.test_images_foreign import publish


def begin(daemon: Daemon, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([str(KIST), "pull", "-q", name], env=daemon.env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_pull_goes_on_after_the_server_was_killed(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(mirror=None)
    with SlowRegistry({"a": os.urandom(3 << 20)}, {"b": os.urandom(2 << 20), "c": b"c" * 50_000}) as registry:
        registry.pause = 0.01
        client = begin(daemon, registry.name)
        until(lambda: registry.sent_of_layers() > registry.size() * 2 // 3, "nothing was sent")
        daemon.kill()
        client.wait(20)
        until(lambda: registry.sending == 0, "the connection stays")
        assert registry.ranges == []
        registry.pause = 0
        registry.sent.clear()
        daemon.start()
        assert daemon.ok("images", "-q") == ""
        daemon.ok("pull", "-q", registry.name)
        assert registry.ranges
        assert 0 < registry.sent_of_layers() < registry.size() * 2 // 3
    assert daemon.ok("system", "check", "-q") == ""


def test_a_pull_goes_on_when_the_network_fails(daemon: Daemon) -> None:
    """The client gives up (^C); the next pull begins where it ended."""
    with SlowRegistry({"a": os.urandom(2 << 20)}) as registry:
        registry.pause = 0.01
        client = begin(daemon, registry.name)
        until(lambda: registry.sent_of_layers() > registry.size() // 2, "nothing was sent")
        client.kill()
        client.wait(20)
        until(lambda: registry.sending == 0, "the server goes on for a client that is gone")
        registry.pause = 0
        registry.sent.clear()
        daemon.ok("pull", "-q", registry.name)
        assert registry.sent_of_layers() < registry.size() * 3 // 4
        daemon.ok("rmi", registry.name)


def test_a_pull_goes_on_after_the_registry_was_killed(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """A real Hub behind a slow line; its own log says what it sent again."""
    size = 24 << 20  # more than sockets hold: what is in them comes even after a kill
    image = Image(tar_of((tarfile.TarInfo("x"), os.urandom(size))))
    with closing(Hub(tmp_path / "hub", tmp_path / "hub.log")) as hub, Relay(hub.port) as line:
        publish(hub, "slow/app", image)
        daemon = make_daemon(mirror=None)
        name = f"{line.host}/slow/app:1"
        line.pause = 0.02
        client = begin(daemon, name)
        until(lambda: line.came > 4 << 20, "nothing was sent")
        hub.kill()
        line.pause = 0
        hub.log.unlink()
        hub.start()
        if client.wait(60):  # it lost patience before the registry was there again
            daemon.ok("pull", "-q", name)

        def again() -> list[tuple[int, int]]:
            said = [json.loads(text) for text in hub.log.read_text().splitlines() if text.startswith("{")]
            return [(row["status"], row["sent"]) for row in said if row["path"].endswith(digest(image.layer))]

        until(lambda: bool(again()), "nothing was asked for again")
        assert [status for status, _ in again()] == [206]
        assert 0 < again()[0][1] < size - (3 << 20)
    assert daemon.ok("system", "check", "-q") == ""
    assert daemon.ok("image", "inspect", "-f", "{{.Id}}", name) == digest(image.config)


def test_two_pulls_of_one_layer_share_the_work(daemon: Daemon) -> None:
    with SlowRegistry({"a": os.urandom(1 << 20)}, {"b": os.urandom(1 << 20)}) as registry:
        registry.pause = 0.003
        pulls = [begin(daemon, registry.name) for _ in range(3)]
        assert [pull.wait(60) for pull in pulls] == [0, 0, 0]
        assert registry.sent_of_layers() == registry.size()
        daemon.ok("rmi", registry.name)


def test_killed_at_any_point_nothing_is_half_visible(make_daemon: Callable[..., Daemon]) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    daemon = make_daemon(mirror=None)
    files = {f"d{number % 7}/f{number}": os.urandom(2000) for number in range(400)}
    with SlowRegistry(files, {"b": os.urandom(1 << 20)}) as registry:
        for _ in range(6):
            registry.pause = chance.choice([0, 0.001, 0.004])
            client = begin(daemon, registry.name)
            time.sleep(chance.uniform(0.05, 0.9))
            daemon.kill()
            client.wait(20)
            daemon.start()
            assert daemon.ok("system", "check", "-q") == ""
            if daemon.ok("images", "-q"):
                daemon.ok("create", "--name", "whole", registry.name)
                daemon.ok("rm", "whole")
                daemon.ok("rmi", registry.name)
        registry.pause = 0
        daemon.ok("pull", "-q", registry.name)
        assert daemon.ok("system", "check", "-q") == ""
