"""Where packages come from: the mirror that this machine's apt is set up for, or a lock file (lock.py).

What apt gives is checked by apt's own signatures.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path

from kist.errors import Unavailable
from kist.hub.library.programs import need, run

_LISTS = Path("/var/lib/apt/lists")


class Archive(ABC):
    """A set of packages, one version of each. ``epoch`` (seconds) is the date of what is built from it.

    ``is_local``: `sources` names files, and none is to be kept for the next build.
    """

    is_local = False

    @property
    @abstractmethod
    def suite(self) -> str:
        """The Debian release, by code name."""

    @property
    @abstractmethod
    def epoch(self) -> int: ...

    @abstractmethod
    def state(self) -> str:
        """As long as it is the same, so is what a build gives."""

    @abstractmethod
    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """The version of each. Raises Unavailable."""

    @abstractmethod
    def fetch(self, packages: Sequence[str], into: Path) -> dict[str, Path]:
        """Package files, downloaded into the folder unless they are there."""

    @abstractmethod
    def sources(self, image: str, kept: Path, work: Path) -> list[str]:
        """Lines of a sources.list for the image's packages; ``kept`` has package files, ``work`` is to be made."""


class AptArchive(Archive):
    """What this machine's apt knows. It reads its lists anew each time, so all is asked for at once and kept."""

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}

    @cached_property
    def suite(self) -> str:
        fields = (line.partition("=") for line in Path("/etc/os-release").read_text().splitlines())
        values = {key: value.strip('"') for key, _, value in fields}
        if values.get("ID") != "debian" or not values.get("VERSION_CODENAME"):
            raise Unavailable("library images are built on a Debian machine; this one is not")
        return values["VERSION_CODENAME"]

    @cached_property
    def epoch(self) -> int:
        """The date of the suite's signed release file."""
        name = f"_dists_{self.suite}_"
        for path in sorted(_LISTS.glob("*Release")):
            if name + "InRelease" in path.name or path.name.endswith(name + "Release"):
                for line in path.read_text(errors="replace").splitlines():
                    if line.startswith("Date:"):
                        return int(parsedate_to_datetime(line[5:].strip()).timestamp())
        raise Unavailable("apt has no Debian package lists yet: apt-get update")

    def state(self) -> str:
        """A digest of all signed release files."""
        running = hashlib.sha256()
        for path in sorted(_LISTS.glob("*Release")):
            running.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        return running.hexdigest()

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """The newest ones in Debian's own archive, whatever else apt knows."""
        wanted = tuple(packages)
        unknown = [one for one in wanted if one not in self._versions]
        if unknown:
            sites = {site.rstrip("/") for site, _, _ in self._targets}
            for line in run(need("apt-cache", "apt"), "madison", *unknown).splitlines():
                columns = [column.strip() for column in line.split("|")]
                if len(columns) == 3 and columns[2].split(" ")[0].rstrip("/") in sites:
                    self._versions.setdefault(columns[0], columns[1])
        for one in wanted:
            if one not in self._versions:
                raise Unavailable(f"Debian has no package {one}, as far as apt knows: apt-get update")
        return {one: self._versions[one] for one in wanted}

    def fetch(self, packages: Sequence[str], into: Path) -> dict[str, Path]:
        """apt compares the digests of what is there already."""
        return download(self.versions(packages), into)

    def sources(self, image: str, kept: Path, work: Path) -> list[str]:
        return [f"deb {site} {release} {component}" for site, release, component in self._targets]

    @cached_property
    def _targets(self) -> list[tuple[str, str, str]]:
        """(site, release, component) of every Debian source that apt knows."""
        form = "$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)"
        lines = run(need("apt-get", "apt"), "indextargets", "--format", form, "Created-By: Packages").splitlines()
        rows = [line.split("|") for line in lines]
        found = sorted({(r[1], r[2], r[3]) for r in rows if len(r) == 4 and r[0] == "Debian" and r[3] == "main"})
        if not found:
            raise Unavailable("apt has no Debian package lists yet: apt-get update")
        return found


def download(versions: Mapping[str, str], into: Path) -> dict[str, Path]:
    """Package files by name and version, from the mirror that apt is set up for. Raises EngineFailure."""
    into.mkdir(parents=True, exist_ok=True)
    # apt drops to the user _apt for downloads and says so on stderr when it can't write here: harmless.
    run(need("apt-get", "apt"), "download", "-qq", *(f"{one}={which}" for one, which in versions.items()), cwd=into)
    return {one: next(into.glob(f"{one}_{which.replace(':', '%3a')}_*.deb")) for one, which in versions.items()}
