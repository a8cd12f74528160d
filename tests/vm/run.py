"""`make test-vm`: kernel tests in virtual machines, for what the machine at hand doesn't have: control groups of the
other version, systemd, other kernels' modules.

QEMU (without KVM unless asked for) boots one of Debian's kernels with an initramfs made here. The machine says on its
serial line what pytest said, and its exit status:

    tests/vm/run [--only PART] [--within SECONDS] [--kvm] [PYTEST-ARGUMENTS…]

Exit status: 0; 1 if a test failed; 75 if something could not be had, or did not fit into the time. Each is said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from vm.contents import Part, build
from vm.machine import Unavailable, boot, fetch_kernel, fetch_packages
from vm.modules import Modules

RUNTIME = "tests/kernel/runtime"
SYSTEMD = (f"{RUNTIME}/test_runtime_systemd.py",)
PARTS = {
    "v2": Part("control groups of version 2", (
        "tests/kernel/linux", RUNTIME, "tests/kernel/engine/test_engine_cgroups.py",
        "tests/kernel/network/test_network_rare.py")),
    "v1": Part("control groups of version 1, all of them", (
        f"{RUNTIME}/test_runtime_cgroups.py", f"{RUNTIME}/test_limits_in_effect.py"), groups="v1", options=""),
    "systemd": Part("systemd's driver on version 2", SYSTEMD, groups="systemd", workers=0),
}
TEMPFAIL = 75  # sysexits(3)


def run(name: str, part: Part, arguments: list[str], *, kvm: bool, deadline: float | None) -> int:
    began = time.monotonic()
    try:
        kernel, directory = fetch_kernel(part.kernel)
        packages = fetch_packages(part.packages)
        workers = ["-n", str(part.workers), "--dist", "worksteal"] if part.workers else []
        with tempfile.TemporaryDirectory() as scratch:
            initramfs = Path(scratch) / "initramfs"
            build(initramfs, part, name, Modules(directory), [*workers, *(arguments or part.tests)], packages)
            print(f"vm: {name} ({part.about}): {kernel.name}, {initramfs.stat().st_size >> 20} MiB, "
                  f"{time.monotonic() - began:.0f} s to get ready", flush=True)
            status = boot(kernel, initramfs, part.options, kvm=kvm, deadline=deadline)
    except (Unavailable, FileNotFoundError) as error:
        print(f"vm: {name} ({part.about}) NOT RUN: {error}", flush=True)
        return TEMPFAIL
    if status is None:
        print(f"vm: {name} ({part.about}) NOT FINISHED: it did not fit into the time; nothing had failed", flush=True)
        return TEMPFAIL
    print(f"vm: {name} ({part.about}): status {status}, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if status else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part (again: another)")
    parser.add_argument("--within", type=float, help="seconds for all of it")
    parser.add_argument("--kvm", action="store_true", help="nested virtualization is often broken, so it is asked for")
    known, rest = parser.parse_known_args()
    deadline = time.monotonic() + known.within if known.within else None
    statuses = {run(name, PARTS[name], rest, kvm=known.kvm, deadline=deadline) for name in known.only or PARTS}
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
