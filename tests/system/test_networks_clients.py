"""Networks as their users meet them: `kist` and the real `docker` against a real server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import docker
import pytest

from support import needs
from support.daemon import Daemon, docker_command
from support.hub import free_port
from support.network import eventually

# Questions that aren't about containers go to a resolver that refuses at once (`--dns 127.0.0.1`), not to the
# machine's.
WEB = ("busybox", "sh", "-c", "mkdir /w; hostname > /w/index.html; exec busybox httpd -f -p 80 -h /w")


def curl(port: str) -> str:
    done = subprocess.run(["curl", "-s", "-m", "5", f"http://127.0.0.1:{port}/"], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip()


@pytest.fixture
def net(daemon: Daemon) -> Iterator[str]:
    """A user network, gone after the test."""
    name = f"net-{daemon.tag}"
    assert daemon.docker("network", "create", name).returncode == 0
    yield name
    daemon.clean()
    daemon.docker("network", "rm", name)


def test_names_between_containers(daemon: Daemon, net: str) -> None:
    daemon.ok("run", "-d", "--name", "web", "--network", net, "--network-alias", "site", "-h", "webhost", *WEB)
    for name in ("web", "site", f"web.{net}"):
        assert daemon.ok("run", "--rm", "--network", net, "busybox", "wget", "-qO-", f"http://{name}/") == "webhost"
    resolv = daemon.ok("run", "--rm", "--network", net, "busybox", "cat", "/etc/resolv.conf")
    assert "nameserver 127.0.0.11\n" in resolv + "\n"
    alone = daemon.kist("run", "--rm", "--dns", "127.0.0.1", "busybox", "wget", "-qO-", "http://web/")
    assert alone.returncode != 0


def test_published_ports_by_the_docker_client(daemon: Daemon) -> None:
    done = daemon.docker("run", "-d", "--name", "web", "-h", "webhost", "-p", "127.0.0.1::80", *WEB)
    assert done.returncode == 0, done.stderr
    place = daemon.docker("port", "web", "80/tcp").stdout.strip()
    assert place.startswith("127.0.0.1:")
    port = place.rpartition(":")[2]
    assert eventually(lambda: curl(port) == "webhost")  # it has only just been started
    assert f"127.0.0.1:{port}->80/tcp" in daemon.docker("ps").stdout
    again = daemon.docker("run", "--name", "two", "-p", f"127.0.0.1:{port}:80", *WEB)
    assert again.returncode == 125
    assert f"Bind for 127.0.0.1:{port} failed: port is already allocated" in again.stderr
    daemon.docker("stop", "-t", "0", "web")
    assert curl(port) == ""


def test_connect_and_disconnect_while_it_runs(daemon: Daemon, net: str) -> None:
    daemon.ok("run", "-d", "--name", "web", "-h", "webhost", "--dns", "127.0.0.1", *WEB)
    daemon.ok("run", "-d", "--name", "asker", "--network", net, "--dns", "127.0.0.1", "busybox", "sleep", "600")
    ask = ("exec", "asker", "wget", "-qO-", "http://site/")
    assert daemon.kist(*ask).returncode != 0
    done = daemon.docker("network", "connect", "--alias", "site", net, "web")
    assert done.returncode == 0, done.stderr
    assert daemon.ok(*ask) == "webhost"
    assert daemon.ok("exec", "web", "nslookup", "asker").count("Address") == 2  # the other way round, too
    shown = json.loads(daemon.docker("network", "inspect", net).stdout)[0]["Containers"]
    assert sorted(one["Name"] for one in shown.values()) == ["asker", "web"]
    refused = daemon.docker("network", "rm", net)
    assert refused.returncode == 1
    assert "has active endpoints" in refused.stderr
    assert daemon.docker("network", "disconnect", net, "web").returncode == 0
    assert daemon.kist(*ask).returncode != 0
    assert sorted(json.loads(daemon.ok("inspect", "web"))[0]["NetworkSettings"]["Networks"]) == ["bridge"]


def test_everything_survives_the_servers_death(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    name = f"net-{daemon.tag}"
    daemon.ok("pull", "-q", "busybox")
    daemon.ok("network", "create", name)
    daemon.ok("run", "-d", "--name", "web", "-h", "webhost", "--network", name, "-p", "127.0.0.1::80", *WEB)
    daemon.ok("run", "-d", "--name", "asker", "--network", name, "busybox", "sleep", "600")
    port = daemon.docker("port", "web", "80/tcp").stdout.strip().rpartition(":")[2]
    daemon.kill()
    assert eventually(lambda: curl(port) == "webhost")  # it has only just been started
    daemon.start()
    assert curl(port) == "webhost"
    assert daemon.ok("exec", "asker", "wget", "-qO-", "http://web/") == "webhost"
    late = daemon.ok("run", "--rm", "--network", name, "busybox", "wget", "-qO-", "http://web/")
    assert late == "webhost"
    daemon.ok("rm", "-f", "web", "asker")
    assert curl(port) == ""
    daemon.ok("network", "rm", name)


def test_internal_network_and_static_address(daemon: Daemon) -> None:
    name = f"in-{daemon.tag}"
    third = int(daemon.tag[:2], 16)
    made = daemon.docker("network", "create", "--internal", "--subnet", f"10.250.{third}.0/24", name)
    assert made.returncode == 0, made.stderr
    try:
        done = daemon.docker("run", "--rm", "--network", name, "--ip", f"10.250.{third}.77", "busybox", "ip", "addr")
        assert f"10.250.{third}.77/24" in done.stdout
        routes = daemon.docker("run", "--rm", "--network", name, "busybox", "ip", "route").stdout
        assert "default" not in routes
    finally:
        assert daemon.docker("network", "rm", name).returncode == 0


def test_the_map(daemon: Daemon, net: str) -> None:
    daemon.ok("run", "-d", "--name", "web", "--network", net, "-p", "127.0.0.1::80", *WEB)
    daemon.ok("run", "-d", "--name", "old", "busybox", "sleep", "600")
    port = daemon.docker("port", "web", "80/tcp").stdout.strip()
    lines = daemon.ok("network", "map").splitlines()
    assert any(line.startswith(" ━┷━┯━") and "  host" in line for line in lines)  # and its addresses, if any
    assert any("●" in line and " web " in line and f"{port} → 80/tcp" in line for line in lines)
    found = json.loads(daemon.ok("network", "map", "--json", net))
    assert [one["Name"] for one in found["Containers"]] == ["web"]
    assert {(way["From"], way["To"]) for way in found["Reach"]} >= {("host", found["Containers"][0]["Id"])}
    assert daemon.ok("network", "map", "--svg").startswith("<svg ")
    unknown = daemon.kist("network", "map", "nowhere")
    assert unknown.returncode == 1
    assert "network nowhere not found" in unknown.stderr


def test_a_network_s_rate_is_for_all_of_its_containers(daemon: Daemon) -> None:
    name = f"slow-{daemon.tag}"
    bad = daemon.kist("network", "create", "--network-rate", "fast", name)
    assert bad.returncode == 1
    assert "invalid rate 'fast'" in bad.stderr
    daemon.ok("network", "create", "--network-rate", "8mbit", name)
    assert json.loads(daemon.docker("network", "inspect", name).stdout)[0]["Options"] == {"kist.rate": "8mbit"}
    identity = daemon.ok("network", "inspect", "-f", "{{.Id}}", name)[:12]
    before = sent(f"ko{identity}")
    for number in range(2):
        daemon.ok("run", "--rm", "--network", name, "busybox", "ping", "-c1", "-s1000", gateway(daemon, name))
        assert sent(f"ko{identity}") >= before + (number + 1) * 1000  # what both have sent went through one queue
    daemon.clean()
    assert daemon.command("ip", "link", "show", f"ko{identity}").returncode == 1


def gateway(daemon: Daemon, name: str) -> str:
    return daemon.ok("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", name)


def sent(device: str) -> int:
    """Bytes that went through the device's token bucket of 8 Mbit/s."""
    shown = subprocess.run(["tc", "-s", "qdisc", "show", "dev", device], capture_output=True, text=True,
                           check=True).stdout
    found = re.search(r"rate 8Mbit.*?Sent (\d+) bytes", shown, re.DOTALL)
    assert found is not None, shown
    return int(found[1])


