"""`--network-rate`: what the kernel holds a container to, read from its queues (tc) in the container's namespace."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from support import needs
from support.daemon import Daemon

ASLEEP = ("busybox", "sleep", "1000")


def queues(daemon: Daemon, name: str, *, counted: bool = False) -> str:
    pid = daemon.ok("inspect", "-f", "{{.State.Pid}}", name)
    return subprocess.run(["nsenter", "-t", pid, "-n", "tc", *(["-s"] if counted else []), "qdisc", "show"], check=True,
                          capture_output=True, text=True).stdout


def held(daemon: Daemon, name: str) -> dict[str, str]:
    """Device → rate of its token bucket."""
    return dict(re.findall(r"qdisc tbf \S+ dev (\S+) root .*?rate (\S+)", queues(daemon, name)))


def by_kind(found: dict[str, str]) -> tuple[set[str], set[str]]:
    """(rates of devices that send, rates of the detours that incoming packets go)."""
    return ({rate for device, rate in found.items() if not device.startswith("kist-in")},
            {rate for device, rate in found.items() if device.startswith("kist-in")})


@pytest.fixture
def networks(daemon: Daemon) -> Iterator[tuple[str, str]]:
    names = f"one-{daemon.tag}", f"two-{daemon.tag}"
    for name in names:
        daemon.ok("network", "create", name)
    yield names
    daemon.clean()
    daemon.kist("network", "rm", *names)


def test_both_ways_or_each_by_itself(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "aa", "--network-rate", "10mbit", *ASLEEP)
    assert by_kind(held(daemon, "aa")) == ({"10Mbit"}, {"10Mbit"})
    assert json.loads(daemon.ok("inspect", "-f", "{{json .HostConfig.NetworkRate}}", "aa")) == {
        "Egress": 1_250_000, "Ingress": 1_250_000}
    daemon.ok("run", "-d", "--name", "bb", "--network-rate", "egress=8mbit,ingress=2mbps", *ASLEEP)
    assert by_kind(held(daemon, "bb")) == ({"8Mbit"}, {"16Mbit"})
    daemon.ok("run", "-d", "--name", "cc", *ASLEEP)
    assert held(daemon, "cc") == {}
    assert "NetworkRate" not in json.loads(daemon.ok("inspect", "cc"))[0]["HostConfig"]


def test_packets_wait_and_all_arrive(daemon: Daemon) -> None:
    """3 MB each way at 1 MB/s: more than the bucket holds, so the kernel must have made packets wait."""
    server = ("busybox", "sh", "-c", "mkdir /w; head -c 3000000 /dev/zero > /w/big; exec busybox httpd -f -h /w")
    daemon.ok("run", "-d", "--name", "peer", *server)
    daemon.ok("run", "-d", "--name", "slow", "--network-rate", "8mbit", *server)
    for here, there in (("slow", "peer"), ("peer", "slow")):
        address = daemon.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", there)
        fetch = f"until busybox wget -qO /got http://{address}/big; do sleep 0.1; done; wc -c < /got"
        assert daemon.ok("exec", here, "sh", "-c", fetch) == "3000000"
    waits = [int(times) for times in re.findall(r"qdisc tbf.*?overlimits (\d+)", queues(daemon, "slow", counted=True),
                                                re.DOTALL)]
    assert len(waits) == 2
    assert all(waits)


def test_every_network_also_one_that_comes_later(daemon: Daemon, networks: tuple[str, str]) -> None:
    one, two = networks
    daemon.ok("create", "--name", "aa", "--network", one, "--network-rate", "egress=4mbit,ingress=5mbit", *ASLEEP)
    daemon.ok("network", "connect", "bridge", "aa")
    daemon.ok("start", "aa")
    assert sorted(held(daemon, "aa").values()) == ["4Mbit"] * 2 + ["5Mbit"] * 2
    daemon.ok("network", "connect", two, "aa")
    assert sorted(held(daemon, "aa").values()) == ["4Mbit"] * 3 + ["5Mbit"] * 3
    daemon.ok("restart", "-t", "0", "aa")
    assert sorted(held(daemon, "aa").values()) == ["4Mbit"] * 3 + ["5Mbit"] * 3


def test_update_changes_it_while_it_runs(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "aa", *ASLEEP)
    for words, sends, receives in (
            ("3mbit", {"3Mbit"}, {"3Mbit"}), ("ingress=7mbit", {"3Mbit"}, {"7Mbit"}), ("egress=0", set(), {"7Mbit"}),
            ("0", set(), set()), ("1mbit", {"1Mbit"}, {"1Mbit"})):
        daemon.ok("update", "--network-rate", words, "aa")
        assert by_kind(held(daemon, "aa")) == (sends, receives), words
    daemon.ok("update", "--memory", "64m", "aa")  # somebody else's update leaves it alone
    assert by_kind(held(daemon, "aa")) == ({"1Mbit"}, {"1Mbit"})
    daemon.ok("restart", "-t", "0", "aa")
    assert by_kind(held(daemon, "aa")) == ({"1Mbit"}, {"1Mbit"})


def test_an_endpoints_rate_holds_again_when_the_containers_ends(daemon: Daemon, networks: tuple[str, str]) -> None:
    daemon.ok("run", "-d", "--name", "aa", "--network", f"name={networks[0]},driver-opt=kist.rate=6mbit",
              "--network-rate", "egress=2mbit", *ASLEEP)
    assert by_kind(held(daemon, "aa"))[0] == {"2Mbit"}
    daemon.ok("update", "--network-rate", "0", "aa")
    assert by_kind(held(daemon, "aa"))[0] == {"6Mbit"}


def test_a_killed_server_changes_nothing(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    daemon.ok("run", "-d", "--name", "aa", "--network-rate", "9mbit", *ASLEEP)
    daemon.restart()
    assert by_kind(held(daemon, "aa")) == ({"9Mbit"}, {"9Mbit"})
    daemon.ok("update", "--network-rate", "egress=2mbit", "aa")
    assert by_kind(held(daemon, "aa")) == ({"2Mbit"}, {"9Mbit"})


@needs.docker_28
def test_docker_asks_by_an_annotation(daemon: Daemon) -> None:
    done = daemon.docker("run", "-d", "--name", "aa", "--annotation", "kist.network-rate=egress=5mbit", *ASLEEP)
    assert done.returncode == 0, done.stderr
    assert held(daemon, "aa") == {"eth0": "5Mbit"}
    assert json.loads(daemon.docker("inspect", "aa").stdout)[0]["HostConfig"]["NetworkRate"] == {"Egress": 625_000}
    done = daemon.docker("create", "--annotation", "kist.network-rate=fast", "busybox")
    assert (done.returncode, "invalid rate 'fast'" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(("options", "words"), [
    (("--network", "host", "--network-rate", "1mbit"), "its network mode is host"),
    (("--network", "none", "--network-rate", "1mbit"), "its network mode is none"),
    (("--network-rate", "1mb"), 'invalid argument "1mb" for "--network-rate" flag: invalid rate'),
    (("--network-rate", "100"), "at least 8kbit"),
])
def test_what_makes_no_sense(daemon: Daemon, options: tuple[str, ...], words: str) -> None:
    done = daemon.kist("run", "--rm", *options, "busybox", "true")
    assert done.returncode == 125
    assert words in done.stderr
    assert daemon.ok("ps", "-aq") == ""


def test_another_containers_network_is_that_ones(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "aa", *ASLEEP)
    done = daemon.kist("run", "--network", "container:aa", "--network-rate", "1mbit", "busybox", "true")
    assert (done.returncode, "a network of the container's own" in done.stderr) == (125, True)
