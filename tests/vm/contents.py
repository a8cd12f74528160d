"""What the virtual machine has in it: this machine's Python with its bytecode, the sources, the tests, busybox, the
programs that tests drive, kernel modules, and the scripts that get it going.

    /init ─▶ /init2 ─▶ (systemd ─▶) /init3 ─▶ pytest ─▶ "KIST-VM-EXIT status"
"""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from vm.archive import Archive
from vm.modules import Modules, content

REPO = Path(__file__).resolve().parents[2]
MODULES = ("overlay", "loop", "bridge", "veth", "dummy", "ipvlan", "macvlan", "sctp", "sctp_diag",
           # the packet filter and the traffic shaper
           "nf_conntrack_netlink", "nft_chain_nat", "nft_ct", "nft_dup_ipv4", "nft_dup_ipv6", "nft_fib_inet",
           "nft_masq", "nft_meta_bridge", "nft_nat", "nft_redir", "nft_reject_inet", "nft_reject_bridge", "nft_limit",
           "sch_tbf", "sch_ingress", "act_police", "cls_u32", "cls_matchall", "cls_cgroup", "ifb", "act_mirred",
           # what limits are set on
           "null_blk", "bfq", "zram", "lzo", "lzo_rle", "rdma_rxe", "ib_uverbs",
           # file systems
           "erofs", "nfs", "nfsv4", "nfsd", "cifs", "nls_utf8",
           *("aes_generic", "aesni_intel", "ccm", "cmac", "ctr", "ecb", "gcm", "ghash_generic", "hmac", "md5",
             "sha256_generic", "sha512_generic", "seqiv", "des_generic", "crc32_generic", "nls_iso8859_1"))
SKIP = frozenset({"test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "turtledemo", "site-packages",
                  "dist-packages", "pydoc_data", "distutils", "config-3.11-x86_64-linux-gnu"})
SITE = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "execnet", "xdist",  # the tests' …
        "pytest_asyncio", "h11", "msgspec", "urllib3", "isal", "zstandard")  # … and the server's
ALONE = ("py.py", "typing_extensions.py")
LIBRARIES = ("libseccomp.so.2", "libnftables.so.1")
PROGRAMS = ("bash", "ip", "tc", "nft", "mkfs.ext4", "e2fsck", "ps", "nsenter", "losetup", "unshare",
            "mount", "umount")  # before those of busybox
SYSTEMD = Path("/usr/lib/systemd/systemd")