def test_link_local_addresses(daemon: Daemon, net: str) -> None:
    asked = ("--link-local-ip", "169.254.7.7", "--link-local-ip", "fe80::77")
    for network in ("bridge", net):
        shown = daemon.docker("run", "--rm", "--network", network, *asked, "busybox", "ip", "-o", "addr")
        assert shown.returncode == 0, shown.stderr
        assert "inet 169.254.7.7/16" in shown.stdout
        assert "inet6 fe80::77/64" in shown.stdout
    done = daemon.docker("create", "--network", net, "--link-local-ip", "10.9.9.9", "busybox")
    assert "invalid link local IP address: 10.9.9.9" in done.stderr


def test_who_is_in_anothers_network_and_that_one_goes(daemon: Daemon) -> None:
    """`container:ID` over two hops; when the owner has ended there is no network left, but the container goes on."""
    daemon.ok("run", "-d", "--name", "owner", "--hostname", "owners", "busybox", "sleep", "600")
    daemon.ok("run", "-d", "--name", "guest", "--network", "container:owner", "busybox", "sleep", "600")
    join = ("run", "--rm", "--network", "container:guest", "busybox")
    done = daemon.docker(*join, "sh", "-c", "hostname; ip -o -4 addr show eth0; grep owners /etc/hosts")
    address = daemon.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "owner")
    assert done.stdout.startswith("owners\n")
    assert f"inet {address}/" in done.stdout
    assert f"{address}\towners" in done.stdout
    daemon.ok("stop", "-t", "0", "owner")
    assert "eth0" not in daemon.ok("exec", "guest", "ip", "-o", "link")
    assert "cannot join network of a non running container" in daemon.docker("restart", "-t", "0", "guest").stderr
    daemon.ok("start", "owner", "guest")
    daemon.ok("rm", "-f", "owner")
    assert daemon.ok(*join, "cat", "/etc/hostname") == daemon.ok("exec", "guest", "hostname")


