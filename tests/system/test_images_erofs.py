"""The store with layers as EROFS files: everything works as with directories, and nothing stays mounted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support import needs
from support.daemon import Daemon

SETTINGS = '[storage]\ndriver = "erofs"\n'


@pytest.fixture
def own(make_daemon: Callable[..., Daemon]) -> Daemon:
    needs.storage_driver("erofs")
    daemon = make_daemon(settings=SETTINGS)
    daemon.ok("pull", "-q", "busybox")
    return daemon


def test_the_life_of_an_image(own: Daemon) -> None:
    [layer] = own.data.glob("layers/*")
    assert sorted(os.listdir(layer)) == ["fs", "layer.erofs"]
    assert os.listdir(layer / "fs") == []
    # Whether it is in force is the file system's: test_linux_verity.py has one that can.
    assert re.search(r" fs-verity: (in force for 1 of 1 EROFS layers|not in force: .*)\n", own.ok("info"))
    box = own.ok("run", "-d", "busybox", "sh", "-c", "rm /bin/vi; echo new > /new; sleep 1000")
    assert own.ok("exec", box, "sh", "-c", "while [ ! -s /new ]; do :; done; cat /new") == "new"
    assert set(own.ok("diff", box).split("\n")) >= {"A /new", "D /bin/vi"}
    own.ok("commit", box, "made:1")
    stopped = own.ok("create", "made:1", "cat", "/etc/put", "/new")
    (own.folder / "put").write_text("put in\n")
    own.ok("cp", str(own.folder / "put"), f"{stopped}:/etc/put")
    assert own.ok("start", "-a", stopped).split("\n") == ["put in", "new"]
    assert own.ok("run", "--rm", "made:1", "cat", "/new") == "new"
    assert own.kist("run", "--rm", "made:1", "vi").returncode == 127
    assert "erofs" not in Path("/proc/mounts").read_text()
    own.restart()
    assert own.ok("exec", box, "cat", "/new") == "new"
    own.ok("rm", "-f", box, stopped)
    own.ok("rmi", "made:1")


def test_damage_is_found_and_mended(own: Daemon) -> None:
    [image] = own.data.glob("layers/*/layer.erofs")
    data = bytearray(image.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 4096):
        data[at] ^= 0x55
    image.write_bytes(data)
    assert own.kist("system", "check").returncode == 1
    assert own.kist("system", "check", "--repair").returncode == 0
    assert own.ok("system", "check", "-q") == ""
    assert own.ok("run", "--rm", "busybox", "echo", "whole") == "whole"
    image.unlink()
    assert own.kist("system", "check", "--repair").returncode == 0
    assert own.ok("run", "--rm", "busybox", "echo", "whole") == "whole"


def test_layers_of_the_other_kind_stay_usable(own: Daemon) -> None:
    own.kill()
    own.config.write_text(own.config.read_text().replace("erofs", "overlay"))
    own.start()
    box = own.ok("create", "busybox", "sh", "-c", "echo two > /two")
    own.ok("start", "-a", box)
    own.ok("commit", box, "mixed:1")
    assert own.ok("run", "--rm", "mixed:1", "cat", "/two") == "two"
    assert own.ok("system", "check", "-q") == ""
