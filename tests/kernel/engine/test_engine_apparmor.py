"""AppArmor in force: the engine's own profile, read and felt from inside containers. `make test-vm` has a kernel with
it; where there is none, that its absence changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kist.engine import apparmor
from support.daemon import Daemon

RUN = ("run", "--rm", "--network", "none")
CURRENT = ("box", "cat", "/proc/self/attr/current")
here = pytest.mark.skipif(not Path(apparmor.KERNEL).is_dir() or not shutil.which(apparmor.PARSER, path=apparmor.PLACES),
                          reason="no AppArmor here")


@here
def test_who_is_confined(daemon: Daemon) -> None:
    assert daemon.ok(*RUN, *CURRENT) == "kist-default (enforce)"
    more = ("--cap-add", "ALL", "--security-opt", "no-new-privileges")
    assert daemon.ok(*RUN, *more, *CURRENT) == "kist-default (enforce)"
    assert daemon.ok(*RUN, "--security-opt", "apparmor=unconfined", *CURRENT) == "unconfined"
    assert daemon.ok(*RUN, "--privileged", *CURRENT) == "unconfined"
    done = daemon.kist(*RUN, "--security-opt", "apparmor=of-nobody", *CURRENT)
    assert (done.returncode, "set the label of-nobody" in done.stderr) == (125, True), done.stderr


@here
def test_exec_is_confined_too(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "long", "--network", "none", "box", "sleep", "1000")
    assert daemon.ok("exec", "long", *CURRENT[1:]) == "kist-default (enforce)"
    assert daemon.ok("exec", "--privileged", "long", *CURRENT[1:]) == "unconfined"
    assert daemon.ok("inspect", "--format", "{{.AppArmorProfile}}", "long") == "kist-default"
    daemon.restart()
    assert daemon.ok("exec", "long", *CURRENT[1:]) == "kist-default (enforce)"
    # The profile lets the server end it, and processes inside end each other.
    assert daemon.ok("exec", "long", "sh", "-c", "sleep 100 & kill $! && echo ended") == "ended"
    assert daemon.ok("kill", "long") == "long"


@here
@pytest.mark.parametrize(("script", "capability"), [
    ("mkdir /m; mount -t tmpfs tmpfs /m", "SYS_ADMIN"), ("echo b > /proc/sysrq-trigger", "SYS_ADMIN"),
    ("echo x > /proc/sys/kernel/core_pattern", "SYS_ADMIN"), ("echo 1 > /proc/sys/vm/drop_caches", "SYS_ADMIN"),
    ("echo 0 > /sys/kernel/mm/transparent_hugepage/khugepaged/defrag", "SYS_ADMIN"),
    ("cat /sys/kernel/security/lsm", "SYS_ADMIN"), ("head -c 1 /proc/kcore", "SYS_RAWIO"),
])
def test_what_the_profile_forbids(daemon: Daemon, script: str, capability: str) -> None:
    """With everything else out of the way: the capability, the masks, the filter. Unconfined it goes through: nothing
    but the profile stops it (what would harm the machine is tried confined only)."""
    bare = (*RUN, "--cap-add", capability, "--security-opt", "seccomp=unconfined",
            "--security-opt", "systempaths=unconfined", "-v", "/proc:/proc", "-v", "/sys:/sys")
    confined = daemon.kist(*bare, "box", "sh", "-c", script)
    assert confined.returncode != 0
    assert "denied" in confined.stderr, confined.stderr
    if "sysrq" not in script and "core_pattern" not in script:
        free = daemon.kist(*bare, "--security-opt", "apparmor=unconfined", "box", "sh", "-c", script)
        assert free.returncode == 0, free.stderr


@here
def test_what_it_does_not_hinder(daemon: Daemon) -> None:
    script = ("mkdir /d && echo 1 > /d/x && ln -s x /d/l && cat /d/l && ps >/d/all && mkfifo /d/pipe"
              " && echo 1000 > /proc/self/oom_score_adj && (sleep 100 & kill $!) && echo fine")
    assert daemon.ok(*RUN, "box", "sh", "-c", script).splitlines()[-1] == "fine"


@here
def test_info_says_so(daemon: Daemon) -> None:
    found = json.loads(daemon.ok("info", "--format", "{{json .}}"))
    assert "name=apparmor" in found["SecurityOptions"]
    assert not [line for line in found["Warnings"] or () if "AppArmor" in line]


@pytest.mark.skipif(Path(apparmor.KERNEL).is_dir(), reason="AppArmor is here")
def test_without_apparmor_the_option_is_passed_over(daemon: Daemon) -> None:
    """As Docker does it."""
    assert daemon.ok(*RUN, "--security-opt", "apparmor=whatever", "box", "echo", "fine") == "fine"
    found = json.loads(daemon.ok("info", "--format", "{{json .}}"))
    assert "name=apparmor" not in found["SecurityOptions"]