@needs.docker_28
def test_an_endpoints_options_by_the_docker_client(daemon: Daemon, net: str) -> None:
    """Docker's command sends options in small letters, also IFNAME."""
    option = "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    named = "driver-opt=com.docker.network.endpoint.ifname=front0"
    read = ("busybox", "sh", "-c", "cd /proc/sys/net/ipv4/conf; cat front0/log_martians; ip route | grep default")
    assert daemon.docker("network", "create", "another").returncode == 0  # its name comes first
    done = daemon.docker("run", "--rm", "--network", "name=another",
                         "--network", f"name={net},gw-priority=1,{option},{named}", *read)
    assert done.stdout.split() == ["1", "default", "via", gateway(daemon, net), "dev", "front0"], done.stderr
    wrong = daemon.docker("run", "--rm", "--network", f"name={net},driver-opt=com.docker.network.endpoint.mtu=9",
                          "busybox", "true")
    assert "unsupported driver option com.docker.network.endpoint.mtu" in wrong.stderr


def test_what_connect_and_disconnect_refuse(daemon: Daemon, net: str) -> None:
    for name, mode in (("one", "bridge"), ("hosts", "host"), ("nothing", "none"), ("guest", "container:one")):
        daemon.ok("run", "-d", "--name", name, "--network", mode, "busybox", "sleep", "600")
    daemon.ok("create", "--name", "still", "busybox")
    of_the_host = "container cannot be disconnected from host network or connected to host network"
    shared = ("container sharing network namespace with another container or host cannot be connected to any other "
              "network")
    for words, told in (
        (("connect", "nosuch", "nosuch"), "No such container: nosuch"),
        (("connect", "host", "one"), of_the_host), (("disconnect", "host", "hosts"), of_the_host),
        (("connect", net, "hosts"), shared), (("connect", net, "guest"), shared),
        (("connect", net, "nothing"), "container cannot be connected to multiple networks with one of the networks in "
                                      "private (none) mode"),
        (("connect", "bridge", "one"), "endpoint with name one already exists in network bridge"),
        (("disconnect", net, "still"), "is not connected to the network " + net),
        (("disconnect", net, "one"), "is not connected to network " + net),
        (("disconnect", "-f", net, "nosuch"), "endpoint nosuch not found"),
        (("ls", "--filter", "type=odd"), "invalid filter: 'type'='odd'"),
        (("ls", "--filter", "dangling=maybe"), "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or "
                                               '"false" (or "0")'),
        (("create", "none"), "operation is not permitted on predefined none network"),
    ):
        done = daemon.docker("network", *words)
        assert (done.returncode, told in done.stderr) == (1, True), (words, done.stderr)


def test_host_gateway_is_where_the_host_answers(daemon: Daemon, net: str) -> None:
    assert daemon.docker("network", "create", "--internal", "inner").returncode == 0
    fetch = ("--add-host", "box:host-gateway", "busybox", "timeout", "5", "nc", "box")
    with socket.create_server(("0.0.0.0", 0)) as listening:
        listening.settimeout(10)
        for mode in ("bridge", net, "inner", "host"):
            with subprocess.Popen([docker_command(), "run", "--rm", "--network", mode, *fetch,
                                   str(listening.getsockname()[1])], env=daemon.env, stdin=subprocess.DEVNULL) as run:
                listening.accept()[0].close()
            assert run.returncode == 0, mode


