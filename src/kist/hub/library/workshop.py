"""Where images are built: from a recipe to layers, bill of materials and run configuration.

An image is up to three layers over those of its base: what apt installs (or a bootstrapped Debian), and the
recipe's own files. Roots that several recipes stand on are made once.
"""

from __future__ import annotations

import platform
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Any

from kist.hub.library import debian, elf, lock, sbom
from kist.hub.library.archive import AptArchive, Archive
from kist.hub.library.layer import LayerTar, settle_tar
from kist.hub.library.layout import write_image
from kist.hub.library.recipe import Named, Recipe, fill, lineage, load_all, tags, upstream_version

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
#: Debian's and OCI's word for this machine.
ARCHITECTURE = _ARCHITECTURES.get(platform.machine(), platform.machine())
_STATUS = "var/lib/dpkg/status"

Layer = tuple[Path, str]  # a settled tar, and the words that `history` shows


@dataclass
class Built:
    """An image before it is written. ``root`` is the tar of all of it, for what is installed over it."""

    layers: list[Layer]
    materials: list[sbom.Package]
    root: Path | None = None
    accounts: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Workshop:
    """One run of the builder, with packages from ``archive``. ``archives`` keeps package files."""

    scratch: Path
    archives: Path = Path()
    archive: Archive = field(default_factory=AptArchive)
    recipes: Mapping[str, Named] = field(default_factory=load_all)
    _made: dict[str, Built] = field(default_factory=dict)
    _making: dict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))

    def __post_init__(self) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)
        if self.archives == Path():
            self.archives = self.scratch / "archives"

    @property
    def epoch(self) -> int:
        """Every image's date (seconds)."""
        return self.archive.epoch

    def key(self, name: str) -> str:
        """Everything that an image's digest depends on, but for what its packages pull in."""
        rows = [self.recipes[one] for one in lineage(self.recipes, name)]
        versions = self.archive.versions(sorted({package for row in rows for package in row.recipe.named}))
        return " ".join([name, *(row.content()[:16] for row in rows), str(self.epoch),
                         *(f"{package}={version}" for package, version in versions.items())])

    def build(self, name: str, folder: Path) -> tuple[str, list[str]]:
        """Writes an image as an OCI layout into ``folder``; its digest, and its tags (the main one first)."""
        recipe, words, made = self.recipes[name].recipe, self._words(name), self.make(name)
        names = tags(recipe, words["version"], words["suite"])
        notes = {"title": name, "description": recipe.summary, "version": words["version"]}
        digest = write_image(
            folder, names[0], made.layers, fill(recipe.config, **words), architecture=ARCHITECTURE,
            epoch=self.epoch, bill=lambda image: sbom.document(name, image, made.materials, self.epoch),
            annotations={"io.kist.recipe": self.key(name),
                         **{f"org.opencontainers.image.{key}": text for key, text in notes.items() if text}})
        return digest, names

    def make(self, name: str) -> Built:
        """The image's layers, its base's below them. Thread-safe: what several stand on is made once."""
        with self._making[name]:
            if name not in self._made:
                named = self.recipes[name]
                below = self.make(named.recipe.base) if named.recipe.base else Built([], [])
                self._made[name] = self._over(below, named)
            return self._made[name]

    def _over(self, below: Built, named: Named) -> Built:
        recipe, made = named.recipe, Built(list(below.layers), list(below.materials), below.root, below.accounts)
        if recipe.bootstrap or recipe.packages:
            self._install(made, named)
        if recipe.put or recipe.directory or recipe.link or recipe.extract or recipe.printer or recipe.applets:
            out = self.path(named.name, "files.tar")
            with LayerTar(out, self.epoch) as layer:
                made.materials += self._fill(layer, named, made.accounts)
            made.layers.append((out, f"COPY {named.name} /"))
        return made

    def path(self, name: str, kind: str) -> Path:
        return self.scratch / f"{name.replace('/', '-')}.{kind}"

    def _install(self, made: Built, named: Named) -> None:
        recipe, raw, out = named.recipe, self.path(named.name, "raw.tar"), self.path(named.name, "packages.tar")
        if recipe.bootstrap:
            debian.bootstrap(raw, self._supply(named.name))
            settle_tar(raw, out, self.epoch, debian.DROP)
            made.layers.append((out, "mmdebstrap --variant=minbase"))
            made.root = out
        else:
            assert made.root is not None, f"{named.name} installs packages over a base that is no Debian"
            debian.install(raw, self._supply(named.name), made.root, recipe.packages, users=recipe.user,
                           before=recipe.before)
            settle_tar(raw, out, self.epoch, debian.DROP, base=made.root, without=recipe.without)
            made.layers.append((out, f"apt-get install {' '.join(recipe.packages)}"))
            made.root = raw
        made.materials = sbom.installed(_member(raw, _STATUS))
        made.accounts = _accounts(_member(raw, "etc/passwd"))

    def _supply(self, name: str) -> debian.Supply:
        sources = self.archive.sources(name, self.archives, self.path(name, "archive"))
        return debian.Supply(self.archive.suite, self.epoch, sources, None if self.archive.is_local else self.archives)

    def locked(self) -> lock.Lock:
        """The packages of all that was made, to make it again."""
        built = {name: made.materials for name, made in self._made.items()}
        return lock.record(self.archive, ARCHITECTURE, self.archives, built,
                           {name: self.recipes[name].recipe.base for name in built})

    # --- the recipe's own files ---

    def _words(self, name: str) -> dict[str, str]:
        """What stands for {version} and so on."""
        package = self.recipes[name].recipe.versions
        version = upstream_version(self.archive.versions((package,))[package]) if package else ""
        return {"version": version, "major": version.partition(".")[0], "suite": self.archive.suite}

    def _fill(self, layer: LayerTar, named: Named, accounts: Mapping[str, tuple[int, int]]) -> list[sbom.Package]:
        recipe, owner = named.recipe, {"root": (0, 0), **accounts}
        words = self._words(named.name)
        entries: dict[str, Any] = {}  # path → what adds it, so that all are written in order of their names
        materials = list(self._extracted(recipe, entries))
        for folder in recipe.directory:
            entries[folder.path] = (layer.directory, (folder.mode,), owner[folder.owner])
        for link in recipe.link:
            entries[link.path] = (layer.symlink, (link.to,), None)
        for put in recipe.put:
            data = (named.folder / put.source).read_bytes() if put.source else fill(put.text, **words).encode()
            entries[put.path] = (layer.file, (data, put.mode), owner[put.owner])
        if recipe.printer:
            program = elf.printer(recipe.printer.text, ARCHITECTURE)
            entries[recipe.printer.path] = (layer.file, (program, 0o755), (0, 0))
            materials.append(sbom.Package(named.name, "1", "Apache-2.0"))
        for path in sorted(entries):
            add, values, ids = entries[path]
            add = getattr(layer, add) if isinstance(add, str) else add
            more = {} if ids is None else {"uid": ids[0], "gid": ids[1]}
            add(path.lstrip("/"), *values, **more)
        return materials

    def _extracted(self, recipe: Recipe, entries: dict[str, Any]) -> Iterator[sbom.Package]:
        roots = self._unpacked(recipe)
        yield from (material for _, material in roots.values())
        for one in recipe.extract:
            root = roots[one.package][0]
            for path in _matching(root, one.files):
                where = one.to or f"/{path.relative_to(root)}"
                if path.is_symlink():
                    entries[where] = ("symlink", (str(path.readlink()),), None)
                else:
                    entries[where] = ("file", (path.read_bytes(), path.stat().st_mode & 0o7777), (0, 0))
        if recipe.applets:
            (program,) = _matching(roots[recipe.applets.package][0], ["bin/busybox", "usr/bin/busybox"])
            for applet in _applets(program):
                entries.setdefault(applet, ("symlink", (recipe.applets.program,), None))
        if recipe.certificates:
            found = _matching(roots[recipe.certificates.package][0], ["usr/share/ca-certificates/*.crt"])
            entries[recipe.certificates.path] = ("file", (b"".join(one.read_bytes() for one in found), 0o644), (0, 0))

    def _unpacked(self, recipe: Recipe) -> dict[str, tuple[Path, sbom.Package]]:
        """The packages whose files the recipe takes, each in a folder."""
        names = {one.package for one in recipe.extract}
        names |= {one.package for one in (recipe.applets, recipe.certificates) if one}
        found = {}
        with self._making["what packages bring"]:
            for package, deb in (self.archive.fetch(sorted(names), self.archives) if names else {}).items():
                root = self.path(package, "root")
                if not root.exists():
                    debian.unpack(deb, root)
                (material,) = sbom.installed(debian.control(deb).encode(), whole=False)
                found[package] = (root, material)
        return found


def _matching(root: Path, patterns: list[str]) -> list[Path]:
    """Files and links below a folder, in order of their names; a pattern's `*` matches slashes, too."""
    paths = sorted(path for path in root.rglob("*") if path.is_symlink() or path.is_file())
    return [path for path in paths if any(fnmatchcase(str(path.relative_to(root)), pattern) for pattern in patterns)]


def _applets(busybox: Path) -> list[str]:
    listed = subprocess.run([str(busybox), "--list-full"], capture_output=True, text=True, check=True)
    return [f"/{line.lstrip('/')}" for line in sorted(listed.stdout.splitlines())
            if line and not line.endswith("busybox")]


def _member(tar: Path, name: str) -> bytes:
    with tarfile.open(tar) as source:
        for spelled in (name, f"./{name}"):
            try:
                file = source.extractfile(spelled)
            except KeyError:
                continue
            assert file is not None
            return file.read()
    raise FileNotFoundError(f"{tar}: {name}")


def _accounts(passwd: bytes) -> dict[str, tuple[int, int]]:
    rows = (line.split(":") for line in passwd.decode().splitlines())
    return {row[0]: (int(row[2]), int(row[3])) for row in rows}
