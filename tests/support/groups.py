"""Control groups as tests see them: which version this machine has, and which machine it is (tests/vm)."""

from __future__ import annotations

import os

V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
MACHINE = os.environ.get("KIST_TEST_MACHINE", "")  # the part of tests/vm that booted it
OURS = bool(MACHINE)  # the machine is the tests' own: machine-wide settings may be changed, and nothing is missing


def inside(controller: str, v1: str, v2: str) -> str:
    """The shell's words that print a limit's file from inside of a container."""
    return f"cat /sys/fs/cgroup/{v2}" if V2 else f"cat /sys/fs/cgroup/{controller}/{v1}"


def table(text: str) -> dict[str, int]:
    """Lines of ``key number``."""
    return {key: int(value) for key, value in (line.rsplit(" ", 1) for line in text.splitlines())}
