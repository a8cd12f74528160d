"""`make test-vm`: the kernel tests in a virtual machine with control groups of version 2.

QEMU (without KVM unless asked for) boots Debian's cloud kernel with an initramfs made here: this machine's Python, the
sources, the tests, busybox. The machine says on its serial line what pytest said, and its exit status:

    python tests/vm/run.py [--kernel VMLINUZ --modules DIR] [--keep FILE] [--kvm] [PYTEST-ARGUMENTS…]
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import BinaryIO

REPO = Path(__file__).resolve().parents[2]
CACHE = REPO / ".cache" / "vm"
PACKAGE = "linux-image-cloud-amd64"
MODULES = ("overlay", "bridge", "veth", "nf_conntrack_netlink", "nft_chain_nat", "nft_ct", "nft_dup_ipv4",
           "nft_dup_ipv6", "nft_fib_inet", "nft_masq", "nft_meta_bridge", "nft_nat", "nft_redir", "nft_reject_inet",
           "nft_reject_bridge", "ipvlan", "macvlan", "sctp")
SUITE = ("tests/kernel/linux", "tests/kernel/runtime", "tests/kernel/engine/test_engine_cgroups.py",
         "tests/kernel/network/test_network_rare.py")
SKIP = frozenset({"__pycache__", "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "turtledemo",
                  "site-packages", "dist-packages", "pydoc_data", "distutils"})
SITE = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments",  # the tests' …
        "h11", "msgspec", "urllib3", "isal", "zstandard")  # … and the server's
LIBRARIES = ("libseccomp.so.2", "libnftables.so.1")

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t tmpfs -o mode=755 tmpfs /new
for d in bin lib lib64 usr etc init3 kist site modules init2; do /bin/busybox cp -a /$d /new/ 2>/dev/null; done
cd /new && /bin/busybox mkdir -p proc sys dev tmp run root var/tmp && /bin/busybox umount /proc
exec /bin/busybox switch_root /new /init2
"""
INIT2 = """#!/bin/busybox sh
export PATH=/bin:/usr/bin HOME=/root PYTHONPATH=/kist/src:/kist/tests:/site PYTHONDONTWRITEBYTECODE=1 TMPDIR=/tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for m in /modules/*; do insmod $m; done; ip link set lo up
cd /kist
@PYTHON@ -m pytest -p no:cacheprovider -c /dev/null --rootdir=/kist --import-mode=importlib --color=no \\
  --no-header -v -rs @ARGUMENTS@
echo "KIST-VM-EXIT $?"
poweroff -f
"""


class Archive:
    """An initramfs in cpio's "newc" form, without compression (kernel: driver-api/early-userspace/buffer-format).

    per file:  magic "070701", 13 numbers of 8 hex digits, name NUL (pad to 4), data (pad to 4)
    the last:  a file named "TRAILER!!!"
    """
    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self.names: set[str] = set()
        self.inode = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        name = name.strip("/")
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self.add(parent, stat.S_IFDIR | 0o755)
        self.names.add(name)
        self._entry(name, mode, data, device)

    def _entry(self, name: str, mode: int, data: bytes, device: tuple[int, int]) -> None:
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self.out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def file(self, source: Path, name: str | None = None) -> None:
        """A file or link of this machine, with its mode, at the same place unless told otherwise."""
        name = name or str(source)
        info = source.lstat()
        if stat.S_ISLNK(info.st_mode):
            self.add(name, stat.S_IFLNK | 0o777, os.readlink(source).encode())
        else:
            self.add(name, stat.S_IFREG | stat.S_IMODE(info.st_mode), source.read_bytes())

    def tree(self, source: Path, name: str, skip: frozenset[str] = frozenset()) -> None:
        for path in sorted(source.rglob("*")):
            parts = path.relative_to(source).parts
            if skip & set(parts) or (path.is_dir() and not path.is_symlink()):
                continue
            self.file(path, f"{name}/{'/'.join(parts)}")

    def close(self) -> None:
        self._entry("TRAILER!!!", 0, b"", (0, 0))


SYSTEMD = Path("/usr/lib/systemd/systemd")
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


def add_systemd(archive: Archive, script: str) -> None:
    """As the first process, with one unit: the tests."""
    for library in libraries(SYSTEMD) | {Path("/usr/lib/systemd/systemd-shutdown")}:
        archive.add(str(library), 0o100755, library.read_bytes())
    archive.add(str(SYSTEMD), 0o100755, SYSTEMD.read_bytes())
    for name in ("libsystemd-core", "libsystemd-shared"):
        for library in Path("/usr/lib/x86_64-linux-gnu/systemd").glob(f"{name}*"):
            archive.add(str(library), 0o100755, library.read_bytes())
            for other in libraries(library):
                archive.add(str(other), 0o100755, other.read_bytes())
    archive.add("etc/systemd/system/default.target", 0o100644, TARGET.encode())
    archive.add("etc/systemd/system/tests.service", 0o100644, SERVICE.encode())
    archive.add("etc/machine-id", 0o100644, b"0123456789abcdef0123456789abcdef\n")
    archive.add("etc/os-release", 0o100644, b"ID=kist\n")
    before, _, after = script.partition("cd /kist\n")
    archive.add("init2", 0o100755, (before + f"exec {SYSTEMD}\n").encode())
    environment = "\n".join(before.splitlines()[:2])
    archive.add("init3", 0o100755, f"{environment}\ncd /kist\n{after}".encode())


