"""Lock files: the very packages that images were built from, to build the same bytes on any later day.

    suite = "bookworm"
    epoch = 1767225600                        # seconds; the date of all that is built
    architecture = "amd64"
    [tools]                                   # what else the bytes depend on
    mmdebstrap = "1.3.5-7"
    [packages]                                # name = [version, priority in the archive, SHA-256 of the file]
    adduser = ["3.134", "important", "9e7f…"]
    [images]                                  # by recipe: what it has that its base has not
    redis = ["redis-server", "redis-tools"]

A build from a lock asks no archive what there is: apt sees a folder with the locked packages of the image and of its
bases, and nothing else. The files come from `--archives`, or from the mirror as long as it has them
(snapshot.debian.org has them for ever), and each is compared with its digest.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote

import msgspec

from kist.errors import EngineFailure, InvalidParameter, Unavailable
from kist.hub.library.archive import Archive, download
from kist.hub.library.programs import need, run
from kist.hub.library.recipe import Named, lineage
from kist.hub.library.sbom import Package

#: The programs, by Debian package, that write what ends up in a layer.
_TOOLS = ("apt", "dpkg", "mmdebstrap")


class Pin(msgspec.Struct, frozen=True, array_like=True):
    """One package's version, its priority in the archive, and the SHA-256 of its file (hexadecimal)."""

    version: str
    priority: str
    sha256: str


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    suite: str
    epoch: int
    architecture: str
    tools: dict[str, str]
    packages: dict[str, Pin]
    images: dict[str, list[str]]

    def of(self, recipes: Mapping[str, Named], image: str) -> list[str]:
        """The names of the packages of an image and its bases. Raises InvalidParameter."""
        names = set()
        for one in lineage(recipes, image):
            if one not in self.images:
                raise InvalidParameter(f"the lock file has no {one}: remove it, and build all that it shall hold")
            names.update(self.images[one])
        return sorted(names)


def read(path: Path) -> Lock:
    """Raises InvalidParameter."""
    try:
        lock = msgspec.convert(tomllib.loads(path.read_text()), Lock)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidParameter(f"{path}: {error}") from None
    for name in (*lock.packages, *(one for names in lock.images.values() for one in names)):
        if name not in lock.packages or not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
            raise InvalidParameter(f"{path}: {name} is no package of it")
    return lock


def write(path: Path, lock: Lock) -> None:
    """The same lock is the same bytes."""
    plain = msgspec.to_builtins(lock)
    lines = ["# Which packages the images were built from; `kist hub library build --lock` builds the same again."]
    lines += [f"{key} = {json.dumps(plain[key])}" for key in ("suite", "epoch", "architecture")]
    for table in ("tools", "packages", "images"):
        lines += ["", f"[{table}]", *(f"{json.dumps(key)} = {json.dumps(plain[table][key])}"
                                      for key in sorted(plain[table]))]
    partial = path.with_name(path.name + ".part")
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(path)


def tools() -> dict[str, str]:
    """What this machine builds with."""
    query = need("dpkg-query", "dpkg")
    rows = run(query, "--show", "--showformat", "${Package} ${Version}\n", *_TOOLS).splitlines()
    return {**dict(row.split(" ", 1) for row in rows), "zlib": zlib.ZLIB_RUNTIME_VERSION}


def record(
    archive: Archive, architecture: str, kept: Path, built: Mapping[str, Sequence[Package]],
    bases: Mapping[str, str],
) -> Lock:
    """The lock of what was built: recipe → the image's packages, whose files are in ``kept``; recipe → its base."""
    packages: dict[str, Pin] = {}
    priorities = _priorities({(one.name, one.version) for found in built.values() for one in found if one.architecture})
    for found in built.values():
        for one in found:
            if one.architecture:  # else no Debian package
                pin = _pin(kept, one, priorities)
                if packages.setdefault(one.name, pin) != pin:
                    raise EngineFailure(f"the archive has changed during the build ({one.name}): build again")
    names = {image: {one.name for one in found if one.architecture} for image, found in built.items()}
    return Lock(archive.suite, archive.epoch, architecture, tools(), packages, {
        image: sorted(found - names.get(bases[image], set())) for image, found in names.items()})


def _pin(kept: Path, one: Package, priorities: Mapping[str, str]) -> Pin:
    path = _file(kept, one.name, one.version)
    if path is None:
        raise EngineFailure(f"the file of {one.name} {one.version} is gone from {kept}")
    return Pin(one.version, priorities.get(one.name) or _field(path, "Priority"), _sha256(path))


