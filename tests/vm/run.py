"""`make test-vm`: kernel tests in virtual machines, for what the machine at hand doesn't have: control groups of the
other version, systemd, other kernels' modules.

QEMU (without KVM unless asked for) boots one of Debian's kernels with an initramfs made here. The machine says on its
serial line what pytest said, and its exit status:

    tests/vm/run [--only PART] [--within SECONDS] [--again] [--kvm] [PYTEST-ARGUMENTS…]

Exit status: 0; 1 if a test failed; 75 if something could not be had, or did not fit into the time. Each is said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from vm.contents import Part, build
from vm.machine import Outcome, Unavailable, boot, fetch_kernel, fetch_packages
from vm.modules import Modules

RUNTIME = "tests/kernel/runtime"
SYSTEMD = (f"{RUNTIME}/test_runtime_systemd.py",)
LIMITS = (f"{RUNTIME}/test_runtime_cgroups.py", f"{RUNTIME}/test_limits_in_effect.py")
# What matters most comes first: there may not be time for all of it.
PARTS = {
    "v2": Part("control groups of version 2", (
        "tests/kernel/linux", RUNTIME, "tests/kernel/engine/test_engine_cgroups.py",
        "tests/kernel/network/test_network_rare.py"), packages=("apparmor",), programs=("apparmor_parser",)),
    "systemd": Part("systemd's driver on version 2", SYSTEMD, groups="systemd", workers=0),
    "service": Part("the server as systemd's service", ("tests/kernel/engine/test_engine_service.py",),
                    groups="systemd", workers=0),
    "files": Part(
        "volumes on an NFS and an SMB server", ("tests/kernel/engine/test_engine_networkvolumes.py",), workers=0,
        packages=("nfs-kernel-server", "nfs-common", "samba", "samba-libs", "samba-common-bin"),
        programs=("exportfs", "rpc.mountd", "rpc.nfsd", "smbd", "smbpasswd")),
    "apparmor": Part(
        "AppArmor in force", ("tests/kernel/engine/test_engine_apparmor.py",), workers=0,
        packages=("apparmor",), programs=("apparmor_parser",)),
    "selinux": Part("SELinux in force, with a policy of the tests'", (f"{RUNTIME}/test_selinux.py",), workers=0,
                    options="cgroup_no_v1=all security=selinux selinux=1 enforcing=1", packages=("checkpolicy",),
                    programs=("checkpolicy",)),
    "verity": Part("a disk whose files the kernel verifies, and mounts; the next Debian's kernel can do both",
                   ("tests/kernel/linux", "tests/kernel/store/test_store_snapshots.py"), release="trixie", disk=True),
    "systemd-v1": Part("systemd's driver on version 1", SYSTEMD, groups="systemd", workers=0,
                       options="systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1"),
    "v1": Part("control groups of version 1, all of them", LIMITS, groups="v1", options=""),
    "rdma": Part("limits of an RDMA device; Debian's general kernel has one without hardware",
                 (f"{RUNTIME}/test_limits_rdma.py",), workers=0, kernel="linux-image-amd64", programs=("rdma",)),
}
TEMPFAIL = 75  # sysexits(3)
LEAST = 60  # s: with less left, a part isn't begun


class Runner:
    """Boots parts one after the other, until the deadline (of time.monotonic)."""

    def __init__(self, *, kvm: bool, deadline: float | None) -> None:
        self.kvm, self.deadline = kvm, deadline

    def part(self, name: str, arguments: list[str], *, again: bool) -> int:
        """0, 1 or TEMPFAIL. With `again` what failed is tried once more by itself, in a machine of its own."""
        part = PARTS[name]
        title = f"vm: {name} ({part.about})"
        if self.deadline is not None and self.deadline - time.monotonic() < LEAST:
            print(f"{title} NOT RUN: less than {LEAST} s are left for it", flush=True)
            return TEMPFAIL
        began = time.monotonic()
        try:
            outcome = self._boot(name, part, arguments or list(part.tests))
            if again and outcome.status not in (0, None):
                once_more = outcome.failed or arguments or list(part.tests)  # or it broke off before any had failed
                print(f"{title}: once more, by themselves: {' '.join(once_more)}", flush=True)
                second = self._boot(name, part, once_more)
                outcome = second if second.status is not None else outcome  # no time: it stays as it was
        except (Unavailable, FileNotFoundError) as error:
            print(f"{title} NOT RUN: {error}", flush=True)
            return TEMPFAIL
        took = f"{time.monotonic() - began:.0f} s"
        if outcome.status is None and not outcome.failed:
            print(f"{title} NOT FINISHED after {took}: the time is up; nothing had failed", flush=True)
            return TEMPFAIL
        print(f"{title}: {'FAILED' if outcome.status != 0 else 'passed'}, {took}", flush=True)
        return 0 if outcome.status == 0 else 1

    def _boot(self, name: str, part: Part, tests: list[str]) -> Outcome:
        kernel, directory = fetch_kernel(part.kernel, part.release)
        packages = fetch_packages(part.packages)
        workers = ["-n", str(part.workers), "--dist", "worksteal"] if part.workers else []
        with tempfile.TemporaryDirectory() as scratch:
            initramfs = Path(scratch) / "initramfs"
            build(initramfs, part, name, Modules(directory), [*workers, *tests], packages)
            print(f"vm: {name} ({part.about}): {kernel.name}, {initramfs.stat().st_size >> 20} MiB", flush=True)
            return boot(kernel, initramfs, part.options, kvm=self.kvm, deadline=self.deadline)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part (again: another)")
    parser.add_argument("--within", type=float, help="seconds for all of it")
    parser.add_argument("--again", action="store_true", help="try once more, by itself, what failed")
    parser.add_argument("--kvm", action="store_true", help="nested virtualization is often broken, so it is asked for")
    known, rest = parser.parse_known_args()
    runner = Runner(kvm=known.kvm, deadline=time.monotonic() + known.within if known.within else None)
    statuses = {runner.part(name, rest, again=known.again) for name in known.only or PARTS}
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
