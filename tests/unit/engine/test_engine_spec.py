"""Record and facts → OCI configuration: Docker's defaults and each option's place in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kist.api import bodies
from kist.engine import hostconfig, logdrivers
from kist.engine.config import Config
from kist.engine.limits import Machine, format_set, parse_set
from kist.engine.records import ContainerRecord, Mount
from kist.engine.spec import Device, Facts, User, compile_spec, device_rule, exec_process, is_late
from kist.engine.spec.capabilities import effective
from kist.engine.spec.defaults import CAPABILITIES, MASKED_PATHS
from kist.engine.spec.mounts import tmpfs_options
from kist.errors import InvalidParameter, KistError

MACHINE = Machine(cpus=4, online_cpus=frozenset(range(4)), memory_nodes=frozenset({0}))
ROOTFS = [{"type": "overlay", "source": "overlay", "options": ["lowerdir=/l"]}]


def normalized(**host: Any) -> dict[str, Any]:
    return hostconfig.normalize(bodies.decode(bodies.HostConfig, _json(host)), Config(), MACHINE)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def compiled(*, config: dict[str, Any] | None = None, mounts: list[Mount] | None = None,
             facts: dict[str, Any] | None = None, **host: Any) -> dict[str, Any]:
    record = ContainerRecord(
        id="c" * 64, name="n", created=1, image="i", image_id="sha256:1", path="sh", args=["-c", "x"],
        config={"Hostname": "box", "Tty": False, "Env": ["A=1"], "WorkingDir": "", "User": "", **(config or {})},
        host=normalized(**host), mounts=mounts or [])
    return compile_spec(record, Facts(root="/run/root", rootfs=ROOTFS, etc={"hosts": "/d/hosts"}, cgroup="/kist/c",
                                      machine="x86_64", kernel="6.1.0", **(facts or {})))


def test_the_defaults_are_dockers() -> None:
    spec = compiled()
    process, linux = spec["process"], spec["linux"]
    assert process["args"] == ["sh", "-c", "x"]
    assert process["cwd"] == "/"
    assert process["env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box",
                              "A=1", "HOME=/"]
    assert set(process["capabilities"]["bounding"]) == set(CAPABILITIES)
    assert "inheritable" not in process["capabilities"]
    assert "ambient" not in process["capabilities"]
    assert process["noNewPrivileges"] is False
    assert spec["hostname"] == "box"
    assert spec["kist"]["rootfs"] == ROOTFS
    assert {entry["type"] for entry in linux["namespaces"]} == {"mount", "pid", "ipc", "uts", "network", "cgroup"}
    assert linux["maskedPaths"] == list(MASKED_PATHS)
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["cgroupsPath"] == "/kist/c"
    assert linux["sysctl"] == {}  # Docker's defaults are set where the network's namespace is made
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert linux["rootfsPropagation"] == "rslave"


def test_the_default_mounts_come_before_the_etc_files() -> None:
    mounts = {mount["destination"]: mount for mount in compiled()["mounts"]}
    assert list(mounts)[:7] == ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"]
    assert "ro" in mounts["/sys"]["options"]
    assert "ro" in mounts["/sys/fs/cgroup"]["options"]
    assert "size=67108864" in mounts["/dev/shm"]["options"]
    assert mounts["/etc/hosts"] == {"destination": "/etc/hosts", "type": "bind", "source": "/d/hosts",
                                    "options": ["rbind", "rprivate"]}


def test_a_users_mount_replaces_a_default_one_and_parents_come_first() -> None:
    mounts = compiled(mounts=[Mount(type="bind", target="/a/b", source="/2", rw=False),
                              Mount(type="bind", target="/a", source="/1"),
                              Mount(type="tmpfs", target="/dev/shm", options=["size=1m"]),
                              Mount(type="bind", target="/etc/hosts", source="/mine")])["mounts"]
    places = [mount["destination"] for mount in mounts]
    assert places.count("/dev/shm") == places.count("/etc/hosts") == 1
    assert places.index("/a") < places.index("/a/b")
    by_place = {mount["destination"]: mount for mount in mounts}
    assert by_place["/a/b"]["options"] == ["rbind", "rprivate", "rro"]
    assert by_place["/etc/hosts"]["source"] == "/mine"


def test_what_replaces_a_file_of_etc_finds_a_file() -> None:
    spec = compiled(mounts=[Mount(type="tmpfs", target="/etc/hostname"), Mount(type="bind", target="/a", source="/1")])
    assert spec["kist"]["files"] == ["/.dockerenv", "/etc/hostname"]


def test_privileged_takes_every_fence_down() -> None:
    spec = compiled(Privileged=True, facts={"devices": (Device("/dev/kvm", "c", 10, 232),)})
    linux = spec["linux"]
    assert linux["maskedPaths"] == linux["readonlyPaths"] == []
    assert "seccomp" not in linux
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert linux["devices"][0]["path"] == "/dev/kvm"
    assert "CAP_SYS_ADMIN" in spec["process"]["capabilities"]["effective"]
    assert all("ro" not in mount["options"] for mount in spec["mounts"] if mount["destination"].startswith("/sys"))
    assert "cgroup" not in {entry["type"] for entry in linux["namespaces"]}


def test_limits_reach_the_resources() -> None:
    limits = compiled(Memory=64 << 20, NanoCpus=1_500_000_000, PidsLimit=7, CpuShares=512, CpusetCpus="0-1",
                      MemoryReservation=32 << 20, BlkioWeight=300)["linux"]["resources"]
    assert limits["memory"] == {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20}
    assert limits["cpu"] == {"shares": 512, "cpus": "0-1", "period": 100_000, "quota": 150_000}
    assert limits["pids"] == {"limit": 7}
    assert limits["blockIO"] == {"weight": 300}


def test_unlimited_is_no_limit() -> None:
    limits = compiled(PidsLimit=-1, MemorySwap=-1, Memory=8 << 20)["linux"]["resources"]
    assert "pids" not in limits
    assert limits["memory"]["swap"] == -1


def test_another_user_keeps_the_bounding_set_only() -> None:
    process = compiled(facts={"user": User(uid=5, gid=6, additional=(6, 7), home="/h")})["process"]
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [6, 7]}
    assert process["capabilities"]["effective"] == process["capabilities"]["permitted"] == []
    assert process["capabilities"]["bounding"]
    assert "HOME=/h" in process["env"]


def test_a_terminal() -> None:
    process = compiled(config={"Tty": True}, ConsoleSize=[30, 90])["process"]
    assert process["terminal"] is True
    assert process["consoleSize"] == {"height": 30, "width": 90}
    assert "TERM=xterm" in process["env"]


def test_a_name_without_value_takes_a_variable_away() -> None:
    assert not any(entry.startswith("PATH") for entry in compiled(config={"Env": ["PATH"]})["process"]["env"])


@pytest.mark.parametrize(("field", "kind"), [("PidMode", "pid"), ("IpcMode", "ipc"), ("UTSMode", "uts"),
                                             ("NetworkMode", "network"), ("CgroupnsMode", "cgroup")])
def test_the_hosts_namespace_is_no_namespace_of_its_own(field: str, kind: str) -> None:
    host: dict[str, Any] = {field: "host"}
    spec = compiled(**host)
    assert kind not in {entry["type"] for entry in spec["linux"]["namespaces"]}


def test_joining_another_container_is_known_at_start_only() -> None:
    host = normalized(PidMode=f"container:{'d' * 64}")
    assert is_late(host)
    assert not is_late(normalized(NetworkMode=f"container:{'d' * 64}"))
    spec = compiled(PidMode=f"container:{'d' * 64}", facts={"namespace_paths": {"pid": "/proc/5/ns/pid"}})
    assert {"type": "pid", "path": "/proc/5/ns/pid"} in spec["linux"]["namespaces"]


def test_network_sysctls_are_for_private_networks_only() -> None:
    assert compiled(NetworkMode="host")["linux"]["sysctl"] == {}
    assert compiled(Sysctls={"net.core.somaxconn": "5"})["linux"]["sysctl"]["net.core.somaxconn"] == "5"


def test_security_options() -> None:
    spec = compiled(SecurityOpt=["no-new-privileges", "seccomp=unconfined", "label=disable"])
    assert spec["process"]["noNewPrivileges"] is True
    assert "seccomp" not in spec["linux"]
    custom = compiled(SecurityOpt=['seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}'])
    assert custom["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ALLOW"


def test_the_seccomp_filter_follows_the_capabilities() -> None:
    def allowed(**host: Any) -> set[str]:
        rules = compiled(**host)["linux"]["seccomp"]["syscalls"]
        return {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}

    assert "mount" not in allowed()
    assert "mount" in allowed(CapAdd=["SYS_ADMIN"])


@pytest.mark.parametrize(("add", "drop", "has", "lacks"), [
    (["net_admin"], None, "CAP_NET_ADMIN", "CAP_SYS_ADMIN"),
    (None, ["chown"], "CAP_KILL", "CAP_CHOWN"),
    (["ALL"], ["CAP_SYS_TIME"], "CAP_SYS_ADMIN", "CAP_SYS_TIME"),
    (["CHOWN"], ["ALL"], "CAP_CHOWN", "CAP_KILL"),
    (None, None, "CAP_CHOWN", "CAP_SYS_ADMIN"),
])
def test_capabilities(add: list[str] | None, drop: list[str] | None, has: str, lacks: str) -> None:
    found = effective(add, drop, privileged=False)
    assert has in found
    assert lacks not in found


def test_a_capability_that_the_kernel_lacks_is_not_asked_for() -> None:
    assert effective(["ALL"], None, privileged=False, known=frozenset({"CAP_CHOWN"})) == ["CAP_CHOWN"]


@pytest.mark.parametrize(("asked", "options"), [
    ([], ["noexec", "nosuid", "nodev"]),
    (["exec", "size=1m"], ["nosuid", "nodev", "size=1m"]),
    (["ro", "mode=700"], ["noexec", "nosuid", "nodev", "ro", "mode=700"]),
])
def test_tmpfs_options(asked: list[str], options: list[str]) -> None:
    assert tmpfs_options(asked) == options


def test_an_exec_has_its_own_words_on_the_containers_ground() -> None:
    record = ContainerRecord(id="c", name="n", created=1, image="i", image_id="s", host=normalized(),
                             config={"Hostname": "box", "Env": ["A=1"], "WorkingDir": "/w", "User": ""})
    body = {"Cmd": ["ls", "-l"], "Env": ["A=2", "B=3"], "Tty": False, "Privileged": True}
    process = exec_process(record, body, User())
    assert process["args"] == ["ls", "-l"]
    assert process["cwd"] == "/w"
    assert {"A=2", "B=3"} <= set(process["env"])
    assert "A=1" not in process["env"]
    assert "CAP_SYS_ADMIN" in process["capabilities"]["effective"]


@pytest.mark.parametrize(("field", "value", "words"), [
    ("Memory", 1 << 20, "Minimum memory limit allowed is 6MB"),
    ("NanoCpus", 5_000_000_000, "Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
    ("NanoCpus", 1000, "Range of CPUs"),
    ("MemorySwap", 5 << 20, "You should always set the Memory limit when using Memoryswap limit"),
    ("MemorySwappiness", 101, "valid memory swappiness range is 0-100"),
    ("CpusetCpus", "0-9", "Requested CPUs are not available - requested 0-9, available: 0-3"),
    ("CpusetCpus", "x", "Invalid value x for cpuset cpus"),
    ("BlkioWeight", 5, "Range of blkio weight is from 10 to 1000"),
    ("OomScoreAdj", 2000, "range for oom score adj is [-1000, 1000]"),
    ("ShmSize", -1, "SHM size can not be less than 0"),
    ("Ulimits", [{"Name": "foo", "Soft": 1, "Hard": 2}], "invalid ulimit type: foo"),
    ("Ulimits", [{"Name": "nofile", "Soft": 3, "Hard": 2}], "ulimit soft limit must be less than"),
    ("RestartPolicy", {"Name": "maybe"}, "unknown policy 'maybe'"),
    ("RestartPolicy", {"Name": "always", "MaximumRetryCount": 2}, "can only be used with 'on-failure'"),
    ("CapAdd", ["FOO"], 'invalid CapAdd: unknown capability: "CAP_FOO"'),
    ("PidMode", "weird", "invalid PID mode: weird"),
    ("Runtime", "runsc", "unknown or invalid runtime name: runsc"),
    ("SecurityOpt", ["foo=bar"], "invalid --security-opt 2"),
    ("SecurityOpt", ["seccomp={"], "Decoding seccomp profile failed"),
    ("LogConfig", {"Type": "splunk"}, 'plugin "splunk" not found'),
    ("LogConfig", {"Type": "json-file", "Config": {"max-zise": "1m"}}, "unknown log opt 'max-zise'"),
    ("Sysctls", {"kernel.panic": "1"}, "is not in a separate kernel namespace"),
    ("DeviceCgroupRules", ["x"], "invalid device cgroup rule format"),
    ("DeviceRequests", [{"Count": -1, "Capabilities": [["gpu", "x"]]}],
     'could not select device driver "" with capabilities: [[gpu x]]'),
    ("CpuRealtimeRuntime", 1000, "Your kernel does not support CPU real-time scheduler"),
    ("StorageOpt", {"size": "huge"}, "invalid size: 'huge'"),
    ("StorageOpt", {"size": "-1"}, "invalid size: '-1'"),
    ("StorageOpt", {"size": "1M"}, "at least 4MB"),
    ("StorageOpt", {"dm.basesize": "1G"}, "Unknown option dm.basesize"),
    ("NetworkRate", {"Egress": 10}, "less than 1000 bytes per second"),
    ("UsernsMode", "remap", "invalid userns mode"),
    ("CpuCount", 3, "Windows"),
])
def test_what_can_not_be_honoured_is_refused(field: str, value: Any, words: str) -> None:
    with pytest.raises(KistError) as caught:
        normalized(**{field: value})
    assert words in str(caught.value)
    assert caught.value.status in (400, 501)


def test_auto_remove_and_a_policy_exclude_each_other() -> None:
    with pytest.raises(InvalidParameter, match="can't create 'AutoRemove' container with restart policy"):
        normalized(AutoRemove=True, RestartPolicy={"Name": "always"})


def test_inspect_finds_every_field() -> None:
    host = normalized()
    assert host["NetworkMode"] == "bridge"
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert host["ShmSize"] == 64 << 20
    assert host["Binds"] is None
    assert set(host) == set(bodies.HostConfig.__struct_fields__) - set(hostconfig.GONE)


def test_logs_are_bounded_by_default() -> None:
    assert logdrivers.limits(normalized()["LogConfig"], Config()) == logdrivers.Limits(20 << 20, 5, False)
    given = normalized(LogConfig={"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}})
    assert logdrivers.limits(given["LogConfig"], Config()) == logdrivers.Limits(1 << 20, 3, False)


@pytest.mark.parametrize(("text", "rule"), [
    ("c 13:* rwm", {"allow": True, "type": "c", "major": 13, "access": "rwm"}),
    ("a *:* r", {"allow": True, "type": "a", "access": "r"}),
])
def test_device_rules(text: str, rule: dict[str, Any]) -> None:
    assert device_rule(text) == rule


def test_sets_of_numbers() -> None:
    assert parse_set("0-2,7") == {0, 1, 2, 7}
    assert format_set(frozenset({0, 1, 2, 7})) == "0-2,7"
    for text in ("", "2-1", "a", "1-"):
        with pytest.raises(ValueError):
            parse_set(text)