def fetch_kernel() -> tuple[Path, Path]:
    """Debian's cloud kernel, unpacked (not installed) below .cache."""
    found = sorted(CACHE.glob("boot/vmlinuz-*"))
    if not found:
        CACHE.mkdir(parents=True, exist_ok=True)
        shown = subprocess.run(["apt-cache", "show", "--no-all-versions", PACKAGE], check=True, text=True,
                               capture_output=True).stdout
        name = re.findall(r"^Depends: (linux-image-\S+)", shown, re.M)[0]
        subprocess.run(["apt-get", "download", name], check=True, cwd=CACHE, stderr=subprocess.DEVNULL)
        package = next(CACHE.glob(f"{name}_*.deb"))
        subprocess.run(["dpkg", "-x", package.name, "."], check=True, cwd=CACHE)
        package.unlink()
        found = sorted(CACHE.glob("boot/vmlinuz-*"))
    release = found[-1].name.removeprefix("vmlinuz-")
    return found[-1], CACHE / "lib" / "modules" / release


def libraries(binary: Path) -> set[Path]:
    """What ldd says, links followed by name so that the loader finds them."""
    out = subprocess.run(["ldd", str(binary)], text=True, capture_output=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(/\S+) \(0x", out)}


def in_order(directory: Path) -> list[Path]:
    """The files of MODULES, behind those that they need. The package has no modules.dep: that is made where it is
    installed."""
    files = {path.stem.replace("-", "_"): path for path in directory.rglob("*.ko")}
    ordered: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name)
        if path is None or path in ordered:  # built in
            return
        found = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for needed in found[1].decode().split(",") if found else ():
            add(needed.replace("-", "_"))
        ordered.append(path)

    for name in MODULES:
        add(name)
    return ordered


def build(target: Path, modules: Path, arguments: list[str], *, systemd: bool) -> None:
    python = Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    needed = libraries(python)
    site = Path(sysconfig.get_path("purelib"))
    for place in (standard / "lib-dynload", *(site / name for name in SITE)):
        for extension in place.rglob("*.so"):
            needed |= libraries(extension)
    for name in LIBRARIES:
        for directory in ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64"):
            if (Path(directory) / name).exists():
                needed |= {Path(directory) / name, *libraries(Path(directory) / name)}
    with target.open("wb") as out:
        archive = Archive(out)
        for directory in ("proc", "sys", "dev", "new", "bin", "etc", "lib64", "lib", "usr/lib"):
            archive.add(directory, 0o040755)
        archive.add("dev/console", 0o020600, device=(5, 1))
        archive.add("init", 0o100755, INIT.encode())
        script = INIT2.replace("@PYTHON@", str(python)).replace("@ARGUMENTS@", " ".join(arguments))
        if systemd:
            add_systemd(archive, script)
        archive.add("init2", 0o100755, script.encode())
        archive.add("bin/busybox", 0o100755, Path("/bin/busybox").read_bytes())
        archive.add("etc/passwd", 0o100644, b"root:x:0:0::/root:/bin/sh\n")
        archive.add("etc/hosts", 0o100644, b"127.0.0.1 localhost\n")
        archive.file(python)
        for library in sorted(needed):
            archive.add(str(library), 0o100755, library.read_bytes())
        archive.tree(standard, str(standard), SKIP)
        for package in SITE:
            archive.tree(site / package, f"site/{package}", frozenset({"__pycache__"}))
        archive.file(site / "py.py", "site/py.py")
        archive.tree(REPO / "src", "kist/src", frozenset({"__pycache__"}))
        for part in ("kernel", "support"):
            archive.tree(REPO / "tests" / part, f"kist/tests/{part}", frozenset({"__pycache__"}))
        for number, module in enumerate(in_order(modules)):
            archive.file(module, f"modules/{number:02}.ko")
        archive.close()


def boot(kernel: Path, initramfs: Path, *, kvm: bool) -> int:
    command = ["qemu-system-x86_64", "-accel", "kvm" if kvm else "tcg,thread=multi", "-cpu", "max", "-smp", "2",
               "-m", "1536", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
               "-kernel", str(kernel), "-initrd", str(initramfs),
               "-append", "console=ttyS0 quiet panic=-1 cgroup_no_v1=all"]
    status = 1
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                          errors="replace") as machine:
        assert machine.stdout is not None
        for line in machine.stdout:
            found = re.search(r"KIST-VM-EXIT (\d+)", line)
            if found:
                status = int(found[1])
            else:
                print(line.rstrip(), flush=True)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kernel", type=Path)
    parser.add_argument("--modules", type=Path)
    parser.add_argument("--keep", type=Path, help="keep the initramfs there")
    parser.add_argument("--kvm", action="store_true", help="nested virtualization is often broken, so it is asked for")
    parser.add_argument("--systemd", action="store_true", help="systemd is the first process (for its driver)")
    known, rest = parser.parse_known_args()
    kernel, modules = (known.kernel, known.modules) if known.kernel else fetch_kernel()
    with tempfile.TemporaryDirectory() as scratch:
        initramfs = known.keep or Path(scratch) / "initramfs"
        build(initramfs, modules, rest or list(SUITE), systemd=known.systemd)
        return boot(kernel, initramfs, kvm=known.kvm)


if __name__ == "__main__":
    sys.exit(main())
