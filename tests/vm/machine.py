"""Debian's kernels and packages, unpacked and not installed, and QEMU."""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "vm"
QUIET = 180  # s: no test says nothing for so long. It hangs, then.
# Nothing is attacked in there, and emulated the mitigations are most of a system call.
COMMON = "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off audit=0 nokaslr no_timer_check tsc=reliable"


class Unavailable(Exception):
    """There is no virtual machine to be had: a package, a program."""


def fetch_kernel(package: str) -> tuple[Path, Path]:
    """The kernel of a Debian package that depends on the present one: its image, and its directory of modules."""
    place = CACHE / package
    if not list(place.glob("boot/vmlinuz-*")):
        release = re.findall(r"^Depends: (linux-image-\S+)", _apt("show", "--no-all-versions", package), re.M)
        if not release:
            raise Unavailable(f"no package {package}")
        unpack(release[0], place)
    kernel = next(place.glob("boot/vmlinuz-*"))
    return kernel, place / "lib" / "modules" / kernel.name.removeprefix("vmlinuz-")


def fetch_packages(names: tuple[str, ...]) -> Path:
    """All of them unpacked into one root."""
    for name in names:
        unpack(name, CACHE / "packages")
    return CACHE / "packages"


def unpack(package: str, place: Path) -> None:
    done = place / ".unpacked" / package
    if done.exists():
        return
    staging = CACHE / "staging"
    staging.mkdir(parents=True, exist_ok=True)
    for attempt in range(2):
        fetched = subprocess.run(["apt-get", "download", "-q", package], cwd=staging, text=True, capture_output=True)
        if fetched.returncode == 0:
            break
        if attempt == 0:  # the lists are of another day than the mirror
            subprocess.run(["apt-get", "update", "-q"], capture_output=True)
    else:
        raise Unavailable(f"apt-get download {package}: {fetched.stderr.strip()}")
    archive = next(staging.glob(f"{package}_*.deb"))
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg", "-x", archive, place], check=True)
    archive.unlink()
    done.parent.mkdir(exist_ok=True)
    done.touch()


def _apt(*words: str) -> str:
    try:
        done = subprocess.run(["apt-cache", *words], text=True, capture_output=True)
    except FileNotFoundError as error:
        raise Unavailable(str(error)) from None
    return done.stdout


def boot(kernel: Path, initramfs: Path, options: str, *, kvm: bool, deadline: float | None) -> int | None:
    """pytest's exit status, its words on our standard output; 1 if the machine ended without one or fell silent; None
    if `deadline` (of time.monotonic) came first and no test had failed."""
    # "max" has instructions whose emulation costs a fifth more time than it saves.
    how = ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"]
    command = ["qemu-system-x86_64", *how, "-smp", "2", "-m", "2048", "-nographic", "-no-reboot", "-nodefaults",
               "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initramfs), "-append", f"{COMMON} {options}"]
    try:
        machine = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise Unavailable(str(error)) from None
    with machine:
        try:
            return _listen(machine, deadline)
        finally:
            machine.kill()


def _listen(machine: subprocess.Popen[bytes], deadline: float | None) -> int | None:
    assert machine.stdout is not None
    failed, rest = False, b""
    with selectors.DefaultSelector() as selector:
        selector.register(machine.stdout, selectors.EVENT_READ)
        while True:
            left = QUIET if deadline is None else min(QUIET, deadline - time.monotonic())
            if not selector.select(max(left, 0)):
                if left >= QUIET:
                    print(f"vm: silent for {QUIET} s: it hangs", flush=True)
                return 1 if failed or left >= QUIET else None
            chunk = machine.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                print("vm: ended without a status", flush=True)
                return 1
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                if found := re.search(r"KIST-VM-EXIT (\d+)", text):
                    return int(found[1])
                failed = failed or " FAILED " in text or " ERROR " in text
                print(text, flush=True)
