"""What the server does for its cache by itself: garbage, the budget; and `kist system check`."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable

import pytest

from support.daemon import Daemon
from support.waiting import until
from system.test_images_words import make


@pytest.fixture
def own(make_daemon: Callable[..., Daemon]) -> Daemon:
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    return daemon


def test_check_finds_and_mends_a_damaged_layer(own: Daemon) -> None:
    assert " 0 damaged, 0 mended\nfs-verity: not used: layers are directories" in own.ok("system", "check")
    assert " fs-verity: not used: layers are directories\n" in own.ok("info")
    [binary] = own.data.glob("layers/*/fs/bin/busybox")
    data = bytearray(binary.read_bytes())
    data[1000] ^= 1
    binary.write_bytes(data)
    done = own.kist("system", "check", "-q")
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert done.stdout.endswith(": /bin/busybox: other bytes\n")
    done = own.kist("system", "check", "--repair")
    assert done.returncode == 0
    assert "(mended)" in done.stdout
    assert own.ok("system", "check", "-q") == ""
    assert own.ok("run", "--rm", "busybox", "echo", "whole") == "whole"


def test_a_damaged_content_takes_its_image_along(own: Daemon) -> None:
    manifest = own.ok("inspect", "-f", "{{.Id}}", "busybox").removeprefix("sha256:")
    contents = own.data / "content" / "sha256"
    blob = max(contents.iterdir(), key=lambda path: path.stat().st_size)
    assert blob.name != manifest
    with blob.open("r+b") as file:
        file.seek(100)
        file.write(b"damage")
    assert own.kist("system", "check").returncode == 1
    own.kist("system", "check", "--repair")
    assert own.ok("images", "-q") == ""
    own.ok("pull", "-q", "busybox")
    assert own.ok("system", "check", "-q") == ""


def test_a_damaged_configuration_is_no_end_of_the_list(own: Daemon) -> None:
    """Who looks at all images sees the others, and can remove the damaged one."""
    make(own, "whole", b"x")
    image = own.ok("inspect", "-f", "{{.Id}}", "busybox").removeprefix("sha256:")
    (own.data / "content/sha256" / image).unlink()
    own.restart()  # it has forgotten what it had read before
    assert names(own) == ["busybox:latest", "whole:1"]
    assert own.kist("run", "--rm", "--pull", "never", "busybox", "true").returncode == 125
    assert f"content sha256:{image} is missing" in own.kist("system", "check").stdout
    assert own.kist("system", "check", "--repair").returncode == 0
    assert names(own) == ["whole:1"]
    assert own.ok("system", "check", "-q") == ""


def test_what_a_container_stands_on_is_noted_again(own: Daemon) -> None:
    """Else its layers would be collected."""
    box = own.ok("create", "--name", "box", "busybox", "echo", "whole")
    (own.data / "snapshots" / box / "chain").unlink()
    assert "container box: what its file system stands on is not known" in own.kist("system", "check").stdout
    assert own.kist("system", "check", "--repair").returncode == 0
    assert own.ok("system", "check", "-q") == ""
    own.ok("rmi", "-f", "busybox")
    own.restart()
    assert own.ok("start", "-a", "box") == "whole"


@pytest.mark.parametrize(("lost", "words"), [("", "file system is gone"), ("fs", "file system's fs is gone")])
def test_a_container_whose_files_are_lost_is_told_of(own: Daemon, lost: str, words: str) -> None:
    box = own.ok("create", "--name", "box", "busybox", "true")
    shutil.rmtree(own.data / "snapshots" / box / lost)
    done = own.kist("system", "check", "-q", "--repair")
    assert done.returncode == 1
    assert done.stdout.startswith("container box: ") and done.stdout.endswith(f"{words}\n")
    refused = own.kist("start", "box")
    assert refused.returncode == 1
    assert "Traceback" not in own.log.read_text(), refused.stderr
    own.ok("rm", "box")
    assert own.ok("system", "check", "-q") == ""
    assert own.ok("run", "--rm", "busybox", "echo", "whole") == "whole"


def test_garbage_goes_after_a_start(own: Daemon) -> None:
    own.kill()
    garbage = own.data / "content" / "sha256" / hashlib.sha256(b"garbage").hexdigest()
    garbage.write_bytes(b"garbage")
    young = own.data / "content" / "sha256" / hashlib.sha256(b"young").hexdigest()
    young.write_bytes(b"young")
    half = own.data / "content" / "partial" / "sha256-00"
    half.write_bytes(b"half")
    for path in (garbage, half):
        os.utime(path, (1, 1))
    own.start()
    until(lambda: not garbage.exists() and not half.exists())
    assert young.exists()  # a pull may go on with it
    assert own.ok("run", "--rm", "busybox", "echo", "here") == "here"


def test_the_cache_stays_within_its_budget(make_daemon: Callable[..., Daemon]) -> None:
    own = make_daemon(settings='[storage]\nmax = "20m"')
    size = 4 << 20
    for number in range(3):
        make(own, f"lru{number}", os.urandom(size))     # 8 MiB each: the blob and the layer
    until(lambda: len(names(own)) == 2)
    assert names(own) == ["lru1:1", "lru2:1"]
    own.kist("create", "lru1:1", "/x")
    make(own, "lru3", os.urandom(size))
    until(lambda: "lru2:1" not in names(own))
    assert names(own) == ["lru1:1", "lru3:1"]  # a container stands on lru1


def names(daemon: Daemon) -> list[str]:
    return sorted(daemon.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split())