def test_ranges_and_exposed_ports(daemon: Daemon) -> None:
    """`-p` with as many ports on either side, one of several, and `-P` for a range of `--expose`."""
    serve = "for n in 80 81 82; do mkdir /$n; echo $n >/$n/index.html; httpd -p $n -h /$n; done; sleep 600"
    first = free_range(4)
    done = daemon.docker("run", "-d", "--name", "web", "-P", "--expose", "82-83", "-p", f"{first}-{first + 1}:80-81",
                         "-p", f"127.0.0.1:{first}-{first + 3}:82", "busybox", "sh", "-c", serve)
    assert done.returncode == 0, done.stderr

    def places(port: str) -> list[str]:
        return daemon.docker("port", "web", port).stdout.split()

    assert (places("80"), places("81")) == ([f"0.0.0.0:{first}"], [f"0.0.0.0:{first + 1}"])
    assert places("82") == [f"127.0.0.1:{first + 2}"]  # the first one of the range that the others leave
    assert re.fullmatch(r"0\.0\.0\.0:\d+", "".join(places("83")))
    for number in range(3):
        assert eventually(partial(serves, first + number, str(80 + number)))
    wrong = daemon.docker("run", "--rm", "-p", "8000-8005:9000-9003", "busybox", "true")
    assert "nvalid ranges specified for container and host Ports: 9000-9003 and 8000-8005" in wrong.stderr


def serves(port: int, text: str) -> bool:
    return curl(str(port)) == text


def free_range(length: int) -> int:
    """The first of so many ports in a row that nobody has now."""
    for first in range(20000, 30000, length):
        with ExitStack() as stack:
            try:
                for number in range(first, first + length):
                    stack.enter_context(socket.create_server(("0.0.0.0", number)))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


def test_addresses_and_resolver_options(daemon: Daemon) -> None:
    made = daemon.docker("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "--subnet", "10.77.9.0/24", "dual")
    assert made.returncode == 0, made.stderr
    done = daemon.docker(
        "run", "--rm", "--network", "dual", "--ip", "10.77.9.9", "--ip6", "fd00:77::9", "--mac-address",
        "02:00:00:00:00:77", "--dns", "192.0.2.53", "--dns-search", "corp.test", "--dns-opt", "ndots:3", "busybox",
        "sh", "-c", "ip -o addr show eth0; ip -o link show eth0; cat /etc/resolv.conf")
    for word in ("inet 10.77.9.9/24", "inet6 fd00:77::9/64", "02:00:00:00:00:77", "nameserver 127.0.0.11\n",
                 "search corp.test\n", "options ndots:3\n"):
        assert word in done.stdout, done.stdout + done.stderr
    daemon.clean()


def test_the_containers_own_mac_address_is_the_first_networks(daemon: Daemon) -> None:
    """As clients before API 1.44 say it, beside an address for that network."""
    daemon.ok("network", "create", "--subnet", "10.77.10.0/24", "old")
    client = docker.APIClient(f"unix://{daemon.socket}", version="1.41")
    try:
        place = client.create_networking_config({"old": client.create_endpoint_config(ipv4_address="10.77.10.9")})
        host = client.create_host_config(network_mode="old")
        made = client.create_container("busybox", ["sleep", "60"], mac_address="02:00:00:00:00:78",
                                       networking_config=place, host_config=host)
        client.start(made["Id"])
        assert "link/ether 02:00:00:00:00:78" in daemon.ok("exec", made["Id"], "ip", "link", "show", "eth0")
    finally:
        client.close()
        daemon.clean()


@pytest.mark.parametrize("network", ["bridge", "own"])
def test_sysctls_of_an_interface(daemon: Daemon, net: str, network: str) -> None:
    """They are set while the container is made: its interfaces are there by then."""
    done = daemon.ok("run", "--rm", "--network", net if network == "own" else network,
                     "--sysctl", "net.ipv4.conf.eth0.log_martians=1", "--network-rate", "10mbit",
                     "busybox", "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians")
    assert done == "1"


def test_a_network_that_can_not_be_wired(daemon: Daemon, net: str) -> None:
    """It turns out while the container is made: the start fails, nothing runs, and what it held is free again."""
    bridge = f"kb{json.loads(daemon.ok('network', 'inspect', net))[0]['Id'][:12]}"
    port = free_port()
    daemon.ok("create", "--name", "unlucky", "--network", net, "-p", f"127.0.0.1:{port}:80", *WEB)
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    done = daemon.kist("start", "unlucky")
    assert (done.returncode, f"{bridge}: No such device" in done.stderr) == (1, True), done.stderr
    state = json.loads(daemon.ok("inspect", "unlucky"))[0]["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("created", 128, 0)
    assert "No such device" in state["Error"]
    assert daemon.ok("logs", "unlucky") == ""
    daemon.ok("run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "true")