INIT = """#!/bin/busybox sh
# pivot_root(2) refuses the initramfs: it is mounted once more, over itself.
/bin/busybox mount --bind / /new && cd /new && /bin/busybox mount --move . / && exec /bin/busybox chroot . /init2
"""
INIT2 = """#!/bin/busybox sh
. /environment
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd; mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run; mount -t securityfs none /sys/kernel/security
for m in loop overlay; do modprobe $m; done; ip link set lo up
"""
TMP = {
    False: "mount -t tmpfs tmpfs /tmp\n",
    True: "truncate -s 800M /disk; mkfs.ext4 -q -O verity -b 4096 /disk; mount -o loop /disk /tmp; chmod 1777 /tmp\n",
}
GROUPS = {
    "v2": "mount -t cgroup2 cgroup2 /sys/fs/cgroup\n",
    "v1": "mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup\n"
          "for c in $(awk '!/^#/ && $4 { print $1 }' /proc/cgroups); do"
          " mkdir /sys/fs/cgroup/$c; mount -t cgroup -o $c $c /sys/fs/cgroup/$c; done\n",
    "systemd": f"exec {SYSTEMD}\n",
}
INIT3 = """#!/bin/busybox sh
. /environment
cd /kist
@PYTHON@ -m pytest -p no:cacheprovider -c /dev/null --rootdir=/kist --import-mode=importlib --color=no \\
  -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function \\
  --no-header -v -rs @ARGUMENTS@
echo "KIST-VM-EXIT $?"
poweroff -f
"""
ENVIRONMENT = """export PATH=/usr/bin:/bin HOME=/root TMPDIR=/tmp PYTHONPATH=/kist/src:/kist/tests:/site
export PYTHONDONTWRITEBYTECODE=1 KIST_TEST_MACHINE=@PART@
"""
TARGET = """[Unit]
Description=the tests
DefaultDependencies=no
Requires=tests.service
"""
SERVICE = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/init3
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TimeoutStartSec=infinity
Delegate=yes
"""


@dataclass(frozen=True)
class Part:
    """One boot: what it is for, what it tests, and how it differs."""

    about: str
    tests: tuple[str, ...]
    groups: str = "v2"  # a key of GROUPS
    kernel: str = "linux-image-cloud-amd64"
    release: str = ""  # Debian's, of the kernel; empty: this machine's
    options: str = "cgroup_no_v1=all"  # the kernel's command line
    packages: tuple[str, ...] = ()  # unpacked, not installed
    programs: tuple[str, ...] = ()
    workers: int = 2
    disk: bool = False  # the tests' files lie on an ext4 (with fs-verity), not in memory


def build(target: Path, part: Part, name: str, modules: Modules, arguments: list[str], packages: Path) -> None:
    with target.open("wb") as out:
        archive = Archive(out, packages)
        for directory in ("proc", "sys", "dev", "new", "bin", "etc", "lib64", "lib", "usr/lib", "tmp", "run", "root",
                          "var/tmp", "var/lib", "sbin"):
            archive.directory(directory)
        archive.add("dev/console", 0o020600, device=(5, 1))
        _scripts(archive, part, name, arguments)
        _python(archive)
        _programs(archive, part)
        _modules(archive, modules)
        archive.close()


def _scripts(archive: Archive, part: Part, name: str, arguments: list[str]) -> None:
    archive.script("init", INIT)
    archive.script("init2", INIT2 + TMP[part.disk] + GROUPS[part.groups] + "exec /init3\n")
    archive.script("init3", INIT3.replace("@PYTHON@", str(Path(sys.executable).resolve()))
                   .replace("@ARGUMENTS@", shlex.join(arguments)))
    archive.text("environment", ENVIRONMENT.replace("@PART@", name))
    users = (("root", 0), ("kist", 1000), ("nobody", 65534))
    archive.text("etc/passwd", "".join(f"{user}:x:{number}:{number}::/root:/bin/sh\n" for user, number in users))
    archive.text("etc/group", "root:x:0:\nkist:x:1000:\nnogroup:x:65534:\n")
    archive.text("etc/hosts", "127.0.0.1 localhost\n")
    archive.text("etc/services", "nfs 2049/tcp\n")
    if part.groups == "systemd":
        _systemd(archive)


def _systemd(archive: Archive) -> None:
    """As the first process, with one unit: the tests."""
    for program in (SYSTEMD, Path("/usr/lib/systemd/systemd-shutdown")):
        archive.binary(program)
    for name in ("libsystemd-core", "libsystemd-shared"):
        for library in Path("/usr/lib/x86_64-linux-gnu/systemd").glob(f"{name}*"):
            archive.binary(library)
    archive.program("systemctl")
    archive.file(REPO / "docs/operating.md", "kist/docs/operating.md")
    archive.text("etc/systemd/system/default.target", TARGET)
    archive.text("etc/systemd/system/tests.service", SERVICE)
    archive.text("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    archive.text("etc/os-release", "ID=kist\n")


def _python(archive: Archive) -> None:
    python = Path(sys.executable).resolve()
    standard, site = Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))
    archive.binary(python)
    for place in (standard / "lib-dynload", *(site / name for name in SITE)):
        for extension in place.rglob("*.so"):
            for library, found in archive.libraries(extension).items():
                archive.add(library, 0o100755, found.read_bytes())
    archive.tree(standard, str(standard), SKIP)
    for package in SITE:
        archive.tree(site / package, f"site/{package}")
    for plugin in ("pytest_xdist", "pytest_asyncio"):  # found by their entry points
        for information in site.glob(f"{plugin}-*.dist-info"):
            archive.tree(information, f"site/{information.name}")
    for name in ALONE:
        if (site / name).exists():
            archive.file(site / name, f"site/{name}")
    archive.tree(REPO / "src", "kist/src")
    for folder in ("kernel", "support", "unit", "data"):
        if (REPO / "tests" / folder).is_dir():
            archive.tree(REPO / "tests" / folder, f"kist/tests/{folder}")


def _programs(archive: Archive, part: Part) -> None:
    archive.file(Path("/bin/busybox").resolve(), "bin/busybox")
    archive.link("sbin/modprobe", "/bin/busybox")
    archive.text("etc/mke2fs.conf", Path("/etc/mke2fs.conf").read_text())
    for name in (*PROGRAMS, *part.programs):
        archive.program(name)
    for name in LIBRARIES:
        places = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64")
        found = next((Path(place, name) for place in places if os.path.exists(Path(place, name))), None)
        if found is None:
            raise FileNotFoundError(f"{name} is not installed")
        archive.binary(found)


def _modules(archive: Archive, modules: Modules) -> None:
    modules.choose(MODULES)
    for name in modules.chosen:
        archive.add(f"lib/modules/{modules.release}/{name}.ko", 0o100644, content(modules.files[name]))
    for table, text in modules.tables().items():
        archive.text(f"lib/modules/{modules.release}/{table}", text)
