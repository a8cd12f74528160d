"""The recipes: a table of images and the functions that build them.

A recipe's *key* names everything that its digest depends on (package versions, release date, the
recipe's own revision): an image whose key is already in the Hub is not built again.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kist.hub.library import debian, elf
from kist.hub.library.layer import LayerTar, settle_tar
from kist.hub.library.layout import write_image

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_HELLO = """
Hello from Kist!
This message shows that your installation works.

To print it, Kist took these steps:
 1. The kist client asked the kist server for a container.
 2. The server looked for the image "hello-world" in its local cache,
    and got it from the Hub, as it was not there yet.
 3. The server made a new container from the image: a file system of its own,
    and namespaces and control groups around it.
 4. It ran the program that wrote these lines, and sent them to your terminal.

To try something more ambitious, run a shell in Debian:
 $ kist run -it debian bash

"""


@dataclass
class Workshop:
    """Where one run of the builder works; roots that several recipes need are made once."""

    scratch: Path
    epoch: int
    made: dict[str, Path] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        return _ARCHITECTURES.get(platform.machine(), platform.machine())

    def path(self, name: str) -> Path:
        self.scratch.mkdir(parents=True, exist_ok=True)
        return self.scratch / name

    def debian_root(self) -> Path:
        """The settled tar of a minimal Debian, the base layer of every recipe that stands on Debian."""
        if "debian" not in self.made:
            raw, out = self.path("debian.raw.tar"), self.path("debian.tar")
            debian.bootstrap(raw, self.epoch)
            settle_tar(raw, out, self.epoch, debian.DROP)
            self.made["debian"] = out
        return self.made["debian"]

    def on_debian(self, name: str, packages: tuple[str, ...]) -> Path:
        """The settled tar of the layer that adds packages to the Debian root."""
        raw, out = self.path(f"{name}.raw.tar"), self.path(f"{name}.tar")
        debian.bootstrap(raw, self.epoch, packages)
        settle_tar(raw, out, self.epoch, debian.DROP, base=self.debian_root())
        return out


Built = tuple[list[tuple[Path, str]], dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    name: str
    tag: str
    summary: str
    packages: tuple[str, ...]
    build: Callable[[Workshop], Built]
    revision: int = 1

    def key(self, epoch: int) -> str:
        versions = " ".join(f"{p}={debian.version(p)}" for p in self.packages)
        return f"{self.name} r{self.revision} {epoch} {versions}".strip()


def _hello_world(shop: Workshop) -> Built:
    tar = shop.path("hello-world.tar")
    with LayerTar(tar, shop.epoch) as layer:
        layer.file("hello", elf.printer(_HELLO, shop.architecture), 0o755)
    return [(tar, "COPY hello /")], {"Cmd": ["/hello"], "Env": [_PATH], "WorkingDir": "/"}


def _applets(busybox: Path) -> list[str]:
    listed = subprocess.run([str(busybox), "--list-full"], capture_output=True, text=True, check=True)
    return sorted(line for line in listed.stdout.splitlines() if line and not line.endswith("busybox"))


def _busybox(shop: Workshop) -> Built:
    root = debian.unpack("busybox-static", shop.path("busybox"))
    program = next(p for p in (root / "bin/busybox", root / "usr/bin/busybox") if p.is_file())
    tar = shop.path("busybox.tar")
    with LayerTar(tar, shop.epoch) as layer:
        for name in ("bin", "etc", "home", "root", "sbin", "tmp", "usr", "usr/bin", "usr/sbin", "var", "var/www"):
            layer.directory(name, {"root": 0o700, "tmp": 0o1777}.get(name, 0o755))
        layer.file("bin/busybox", program.read_bytes(), 0o755)
        for applet in _applets(program):
            layer.symlink(applet.lstrip("/"), "/bin/busybox")
        layer.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
                   b"www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
        layer.file("etc/group", b"root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n")
        layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
    return [(tar, "ADD busybox-static / # applets linked to /bin/busybox")], {"Cmd": ["sh"], "Env": [_PATH]}


def _debian(shop: Workshop) -> Built:
    return [(shop.debian_root(), "mmdebstrap --variant=minbase")], {"Cmd": ["bash"], "Env": [_PATH]}


def _redis(shop: Workshop) -> Built:
    packages, data = shop.on_debian("redis", ("redis-server",)), shop.path("redis-data.tar")
    with LayerTar(data, shop.epoch) as layer:
        uid, gid = debian.account(packages, "redis")
        layer.directory("data", 0o750, uid=uid, gid=gid)
    config = {
        "User": "redis", "Env": [_PATH],
        "Cmd": ["redis-server", "--protected-mode", "no", "--dir", "/data", "--bind", "*", "-::*"],
        "ExposedPorts": {"6379/tcp": {}}, "Volumes": {"/data": {}}, "WorkingDir": "/",
    }
    return [(shop.debian_root(), "mmdebstrap --variant=minbase"),
            (packages, "apt-get install redis-server"), (data, "install -d -o redis -g redis /data")], config


RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        Recipe("hello-world", "latest", "Says hello: the smallest proof that everything works", (), _hello_world),
        Recipe("busybox", "latest", "The Swiss army knife of embedded Linux", ("busybox-static",), _busybox),
        Recipe("debian", "latest", "A minimal Debian with apt", ("base-files", "apt", "libc6"), _debian),
        Recipe("redis", "latest", "The in-memory data store, on Debian", ("base-files", "libc6", "redis-server"),
               _redis),
    )
}


def build(recipe: Recipe, shop: Workshop, folder: Path) -> str:
    """Builds one image as an OCI layout in ``folder``; returns the manifest's digest."""
    layers, config = recipe.build(shop)
    notes = {"org.opencontainers.image.title": recipe.name, "org.opencontainers.image.description": recipe.summary,
             "io.kist.recipe": recipe.key(shop.epoch)}
    return write_image(folder, recipe.tag, layers, config, architecture=shop.architecture, epoch=shop.epoch,
                       annotations=notes)
