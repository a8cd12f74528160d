"""Debian packages as the library's raw material.

Everything comes from the package mirror that this machine's apt is set up for, checked by apt's own
signatures: nothing of a package is executed on the host (`mmdebstrap` runs the maintainer scripts
inside the root that it builds).
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path

from kist.errors import EngineFailure, Unavailable
from kist.hub.library.recipe import User

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
_LISTS = Path("/var/lib/apt/lists")
_versions: dict[str, str] = {}  # as long as a builder runs, apt's lists don't change under it


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


@cache
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
    for path in sorted(_LISTS.glob("*Release")):
        if name + "InRelease" in path.name or path.name.endswith(name + "Release"):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("Date:"):
                    return int(parsedate_to_datetime(line[5:].strip()).timestamp())
    raise Unavailable("apt has no Debian package lists yet: apt-get update")


def archive_state() -> str:
    """A digest of all signed release files: as long as it is the same, so is what a build gives."""
    running = hashlib.sha256()
    for path in sorted(_LISTS.glob("*Release")):
        running.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return running.hexdigest()


def version(package: str) -> str:
    """The newest version of a package in Debian's own archive, whatever else apt knows."""
    return versions((package,))[package]


def versions(packages: Iterable[str]) -> dict[str, str]:
    """`version` of several packages. apt reads its lists anew each time, so ask for all that you need at once."""
    wanted = tuple(packages)
    unknown = [one for one in wanted if one not in _versions]
    if unknown:
        sites = {site.rstrip("/") for site, _, _ in _targets()}
        for line in _run(_need("apt-cache", "apt"), "madison", *unknown).splitlines():
            columns = [column.strip() for column in line.split("|")]
            if len(columns) == 3 and columns[2].split(" ")[0].rstrip("/") in sites:
                _versions.setdefault(columns[0], columns[1])
    for one in wanted:
        if one not in _versions:
            raise Unavailable(f"Debian has no package {one}, as far as apt knows: apt-get update")
    return {one: _versions[one] for one in wanted}


def fetch(packages: Sequence[str], into: Path) -> dict[str, Path]:
    """Downloads package files, unless they are there (apt compares their digests)."""
    into.mkdir(parents=True, exist_ok=True)
    wanted = versions(packages)
    # apt drops to the user _apt for downloads and says so on stderr when it can't write here: harmless.
    _run(_need("apt-get", "apt"), "download", "-qq", *(f"{one}={which}" for one, which in wanted.items()), cwd=into)
    return {one: next(into.glob(f"{one}_{which.replace(':', '%3a')}_*.deb")) for one, which in wanted.items()}


def unpack(deb: Path, root: Path) -> None:
    """Unpacks a package's files into a folder (no scripts run)."""
    _run(_need("dpkg-deb", "dpkg"), "--extract", str(deb), str(root))


def control(deb: Path) -> str:
    """The package's control paragraph, as `dpkg/status` has them."""
    return _run(_need("dpkg-deb", "dpkg"), "--field", str(deb))


# --- roots ---------------------------------------------------------------------------------------------

_CACHE = "/var/cache/apt/archives"


def bootstrap(out: Path, when: int, archives: Path) -> None:
    """Writes a minimal Debian root as a tar; ``when`` clamps every time in it (seconds)."""
    public = out.with_suffix(".public.list")
    public.write_text(_public_sources(suite()))
    after = [f"upload {shlex.quote(str(public))} /etc/apt/sources.list"]
    _mmdebstrap(out, when, archives, ("--variant=minbase",), before=[], after=after)


def install(
    out: Path, when: int, base: Path, packages: Sequence[str], archives: Path, *,
    users: Iterable[User] = (), before: Mapping[str, str] | None = None,
) -> None:
    """Writes the root of tar ``base`` with packages installed over it. ``archives`` keeps their files for next time."""
    # The image's own apt is set up for Debian's public addresses, this one for the mirror.
    begin = ["umask 022", 'mv "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.kept']
    begin += [line for user in users for line in _add_user(user)]
    for path, text in (before or {}).items():
        target = f'"$1"{shlex.quote(path)}'
        begin += [f'mkdir -p "$(dirname {target})"', f"printf %s {shlex.quote(text)} >{target}"]
    # Without a terminal: what would ask somebody fails instead of waiting for ever.
    after = [f'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes install {shlex.join(packages)} '
             '-oDPkg::Chroot-Directory="$1" -oAPT::Keep-Downloaded-Packages=true -oDpkg::Use-Pty=0',
             'mv "$1"/etc/apt/sources.list.kept "$1"/etc/apt/sources.list']
    _mmdebstrap(out, when, archives, ("--variant=custom", "--aptopt=APT::Install-Recommends false"),
                before=[f"tar-in {shlex.quote(str(base))} /", _script(begin)], after=[_script(after)])


def _add_user(user: User) -> list[str]:
    rows = {"passwd": f"{user.name}:x:{user.uid}:{user.uid}::{user.home}:{user.shell}", "group":
            f"{user.name}:x:{user.uid}:", "shadow": f"{user.name}:!:::::::", "gshadow": f"{user.name}:!::"}
    return [f'echo {shlex.quote(row)} >>"$1"/etc/{name}' for name, row in rows.items()]


def _script(lines: Sequence[str]) -> str:
    return "\n".join(["set -eu", *lines])


def _mmdebstrap(
    out: Path, when: int, archives: Path, options: Sequence[str], *, before: Sequence[str], after: Sequence[str]
) -> None:
    """Hooks reach files outside by mmdebstrap's own words only: where it isn't root, they can't open them."""
    archives.mkdir(parents=True, exist_ok=True)
    listed = out.with_suffix(".sources.list")
    listed.write_text("".join(f"deb {site} {rel} {component}\n" for site, rel, component in _targets()))
    kept = shlex.quote(str(archives))
    # Package files from an earlier build: apt checks their digests before it takes them.
    setup = [*before, f'mkdir -p "$1"{_CACHE}/partial; true', f"sync-in {kept} {_CACHE}"]
    forget = ['rm -f "$1"/etc/apt/sources.list.d/0000* "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap',
              'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap']
    customize = [*after, f"sync-out {_CACHE} {kept}", _script(forget)]
    args = [_need("mmdebstrap", "mmdebstrap"), "--quiet", "--mode=auto", "--format=tar", "--skip=essential/unlink",
            "--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={pattern}" for pattern in _UNUSED),
            "--dpkgopt=path-include=usr/share/doc/*/copyright", *options,
            *(f"--setup-hook={hook}" for hook in setup), *(f"--customize-hook={hook}" for hook in customize)]
    _run(*args, suite(), str(out), str(listed),
         env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(when), "LC_ALL": "C.UTF-8",
              "TMPDIR": str(out.parent), "DEBIAN_FRONTEND": "noninteractive"})


def _public_sources(release: str) -> str:
    """What apt inside the image uses: Debian's own addresses, whatever mirror built it."""
    return (f"deb {_PUBLIC} {release} main\ndeb {_PUBLIC} {release}-updates main\n"
            f"deb {_PUBLIC}-security {release}-security main\n")
