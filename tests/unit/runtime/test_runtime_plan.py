"""The plan is made without the system: order, words, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from kist.runtime.errors import SpecError
from kist.runtime.kernel import sysctl_path
from kist.runtime.mounts import normal
from kist.runtime.namespaces import Namespaces
from kist.runtime.options import parse
from kist.runtime.plan import plan
from kist.runtime.scheduling import cpu_list


def spec(**linux: Any) -> dict[str, Any]:
    return {"process": {"args": ["true"], "cwd": "/", "user": {"uid": 1, "gid": 2}, "capabilities": {}},
            "root": {"path": "rootfs", "readonly": True}, "hostname": "h",
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                       {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}],
            "linux": {"namespaces": [{"type": kind} for kind in ("mount", "uts", "pid", "cgroup")], **linux}}


def steps(config: dict[str, Any], **more: Any) -> list[str]:
    namespaces = Namespaces(config["linux"], None)
    made = plan(config, namespaces, container_id="c", bundle="/b", terminal=more.get("terminal", False))
    return [step.describe() for step in made.steps()]


def test_the_order_of_the_story() -> None:
    told = steps(spec(maskedPaths=["/proc/kcore"], readonlyPaths=["/proc/sys"], seccomp={"defaultAction": "A"}))
    order = ["open the host's /proc and /dev/null", "set the host name h", "unshare the cgroup namespace",
             "make every mount rslave", "bind the root /b/rootfs on itself", "open the root", "mount proc on /proc",
             "mount tmpfs on /dev", "make the links in /dev", "make /dev read-only", "make the working directory /",
             "make read-only /proc/sys", "mask /proc/kcore", "make the root read-only",
             "pivot_root into the container's root", "change to /", "load the seccomp filter", "become user 1:2",
             "keep the capabilities 0x0"]
    assert [step for step in told if step in order] == order


def test_seccomp_comes_last_with_no_new_privileges() -> None:
    config = spec(seccomp={"defaultAction": "A"})
    config["process"]["noNewPrivileges"] = True
    assert steps(config)[-2:] == ["set no_new_privs", "load the seccomp filter"]


def test_every_step_can_explain_itself() -> None:
    config = spec(maskedPaths=["/x"], readonlyPaths=["/y"], sysctl={"kernel.domainname": "d"})
    namespaces = Namespaces(config["linux"], None)
    for step in plan(config, namespaces, container_id="c", bundle="/b", terminal=True).steps():
        assert step.syscall
        assert step.why
        assert step.describe()


@pytest.mark.parametrize(("change", "words"), [
    ({"namespaces": [{"type": "mount"}]}, "hostname: it needs a uts namespace"),
    ({"namespaces": [{"type": "mount"}, {"type": "mount"}]}, "mount is there twice"),
    ({"namespaces": [{"type": "uts"}]}, "mounts: they need a mount namespace"),
    ({"uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}, "needs a user namespace"),
    ({"timeOffsets": {"boottime": {"secs": 1}}}, "needs a new time namespace"),
    ({"rootfsPropagation": "odd"}, "linux.rootfsPropagation"),
    ({"sysctl": {"net.x": "1"}}, "not allowed in the host's network namespace"),
    ({"sysctl": {"../x": "1"}}, "invalid key"),
    ({"personality": {"domain": "BSD"}}, "linux.personality.domain"),
    ({"devices": [{"path": "/dev/x", "type": "z"}]}, "unknown type"),
])
def test_what_cant_be_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words.replace(".", r"\.")):
        steps(spec(**change))


def test_mount_options() -> None:
    options = parse(["rbind", "ro", "rnosuid", "rprivate", "noatime", "rw", "size=5", "defaults"])
    assert (options.bind, options.recursive, options.data) == (True, True, ["size=5"])
    assert (options.set & 1, options.clear & 1) == (0, 1)  # rw came after ro
    assert (options.set & 0x10, options.clear & 0x70) == (0x10, 0x70)
    assert options.rec_set == 2
    assert len(options.propagation) == 1


def test_paths_and_lists() -> None:
    assert normal("/a/../../b/./c//") == "/b/c"
    assert sysctl_path("net.ipv4.conf.eth0/1.x") == "sys/net/ipv4/conf/eth0/1/x"
    assert sysctl_path("net/ipv4/conf/eth0.1/x") == "sys/net/ipv4/conf/eth0.1/x"
    assert cpu_list("0-2,5") == {0, 1, 2, 5}
    with pytest.raises(SpecError):
        cpu_list("a")
