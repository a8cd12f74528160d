"""Debian packages as the library's raw material: unpacked, or installed into roots by mmdebstrap.

Nothing of a package is executed on the host (`mmdebstrap` runs the maintainer scripts inside the root that it builds).
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kist.errors import EngineFailure, Unavailable
from kist.hub.library.programs import need, run
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
# dpkg's patterns see whole paths, from the root on.
_UNUSED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
_PUBLIC = "http://deb.debian.org/debian"


def unpack(deb: Path, root: Path) -> None:
    """Unpacks a package's files into a folder (no scripts run)."""
    run(need("dpkg-deb", "dpkg"), "--extract", str(deb), str(root))


def control(deb: Path) -> str:
    """The package's control paragraph, as `dpkg/status` has them."""
    return run(need("dpkg-deb", "dpkg"), "--field", str(deb))


# --- roots ---------------------------------------------------------------------------------------------

_CACHE = "/var/cache/apt/archives"


class _Way(NamedTuple):
    """Hooks by which files get into the root and out of it: {0} is the source, {1} the target."""

    upload: str
    unpack: str
    packages_in: str
    packages_out: str


_DEBS = "-maxdepth 1 -name '*.deb' ! -name '.*'"
#: A hook of root's opens the files itself.
_AS_ROOT = _Way(
    upload='cat {0} >"$1"{1}',
    unpack='tar --directory "$1" --numeric-owner --xattrs --xattrs-include=\'*\' --extract --file {0}',
    packages_in=f'find {{0}} {_DEBS} -exec cp --target-directory "$1"{{1}} {{{{}}}} +',
    packages_out=f'find "$1"{{0}} {_DEBS} -exec mv --target-directory {{1}} {{{{}}}} +',
)
#: In a user namespace it can't. mmdebstrap's own words have its parent do it, a round trip for each 4 KiB.
_AS_USER = _Way(upload="upload {0} {1}", unpack="tar-in {0} /", packages_in="sync-in {0} {1}",
                packages_out="sync-out {0} {1}")


def _way() -> _Way:
    return _AS_USER if os.geteuid() else _AS_ROOT


@dataclass(frozen=True)
class Supply:
    """What a root is made from: lines of a sources.list, and package files that are ``kept`` for the next build.

    ``epoch`` (seconds) clamps every time in the root.
    """

    suite: str
    epoch: int
    sources: Sequence[str]
    kept: Path | None = None


def bootstrap(out: Path, supply: Supply) -> None:
    """Writes a minimal Debian root as a tar."""
    public = out.with_suffix(".public.list")
    public.write_text(_public_sources(supply.suite))
    after = [_way().upload.format(shlex.quote(str(public)), "/etc/apt/sources.list")]
    _mmdebstrap(out, supply, ("--variant=minbase",), before=[], after=after)


def install(
    out: Path, supply: Supply, base: Path, packages: Sequence[str], *, users: Iterable[User] = (),
    before: Mapping[str, str] | None = None,
) -> None:
    """Writes the root of tar ``base`` with packages installed over it."""
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
    _mmdebstrap(out, supply, ("--variant=custom", "--aptopt=APT::Install-Recommends false"),
                before=[_way().unpack.format(shlex.quote(str(base))), _script(begin)], after=[_script(after)])


def _add_user(user: User) -> list[str]:
    rows = {"passwd": f"{user.name}:x:{user.uid}:{user.uid}::{user.home}:{user.shell}", "group":
            f"{user.name}:x:{user.uid}:", "shadow": f"{user.name}:!:::::::", "gshadow": f"{user.name}:!::"}
    return [f'echo {shlex.quote(row)} >>"$1"/etc/{name}' for name, row in rows.items()]


def _script(lines: Sequence[str]) -> str:
    return "\n".join(["set -eu", *lines])


def _mmdebstrap(
    out: Path, supply: Supply, options: Sequence[str], *, before: Sequence[str], after: Sequence[str]
) -> None:
    listed = out.with_suffix(".sources.list")
    listed.write_text("".join(f"{line}\n" for line in supply.sources))
    setup, customize = [*before, f'mkdir -p "$1"{_CACHE}/partial; true'], [*after]
    used = out.with_suffix(".debs")
    if supply.kept is not None:
        # Package files from an earlier build: apt checks their digests before it takes them.
        supply.kept.mkdir(parents=True, exist_ok=True)
        used.mkdir(exist_ok=True)
        setup.append(_way().packages_in.format(shlex.quote(str(supply.kept)), _CACHE))
        customize.append(_way().packages_out.format(_CACHE, shlex.quote(str(used))))
    forget = ['rm -f "$1"/etc/apt/sources.list.d/0000* "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap',
              'rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap']
    customize.append(_script(forget))
    args = [need("mmdebstrap", "mmdebstrap"), "--quiet", "--mode=auto", "--format=tar", "--skip=essential/unlink",
            '--aptopt=APT::Sandbox::User "root"',  # a locked archive may lie where only its owner may look
            "--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={pattern}" for pattern in _UNUSED),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright", *options,
            *(f"--setup-hook={hook}" for hook in setup), *(f"--customize-hook={hook}" for hook in customize)]
    try:
        run(*args, supply.suite, str(out), str(listed), env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(supply.epoch), "LC_ALL": "C.UTF-8",
            "TMPDIR": str(out.parent), "DEBIAN_FRONTEND": "noninteractive"})
    except EngineFailure as error:
        if "chroot mode" in error.message:
            raise Unavailable("installing packages needs root, or a user with subordinate ids: newuidmap (package "
                              "uidmap), and a line for the user in /etc/subuid and /etc/subgid") from None
        raise
    if supply.kept is not None:
        _keep(used, supply.kept)


def _keep(used: Path, kept: Path) -> None:
    """Move package files to those that are kept; each appears whole, since other builds may be looking."""
    for path in used.glob("*.deb"):
        target = kept / path.name
        if not target.exists():
            partial = Path(shutil.move(path, target.with_name(f".{used.name}-{path.name}")))
            partial.replace(target)
    shutil.rmtree(used)


def _public_sources(release: str) -> str:
    """What apt inside the image uses: Debian's own addresses, whatever mirror built it."""
    return (f"deb {_PUBLIC} {release} main\ndeb {_PUBLIC} {release}-updates main\n"
            f"deb {_PUBLIC}-security {release}-security main\n")