def _priorities(wanted: set[tuple[str, str]]) -> dict[str, str]:
    """As the archive has them, which is not always as the packages have them: a bootstrap goes by these."""
    shown = run(need("apt-cache", "apt"), "show", "--no-all-versions", *sorted(f"{n}={v}" for n, v in wanted))
    found = {}
    for paragraph in shown.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Priority): (.*)$", paragraph, re.MULTILINE))
        if (fields.get("Package"), fields.get("Version")) in wanted:
            found[fields["Package"]] = fields.get("Priority", "optional")
    return found


class LockedArchive(Archive):
    """The packages of a lock, whatever the mirror has by now."""

    is_local = True

    def __init__(self, lock: Lock, recipes: Mapping[str, Named], kept: Path) -> None:
        self._lock = lock
        self._recipes = recipes
        self._kept = kept

    @property
    def suite(self) -> str:
        return self._lock.suite

    @property
    def epoch(self) -> int:
        return self._lock.epoch

    def state(self) -> str:
        return "lock:" + hashlib.sha256(msgspec.json.encode(self._lock, order="sorted")).hexdigest()

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        return {one: self._pinned(one).version for one in packages}

    def fetch(self, packages: Sequence[str], into: Path) -> dict[str, Path]:
        wanted = {one: self._pinned(one) for one in packages}
        absent = {one: pin.version for one, pin in wanted.items() if _file(into, one, pin.version) is None}
        for one, version in absent.items():
            try:
                download({one: version}, into)
            except EngineFailure:
                raise Unavailable(f"{one} {version} is neither in {into} nor on the mirror that apt is set up for; "
                                  "snapshot.debian.org has every version") from None
        return {one: _checked(into, one, pin) for one, pin in wanted.items()}

    def sources(self, image: str, kept: Path, work: Path) -> list[str]:
        """A folder with the packages of the image, in the form of an archive (sources.list(5), "flat")."""
        names = self._lock.of(self._recipes, image)
        work.mkdir(exist_ok=True)
        paragraphs = []
        for name, path in self.fetch(names, kept).items():
            target = work / f"{name}.deb"
            if not target.exists():
                _place(path, target)
            paragraphs.append(_paragraph(path, target.name, self._lock.packages[name]))
        index = "\n".join(paragraphs).encode()
        (work / "Packages").write_bytes(index)
        (work / "Release").write_text(_release(self._lock, index))
        return [f"deb [trusted=yes] copy://{quote(str(work))} ./"]  # trusted: each file was compared with its digest

    def _pinned(self, name: str) -> Pin:
        try:
            return self._lock.packages[name]
        except KeyError:
            raise InvalidParameter(f"the lock file has no package {name}: remove it, and build again") from None


def _release(lock: Lock, index: bytes) -> str:
    """mmdebstrap takes essential packages from an archive with the suite's name only."""
    when = format_datetime(datetime.fromtimestamp(lock.epoch, UTC), usegmt=True).replace("GMT", "UTC")
    digest = hashlib.sha256(index).hexdigest()
    return (f"Origin: Debian\nSuite: {lock.suite}\nCodename: {lock.suite}\nDate: {when}\n"
            f"Architectures: {lock.architecture}\nSHA256:\n {digest} {len(index)} Packages\n")


def _paragraph(path: Path, name: str, pin: Pin) -> str:
    """The package's entry in the archive's index, with the archive's priority."""
    own = run(need("dpkg-deb", "dpkg"), "--field", str(path)).rstrip("\n")
    own = re.sub(r"^(Priority|Filename|Size|SHA256|MD5sum):.*\n?", "", own, flags=re.MULTILINE).rstrip("\n")
    return f"{own}\nPriority: {pin.priority}\nFilename: ./{name}\nSize: {path.stat().st_size}\nSHA256: {pin.sha256}\n"


def _checked(folder: Path, name: str, pin: Pin) -> Path:
    path = _file(folder, name, pin.version)
    assert path is not None
    if _sha256(path) != pin.sha256:
        raise InvalidParameter(f"{path} is not the file of the lock: its SHA-256 differs")
    return path


def _file(folder: Path, name: str, version: str) -> Path | None:
    return next(folder.glob(f"{name}_{version.replace(':', '%3a')}_*.deb"), None)


def _field(deb: Path, field: str) -> str:
    return run(need("dpkg-deb", "dpkg"), "--field", str(deb), field).strip()


def _place(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path)
    except OSError:  # another file system
        target.write_bytes(path.read_bytes())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
