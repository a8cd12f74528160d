"""A new volume gets what the image has there: once, whole, whoever else comes meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import needs
from support.daemon import Daemon
from system.api_http import ask

FILES = 1500


@pytest.fixture
def server(daemon: Daemon) -> Iterator[Daemon]:
    """With an image that has FILES files in /data, a link /way to it, and one that leads out, /out."""
    daemon.ok("run", "--name", "maker", "busybox", "sh", "-c", f"""mkdir /data
cd /data; for i in $(seq {FILES}); do echo x > $i; done; chown 5:6 1; chmod 4750 1; ln 2 same; mkfifo pipe
chmod 1770 .; chown 7:8 .
ln -s /etc/passwd link; ln -s data /way; ln -s ../../../../../../../../../etc /out; echo f > /file""")
    daemon.ok("commit", "maker", "filled:1")
    daemon.ok("rm", "maker")
    yield daemon
    daemon.clean()
    daemon.clean_volumes()
    daemon.ok("rmi", "filled:1")


def see(server: Daemon, name: str, do: str = "ls /v | wc -l") -> str:
    return server.ok("run", "--rm", "--network", "none", "-v", f"{name}:/v:nocopy", "busybox", "sh", "-c", do)


@pytest.mark.parametrize("options", [(), ("-o", "size=64m")], ids=["plain", "bounded"])
def test_several_at_once_with_one_new_volume(server: Daemon, options: tuple[str, ...]) -> None:
    """It is filled once, and each of them sees all of it from its first moment."""
    def run(_: int) -> str:
        return server.ok("run", "--rm", "--network", "none", "-v", "vol:/data", "filled:1", "sh", "-c", "ls | wc -l; "
                         "ls /data | wc -l")

    if options:
        server.ok("volume", "create", *options, "vol")
    with ThreadPoolExecutor(5) as pool:
        found = [line.split()[-1] for line in pool.map(run, range(5))]
    assert found == [str(FILES + 3)] * 5
    assert not Path(server.data / "volumes" / "vol" / "filling").exists()


def test_a_volume_that_somebody_is_about_to_have_is_not_removed(server: Daemon) -> None:
    """By nobody, while it is being filled: `rm` and `prune` find it in use, `import` as well."""
    client = threading.Thread(target=server.ok, args=("create", "--name", "box", "-v", "vol:/data", "filled:1"))
    marker = server.data / "volumes" / "vol" / "filling"
    client.start()
    seen = refused = 0
    while client.is_alive():
        seen += marker.exists()
        answers = [ask(server, "DELETE", "/v1.45/volumes/vol"),
                   ask(server, "POST", "/v1.45/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D")]
        refused += answers[0][0] == 409
        assert answers[0][0] in (404, 409), answers
        assert answers[0][0] == 404 or "volume is in use" in answers[0][1]["message"]
        assert answers[1][0] == 200 and not answers[1][1]["VolumesDeleted"], answers
    client.join()
    assert refused or not seen
    assert see(server, "vol") == str(FILES + 3)


def test_what_cannot_be_filled_stays_empty_and_keeps_what_is_put_there_later(server: Daemon) -> None:
    """The image's folder is larger than the volume. Nothing of the try is left, nor is anything deleted later."""
    server.ok("run", "--name", "maker", "busybox", "sh", "-c", "mkdir /big; dd if=/dev/zero of=/big/f bs=1M count=12; "
              "echo x >> /big/f; tr '\\0' x < /big/f > /big/g")
    server.ok("commit", "maker", "big:1")
    server.ok("rm", "maker")
    server.ok("volume", "create", "-o", "size=8m", "vol")
    done = server.kist("create", "-v", "vol:/big", "big:1")
    assert done.returncode == 1 and ("failed to copy the image's /big into volume vol: No space left on device"
                                     in done.stderr), done
    assert see(server, "vol", "ls -A /v; echo mine > /v/mine") == ""
    done = server.kist("run", "--rm", "-v", "vol:/big", "big:1", "cat", "/big/mine")
    assert (done.returncode, done.stdout) == (0, "mine\n"), "it isn't empty any more: nothing is copied"
    server.ok("rmi", "big:1")


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_places_that_are_links(server: Daemon, by: str) -> None:
    """As the container sees them: inside of the image. One that leads out leads to the image's own /etc."""
    run = getattr(server, by)
    for name, place, do, found in (
            ("way", "/way", "ls /way | wc -l", str(FILES + 3)),
            ("out", "/out", "test -e /out/shadow || echo none", "none"),
            ("sub", "/way/", "stat -c '%u %g %a' /data /data/1; stat -c %h /data/2; readlink /data/link",
             "7 8 1770\n5 6 4750\n2\n/etc/passwd")):
        done = run("run", "--rm", "-v", f"{name}:{place}", "filled:1", "sh", "-c", do)
        assert (done.returncode, done.stdout.strip()) == (0, found), (place, done)


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_what_is_not_filled(server: Daemon, by: str) -> None:
    """With nocopy, a part of a volume, a bind, over a file, and what comes with --volumes-from (as real Docker 26)."""
    run = getattr(server, by)
    empty = ["sh", "-c", "ls -A /data"]
    server.ok("volume", "create", "part")
    see(server, "part", "mkdir /v/sub")
    for args in (["-v", "one:/data:nocopy"], ["--mount", "source=two,target=/data,volume-nocopy"],
                 ["--mount", "source=three,target=/data,volume-nocopy=true"],
                 ["--mount", "source=part,target=/data,volume-subpath=sub"]):
        done = run("run", "--rm", *args, "filled:1", *empty)
        assert (done.returncode, done.stdout) == (0, ""), (args, done)
    server.ok("create", "--name", "donor", "-v", "four:/data", "busybox")
    done = run("run", "--rm", "--volumes-from", "donor", "filled:1", *empty)
    assert (done.returncode, done.stdout) == (0, ""), done
    assert run("create", "--name", "heir", "--volumes-from", "donor", "filled:1").returncode == 0
    mounts: list[dict[str, Any]] = json.loads(server.ok("inspect", "-f", "{{json .Mounts}}", "heir"))
    assert [(mount["Name"], mount["Mode"]) for mount in mounts] == [("four", "")]
    done = run("run", "--rm", "-v", "five:/file", "filled:1", "ls", "-A", "/file")
    assert done.returncode == 125 and "mount a directory onto a file" in done.stderr, done
    assert run("run", "--rm", "-v", "one:/data", "filled:1", "ls", "/data/1500").stdout == "/data/1500\n"


def test_a_killed_fill_takes_nothing_along_that_came_later(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """The marks of a copy that was cut short, by hand: a volume that lies elsewhere is somebody's folder."""
    server = make_daemon()
    server.ok("pull", "-q", "busybox")
    server.ok("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}", "there")
    server.ok("volume", "create", "-o", "size=16m", "bounded")
    see(server, "bounded", "echo half > /v/half")
    (tmp_path / "mine").write_text("mine\n")
    for name in ("there", "bounded"):
        (server.data / "volumes" / name / "filling").touch()
    server.restart()
    assert see(server, "there", "cat /v/mine") == "mine"
    assert see(server, "bounded", "ls -A /v; echo mine > /v/mine") == ""
    assert see(server, "bounded", "cat /v/mine") == "mine"
    assert not (server.data / "volumes" / "bounded" / "filling").exists()
    server.ok("volume", "rm", "there", "bounded")
    assert (tmp_path / "mine").exists()
