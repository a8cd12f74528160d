"""Debian's kernels and packages, unpacked and not installed, and QEMU."""

from __future__ import annotations

import re
import selectors
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from vm.clock import kernel_options as clock_options

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "vm"
# A test's line in pytest's verbose words, with workers and without.
FAILED = re.compile(r"\[gw\d+\] \[ *\d+%\] (?:FAILED|ERROR) (\S+::.+)$|^(\S+::.+) (?:FAILED|ERROR) +\[")
QUIET = 180  # s: no test says nothing for so long. It hangs, then.
# Nothing is attacked in there, and emulated the mitigations are most of a system call.
COMMON = "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off audit=0 nokaslr nowatchdog no_timer_check"


class Unavailable(Exception):
    """There is no virtual machine to be had: a package, a program."""


def fetch_kernel(package: str, release: str) -> tuple[Path, Path]:
    """The kernel of a Debian package that depends on the present one: its image, and its directory of modules."""
    place = CACHE / f"{package}{release and '-'}{release}"
    if not list(place.glob("boot/vmlinuz-*")):
        source = of_release(release) if release else []
        found = re.findall(r"^Depends: (linux-image-\S+)", _apt("show", "--no-all-versions", package, *source), re.M)
        if not found:
            raise Unavailable(f"no package {package} {release}")
        unpack(found[0], place, source)
    kernel = next(place.glob("boot/vmlinuz-*"))
    name = kernel.name.removeprefix("vmlinuz-")
    return kernel, next(path for lib in ("lib", "usr/lib") if (path := place / lib / "modules" / name).is_dir())


def of_release(release: str) -> list[str]:
    """apt's options for packages of another release, from the mirror that this machine uses; its own lists stay as they
    are."""
    state = CACHE / release
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL) $(COMPONENT)",
                             "Created-By: Packages"], text=True, capture_output=True).stdout
    mirror = re.search(r"^(\S+) Debian main$", listed, re.M)
    if mirror is None:
        raise Unavailable(f"no mirror of Debian is known for {release}")
    (state / "sources.list").write_text(f"deb {mirror[1]} {release} main\n")
    options = (f"Dir::Etc::sourcelist={state}/sources.list", "Dir::Etc::sourceparts=-",
               f"Dir::State::lists={state}/lists", f"Dir::Cache={state}")
    words = [word for option in options for word in ("-o", option)]
    done = subprocess.run(["apt-get", *words, "update", "-q"], text=True, capture_output=True)
    if done.returncode != 0:
        raise Unavailable(f"apt-get update for {release}: {done.stderr.strip()}")
    return words


def fetch_packages(names: tuple[str, ...]) -> Path:
    """All of them unpacked into one root, and those of the libraries they depend on that this machine hasn't."""
    place = CACHE / "packages"
    for name in names:
        unpack(name, place)
    needed = set(re.findall(r"^  Depends: (lib\S+)", _apt("depends", *names) if names else "", re.M)) - {"libc6"}
    if needed:
        asked = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *needed], text=True,
                               capture_output=True).stdout
        for name in sorted(needed - set(re.findall(r"^(\S+) installed$", asked, re.M))):
            unpack(name, place)
    return place


def unpack(package: str, place: Path, options: list[str] | None = None) -> None:
    done = place / ".unpacked" / package
    if done.exists():
        return
    staging = CACHE / "staging"
    staging.mkdir(parents=True, exist_ok=True)
    for attempt in range(2):
        fetched = subprocess.run(["apt-get", *(options or []), "download", "-q", package], cwd=staging, text=True,
                                 capture_output=True)
        if fetched.returncode == 0:
            break
        if attempt == 0 and not options:  # the lists are of another day than the mirror
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


@dataclass
class Outcome:
    """What a boot came to. `status` is pytest's, None if there was no time for it."""

    status: int | None = None
    failed: list[str] = field(default_factory=list)


def boot(kernel: Path, initramfs: Path, options: str, *, kvm: bool, deadline: float | None) -> Outcome:
    """Until pytest has ended, its words on our standard output, or `deadline` (of time.monotonic) has come."""
    # "max" has instructions whose emulation costs a fifth more time than it saves.
    how = ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"]
    words = f"{COMMON} {'' if kvm else clock_options()} {options}"
    command = ["qemu-system-x86_64", *how, "-smp", "2", "-m", "2048", "-nographic", "-no-reboot", "-nodefaults",
               "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initramfs), "-append", words]
    try:
        machine = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise Unavailable(str(error)) from None
    with machine:
        try:
            return _listen(machine, deadline)
        finally:
            machine.kill()


def _listen(machine: subprocess.Popen[bytes], deadline: float | None) -> Outcome:
    assert machine.stdout is not None
    outcome, rest = Outcome(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(machine.stdout, selectors.EVENT_READ)
        while True:
            left = QUIET if deadline is None else min(QUIET, deadline - time.monotonic())
            if not selector.select(max(left, 0)):
                if left >= QUIET:
                    print(f"vm: silent for {QUIET} s: it hangs", flush=True)
                    outcome.status = 1
                return outcome
            chunk = machine.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                print("vm: ended without a status", flush=True)
                outcome.status = 1
                return outcome
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                if ended := re.search(r"KIST-VM-EXIT (\d+)", text):
                    outcome.status = int(ended[1])
                    return outcome
                if failure := FAILED.search(text):
                    outcome.failed.append(failure[1] or failure[2])
                print(text, flush=True)
