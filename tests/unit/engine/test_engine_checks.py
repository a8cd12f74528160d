"""What a create request may not ask for, and Docker's words for it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from kist.api import bodies
from kist.engine import checks, hostconfig
from kist.engine.config import Config
from kist.engine.limits import Machine
from kist.engine.mountpoints import mount_points
from kist.engine.places import Places
from kist.engine.prepare import cgroup_path
from kist.errors import InvalidParameter, NotSupported

MACHINE = Machine(cpus=4, online_cpus=frozenset(range(4)), memory_nodes=frozenset({0}))


def host(**fields: Any) -> dict[str, Any]:
    found = hostconfig.normalize(None, Config(), MACHINE)
    return {**found, **fields}


@pytest.mark.parametrize(("health", "words"), [
    ({"Interval": 100}, "Interval in Healthcheck cannot be less than 1ms"),
    ({"Timeout": -1}, "Timeout in Healthcheck cannot be less than 1ms"),
    ({"StartPeriod": 999_999}, "StartPeriod in Healthcheck cannot be less than 1ms"),
    ({"StartInterval": 1}, "StartInterval in Healthcheck cannot be less than 1ms"),
    ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
])
def test_healthchecks(health: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        checks.check({"Healthcheck": {"Test": ["CMD", "true"], **health}}, host(), {})


def test_a_millisecond_is_enough_and_zero_is_the_default() -> None:
    checks.check({"Healthcheck": {"Interval": 1_000_000, "Timeout": 0, "Retries": 3}}, host(), {})


@pytest.mark.parametrize(("field", "value", "words"), [
    ("Dns", ["nope"], "bad nameserver address nope"),
    ("Dns", [""], "bad nameserver address"),
    ("DnsSearch", ["a\nnameserver 6.6.6.6"], "invalid value for DnsSearch"),
    ("DnsOptions", ["a\nb"], "invalid value for DnsOptions"),
    ("ExtraHosts", ["nope"], 'bad format for add-host: "nope"'),
    ("ExtraHosts", ["a:b"], 'invalid IP address in add-host: "b"'),
    ("ExtraHosts", ["a:"], 'invalid IP address in add-host: ""'),
    ("ExtraHosts", [":1.2.3.4"], 'bad format for add-host: ":1.2.3.4"'),
    ("ExtraHosts", ["a\n1.2.3.4 b:1.2.3.4"], "bad format for add-host"),
    ("CgroupParent", "a\nb", "invalid cgroup parent"),
    ("Annotations", {"": "x"}, "the empty string is not permitted as an annotation key"),
])
def test_host_configuration(field: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        checks.check({}, host(**{field: value}), {})


def test_what_docker_takes() -> None:
    checks.check({}, host(Dns=["8.8.8.8", "::1", "fe80::1%eth0"], CgroupParent="/a/b",
                          ExtraHosts=["a:1.2.3.4", "b=::1", "c:::1", "d:[::1]", "gw:host-gateway"]), {})


@pytest.mark.parametrize(("ipam", "words"), [
    ({"LinkLocalIPs": ["10.254.3.3"]}, "invalid link local IP address: 10.254.3.3"),
])
def test_link_local_addresses(ipam: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        checks.check({}, host(), {"net": {"IPAMConfig": ipam}})


@pytest.mark.parametrize(("asked", "words"), [
    ({"Hostname": "x", "HostConfig": {"UTSMode": "host"}}, "conflicting options: hostname and the UTS mode"),
    ({"HostConfig": {"NetworkMode": "container:"}},
     "Invalid network mode: invalid container format container:<name|id>"),
    ({"Hostname": "x", "HostConfig": {"NetworkMode": "container:a"}},
     "conflicting options: hostname and the network mode"),
    ({"HostConfig": {"NetworkMode": "container:a", "Dns": ["1.1.1.1"]}},
     "conflicting options: dns and the network mode"),
    ({"HostConfig": {"NetworkMode": "container:a", "ExtraHosts": ["a:1.1.1.1"]}},
     "conflicting options: custom host-to-IP mapping and the network mode"),
    ({"HostConfig": {"NetworkMode": "container:a", "PublishAllPorts": True}},
     "conflicting options: port publishing and the container type network mode"),
    ({"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": "container:a"}},
     "conflicting options: port exposing and the container type network mode"),
])
def test_what_a_shared_namespace_leaves_no_room_for(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        checks.check_modes(asked)
    assert caught.value.message == words


def test_a_cgroup_parent_stays_below_the_root() -> None:
    assert [cgroup_path(parent, "id") for parent in ("/a/b", "a", "../../x/../y", "/", "a-b.slice")] == [
        "/a/b/id", "/a/id", "/y/id", "/id", "/a-b.slice/id"]


def test_what_fits_a_shared_namespace() -> None:
    checks.check_modes({})
    checks.check_modes({"Hostname": "x", "HostConfig": {"NetworkMode": "host", "Dns": ["1.1.1.1"]}})
    checks.check_modes({"HostConfig": {"NetworkMode": "container:a"}})


def test_what_the_kernel_cannot_weigh_is_dropped_and_said() -> None:
    poor = Machine(cpus=4, online_cpus=frozenset(range(4)), memory_nodes=frozenset({0}), block_weights=False)
    asked = bodies.HostConfig(BlkioWeight=5, KernelMemory=50 << 20,
                              BlkioWeightDevice=[bodies.WeightDevice(Path="/dev/x", Weight=1)])
    warnings: list[str] = []
    found = hostconfig.normalize(asked, Config(), poor, warnings)
    assert (found["BlkioWeight"], found["BlkioWeightDevice"], "KernelMemory" in found) == (0, [], False)
    assert [warning.partition(".")[0] for warning in warnings] == [
        "Your kernel has no limit of kernel memory",
        "Your kernel does not support Block I/O weight or the cgroup is not mounted",
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted"]
    with pytest.raises(InvalidParameter, match="Range of blkio weight is from 10 to 1000"):
        hostconfig.normalize(bodies.HostConfig(BlkioWeight=5), Config(), MACHINE)


def test_labels_are_taken_where_there_is_no_selinux() -> None:
    labelled = bodies.HostConfig(SecurityOpt=["label=user:x", "label:disable"])
    assert hostconfig.normalize(labelled, Config(), MACHINE)["SecurityOpt"] == ["label=user:x", "label:disable"]
    strict = Machine(cpus=4, online_cpus=frozenset(range(4)), memory_nodes=frozenset({0}), selinux=True)
    with pytest.raises(NotSupported, match="Kist sets no SELinux labels"):
        hostconfig.normalize(labelled, Config(), strict)


@pytest.mark.parametrize("option", ["nope", "size=x", "mode=z", "size=-1", "uid=me"])
def test_tmpfs_options_that_are_none(option: str) -> None:
    with pytest.raises(InvalidParameter, match=f'invalid tmpfs option "{option}"'):
        mount_points({"Tmpfs": {"/x": option}}, (), (), lambda: "n")


def test_of_an_option_that_is_none_the_key_is_said() -> None:
    with pytest.raises(InvalidParameter, match=r'invalid tmpfs option "nope"$'):
        mount_points({"Tmpfs": {"/x": "nope=1"}}, (), (), lambda: "n")


def test_tmpfs_options() -> None:
    text = "rw,noexec,nosuid,nodev,size=64m,mode=1777,uid=0,gid=5,nr_inodes=1k,size=50%,relatime"
    assert mount_points({"Tmpfs": {"/x": text}}, (), (), lambda: "n")[0].options == text.split(",")


def test_a_swappiness_of_minus_one_is_none() -> None:
    """Docker's client sends -1 for "not told"."""
    from kist.api import bodies

    assert hostconfig.normalize(bodies.HostConfig(MemorySwappiness=-1), Config(), MACHINE)["MemorySwappiness"] is None


def test_a_run_directory_goes_although_its_monitor_is_taking_its_own_names_away(tmp_path: Path) -> None:
    """Many names, so that the two meet: the monitor has but three."""
    places = Places(Config(data=str(tmp_path / "data"), run=str(tmp_path / "run")))
    folder = Path(places.run_dir("c"))
    names = [folder / str(number) for number in range(200)]

    def monitor() -> None:
        for name in reversed(names):
            name.unlink(missing_ok=True)

    for _ in range(10):
        places.make("c")
        for name in names:
            name.touch()
        thread = threading.Thread(target=monitor)
        thread.start()
        places.discard("c")
        thread.join()
        assert not folder.exists()
