"""`logs` over rotation, by the docker command: each line once, in order, whatever happens meanwhile."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemon import Daemon, docker_command

# 400 lines of 110 bytes (a record of json-file has 200), in bursts that end when the file "go" is there.
WRITER = """
n=0
while [ $n -lt 400 ]; do
  printf '%0100d\\n%0100d\\n' $n $((n+1)); n=$((n+2))
  case $n in *00) while [ ! -e /go$n ]; do sleep 0.02; done;; esac
done
"""
SMALL = ["--log-opt", "max-size=10k", "--log-opt", "max-file=99"]


def folder(daemon: Daemon, name: str) -> Path:
    id = daemon.ok("inspect", "-f", "{{.Id}}", name)
    return daemon.data / "containers" / id


def go(daemon: Daemon, name: str, *bursts: int) -> None:
    daemon.ok("exec", name, "touch", *(f"/go{burst}" for burst in bursts))


def soon(check: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not check():
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.02)


def numbers(text: str) -> list[int]:
    return [int(line.split()[-1]) for line in text.splitlines()]


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_rotated_files_are_compressed_and_read(daemon: Daemon, driver: str) -> None:
    daemon.ok("run", "-d", "--name", "writer", "--log-driver", driver, "--log-opt", "compress=true", *SMALL,
              "busybox", "sh", "-c", WRITER)
    place = folder(daemon, "writer") / ("local-logs" if driver == "local" else "")
    go(daemon, "writer", 100, 200, 300)
    soon(lambda: len(list(place.glob("*.gz"))) > 2 and not list(place.glob("*.[0-9]")))
    go(daemon, "writer", 400)
    daemon.ok("wait", "writer")
    assert numbers(daemon.docker("logs", "writer").stdout) == list(range(400))
    assert numbers(daemon.docker("logs", "--tail", "350", "writer").stdout) == list(range(50, 400))
    stamped = daemon.docker("logs", "--timestamps", "writer").stdout.splitlines()
    middle = stamped[150].split()[0]
    later = daemon.docker("logs", "--since", middle, "-t", "writer").stdout.splitlines()
    assert later == [line for line in stamped if line.split()[0] >= middle]
    earlier = daemon.docker("logs", "--until", middle, "-t", "writer").stdout.splitlines()
    assert earlier == [line for line in stamped if line.split()[0] <= middle]
    with gzip.open(min(place.glob("*.gz"))) as file:  # anybody's gzip reads it
        content = file.read()
    assert driver == "local" or json.loads(content.splitlines()[0])["stream"] == "stdout"


def test_what_was_rotated_without_a_server_is_compressed_by_the_next(make_daemon: Callable[[], Daemon]) -> None:
    daemon = make_daemon()
    daemon.ok("run", "-d", "--name", "writer", "--log-driver", "local", *SMALL, "busybox", "sh", "-c", WRITER)
    place = folder(daemon, "writer") / "local-logs"
    pid = int(daemon.ok("inspect", "-f", "{{.State.Pid}}", "writer"))
    soon(lambda: len(list(place.glob("*.gz"))) == 1)  # of the first burst
    daemon.kill()
    for burst in (100, 200, 300):
        Path(f"/proc/{pid}/root/go{burst}").touch()
    soon(lambda: len(list(place.glob("*.[0-9]"))) > 2)
    assert len(list(place.glob("*.gz"))) == 1
    daemon.start()
    soon(lambda: len(list(place.glob("*.gz"))) > 2 and not list(place.glob("*.[0-9]")))
    soon(lambda: numbers(daemon.docker("logs", "writer").stdout) == list(range(400)))


@pytest.mark.parametrize("options", [
    [], ["--tail", "20"], ["--timestamps"], ["--details"], ["--since", "1h"], ["--tail", "5", "-t", "--details"],
    ["--until", "10m"]])
def test_following_over_rotation(daemon: Daemon, options: list[str]) -> None:
    """The log has rotated before, and does while `logs -f` reads."""
    daemon.ok("run", "-d", "--name", "writer", *SMALL, "--log-opt", "compress=true", "--label", "team=blue",
              "--log-opt", "labels=team", "busybox", "sh", "-c", WRITER)
    soon(lambda: len(daemon.docker("logs", "writer").stdout.splitlines()) == 100)
    words = [*options]
    if options[:1] == ["--until"]:
        words = ["--until", str(int(time.time()) + 600)]
    with subprocess.Popen([docker_command(), "logs", "-f", *words, "writer"], env=daemon.env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follower:
        assert follower.stdout
        first = follower.stdout.readline()
        go(daemon, "writer", 100, 200, 300, 400)
        out = first + follower.stdout.read()
        assert follower.wait(20) == 0
    tail = int(options[1]) if options[:1] == ["--tail"] else 100
    assert numbers(out) == list(range(100 - tail, 400))
    head = out.splitlines()[-1].split()[:-1]
    stamps = sum(word in ("-t", "--timestamps") for word in options)
    assert [word for word in head if word == "team=blue"] == ["team=blue"] * ("--details" in options)
    assert len([word for word in head if word.endswith("Z")]) == stamps


def test_a_reader_that_stops_for_a_while_misses_nothing_and_holds_nobody_up(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "writer", *SMALL, "--log-opt", "compress=true", "busybox", "sh", "-c",
              WRITER + "head -c 300000 /dev/zero | tr '\\0' x | fold -w 99; echo; echo 400")
    with subprocess.Popen([docker_command(), "logs", "-f", "writer"], env=daemon.env, text=True,
                          stdout=subprocess.PIPE) as follower:
        assert follower.stdout
        assert int(follower.stdout.readline()) == 0
        go(daemon, "writer", 100, 200, 300, 400)
        assert daemon.ok("wait", "writer") == "0"  # nobody reads meanwhile
        rest = follower.stdout.read().splitlines()
    lines = [line for line in rest if "x" not in line and line]
    assert [int(line) for line in lines] == list(range(1, 401))
    assert sum(line.count("x") for line in rest) == 300_000


def test_a_server_that_is_killed_ends_the_reader_and_the_next_one_has_it_all(
        make_daemon: Callable[[], Daemon]) -> None:
    daemon = make_daemon()
    daemon.ok("run", "-d", "--name", "writer", *SMALL, "--log-opt", "compress=true", "busybox", "sh", "-c", WRITER)
    with subprocess.Popen([docker_command(), "logs", "-f", "writer"], env=daemon.env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follower:
        assert follower.stdout
        assert int(follower.stdout.readline()) == 0
        pid = int(daemon.ok("inspect", "-f", "{{.State.Pid}}", "writer"))
        daemon.kill()
        assert numbers(follower.stdout.read()) == list(range(1, 100))
        assert follower.wait(20) != 0
    for burst in (100, 200):
        Path(f"/proc/{pid}/root/go{burst}").touch()
    daemon.start()
    with subprocess.Popen([docker_command(), "logs", "-f", "--tail", "250", "writer"], env=daemon.env, text=True,
                          stdout=subprocess.PIPE) as follower:
        assert follower.stdout
        first = int(follower.stdout.readline())
        go(daemon, "writer", 300, 400)
        assert [first, *numbers(follower.stdout.read())] == list(range(first, 400))
        assert first <= 50
