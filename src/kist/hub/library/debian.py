"""Debian packages as the library's raw material.

Everything comes from the package mirror that this machine's apt is set up for, checked by apt's own
signatures: nothing of a package is executed on the host (`mmdebstrap` runs the maintainer scripts
inside the root that it builds).
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from email.utils import parsedate_to_datetime
from pathlib import Path

from kist.errors import EngineFailure, Unavailable

# What differs from build to build, or serves nobody in an image. A trailing "/" keeps the directory.
DROP = (
    "dev/", "proc/", "sys/", "run/", "tmp/", "var/log/", "var/cache/apt/", "var/cache/ldconfig/aux-cache",
    "var/cache/debconf/templates.dat-old", "var/cache/debconf/config.dat-old", "var/lib/apt/lists/",
    "var/lib/dpkg/status-old", "var/lib/dpkg/diversions-old", "var/lib/dpkg/statoverride-old", "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend", "var/lib/dpkg/triggers/Lock", "etc/machine-id", "etc/resolv.conf",
    "etc/hostname", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-",
    "etc/.pwd.lock", "var/lib/systemd/",
)
_UNUSED = ("usr/share/doc/*", "usr/share/man/*", "usr/share/info/*", "usr/share/locale/*", "usr/share/lintian/*")
_PUBLIC = "http://deb.debian.org/debian"


def _need(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"building library images needs `{program}`: apt-get install {package}")
    return path


def _run(*args: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(args, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-8:]
        raise EngineFailure(f"{Path(args[0]).name} failed with status {done.returncode}: " + "\n".join(last))
    return done.stdout


def suite() -> str:
    """The Debian release that apt is set up for, by code name."""
    fields = (line.partition("=") for line in Path("/etc/os-release").read_text().splitlines())
    values = {key: value.strip('"') for key, _, value in fields}
    if values.get("ID") != "debian" or not values.get("VERSION_CODENAME"):
        raise Unavailable("library images are built on a Debian machine; this one is not")
    return values["VERSION_CODENAME"]


def _targets() -> list[tuple[str, str, str]]:
    """(site, release, component) of every Debian source that apt knows."""
    form = "$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)"
    lines = _run(_need("apt-get", "apt"), "indextargets", "--format", form, "Created-By: Packages").splitlines()
    rows = [line.split("|") for line in lines]
    found = sorted({(r[1], r[2], r[3]) for r in rows if len(r) == 4 and r[0] == "Debian" and r[3] == "main"})
    if not found:
        raise Unavailable("apt has no Debian package lists yet: apt-get update")
    return found


def epoch() -> int:
    """Seconds: the date of the suite's signed release file, the same for all builds from one archive state."""
    name = f"_dists_{suite()}_"
    for path in sorted(Path("/var/lib/apt/lists").glob("*Release")):
        if name + "InRelease" in path.name or path.name.endswith(name + "Release"):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("Date:"):
                    return int(parsedate_to_datetime(line[5:].strip()).timestamp())
    raise Unavailable("apt has no Debian package lists yet: apt-get update")


def unpack(package: str, into: Path) -> Path:
    """Downloads one package and unpacks its files (no scripts run); returns the folder."""
    work = into / "deb"
    work.mkdir(parents=True, exist_ok=True)
    # apt drops to the user _apt for downloads and says so on stderr when it can't write here: harmless.
    _run(_need("apt-get", "apt"), "download", "-qq", package, cwd=work)
    (deb,) = work.glob(f"{package}_*.deb")
    root = into / package
    _run(_need("dpkg-deb", "dpkg"), "--extract", str(deb), str(root))
    return root


def version(package: str) -> str:
    """The candidate version of a package, for the recipe's key."""
    for line in _run(_need("apt-cache", "apt"), "policy", package).splitlines():
        if line.strip().startswith("Candidate:"):
            return line.split(":", 1)[1].strip()
    raise Unavailable(f"apt knows no package {package}: apt-get update")


def account(layer: Path, name: str) -> tuple[int, int]:
    """(uid, gid) that the packages of a layer gave a system user, from the layer's own etc/passwd."""
    with tarfile.open(layer) as tar:
        file = tar.extractfile("etc/passwd")
        assert file is not None
        rows = (line.split(":") for line in file.read().decode().splitlines())
    return next((int(row[2]), int(row[3])) for row in rows if row[0] == name)


def bootstrap(out: Path, when: int, include: tuple[str, ...] = ()) -> None:
    """Writes a minimal Debian root as a tar; `when` clamps every time in it (seconds)."""
    release = suite()
    sources = "\n".join(f"deb {site} {rel} {component}" for site, rel, component in _targets())
    listed = out.with_suffix(".sources.list")
    listed.write_text(sources + "\n")
    public = out.with_suffix(".public.list")
    public.write_text(_public_sources(release))
    args = [_need("mmdebstrap", "mmdebstrap"), "--quiet", "--mode=auto", "--variant=minbase", "--format=tar"]
    args += [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNUSED]
    args += ["--dpkgopt=path-include=usr/share/doc/*/copyright"]
    args += [f"--include={','.join(include)}"] if include else []
    args += [f"--customize-hook=copy-in {public} /etc/apt", '--customize-hook=mv "$1"/etc/apt/'
             f'{public.name} "$1"/etc/apt/sources.list; rm -f "$1"/etc/apt/sources.list.d/0000*; '
             'rm -f "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$1"/etc/apt/apt.conf.d/99mmdebstrap']
    _run(*args, release, str(out), str(listed),
         env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(when), "LC_ALL": "C.UTF-8",
              "TMPDIR": str(out.parent)})


def _public_sources(release: str) -> str:
    """What apt inside the image uses: Debian's own addresses, whatever mirror built it."""
    return (f"deb {_PUBLIC} {release} main\ndeb {_PUBLIC} {release}-updates main\n"
            f"deb {_PUBLIC}-security {release}-security main\n")
