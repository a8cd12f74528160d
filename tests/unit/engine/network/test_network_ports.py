"""What `-p` means, and the host's ports that are held."""

from __future__ import annotations

import resource
import socket
from typing import Any

import pytest

from kist.engine.network.model import Port
from kist.engine.network.ports import HostPorts, Wanted, wanted_ports
from kist.errors import EngineFailure, InvalidParameter


def test_bindings_in_the_apis_words() -> None:
    assert wanted_ports({"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "53/udp": None, "22": [{}]}) == [
        Wanted("tcp", 80, "", 8080, 8080), Wanted("tcp", 22, "", 0, 0), Wanted("udp", 53, "", 0, 0)]


def test_several_places_for_one_port() -> None:
    assert wanted_ports({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000-8010"}, {"HostIp": "::1"}]}) == [
        Wanted("tcp", 80, "127.0.0.1", 8000, 8010), Wanted("tcp", 80, "::1", 0, 0)]


def test_what_is_free_to_choose_comes_last() -> None:
    assert [one.port for one in wanted_ports({"80/tcp": [{"HostPort": "8000-8001"}], "79/tcp": [{}],
                                              "81/tcp": [{"HostPort": "8000"}]})] == [81, 80, 79]


def test_publish_all_adds_the_exposed() -> None:
    assert wanted_ports({"80/tcp": [{"HostPort": "1"}]}, ["80/tcp", "81/udp"], publish_all=True) == [
        Wanted("tcp", 80, "", 1, 1), Wanted("udp", 81, "", 0, 0)]
    assert wanted_ports(None, ["80/tcp"]) == []


@pytest.mark.parametrize("bindings", [
    {"x/tcp": None}, {"0/tcp": None}, {"65536/tcp": None}, {"80/icmp": None}, {"80/tcp": [{"HostPort": "x"}]},
    {"80/tcp": [{"HostPort": "9-8"}]}, {"80/tcp": [{"HostPort": "70000"}]}, {"80/tcp": [{"HostIp": "localhost"}]},
])
def test_nonsense_is_refused(bindings: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        wanted_ports(bindings)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def test_a_held_port_is_refused_to_the_next_container() -> None:
    ports, number = HostPorts(), free_port()
    held = ports.hold("a", [Wanted("tcp", 80, "127.0.0.1", number, number)], ipv4=True, ipv6=False)
    assert held == [Port("tcp", 80, "127.0.0.1", number)]
    with pytest.raises(EngineFailure, match=f"Bind for 127.0.0.1:{number} failed: port is already allocated"):
        ports.hold("b", [Wanted("tcp", 80, "127.0.0.1", number, number)], ipv4=True, ipv6=False)
    assert ports.let_go("a") == held
    assert ports.hold("b", [Wanted("tcp", 80, "127.0.0.1", number, number)], ipv4=True, ipv6=False) == held
    ports.close()


def test_a_port_of_the_hosts_own_programs_is_told_apart() -> None:
    ports = HostPorts()
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with pytest.raises(EngineFailure, match=f"failed to bind host port for 127.0.0.1:{number}/tcp: addr"):
            ports.hold("a", [Wanted("tcp", 80, "127.0.0.1", number, number)], ipv4=True, ipv6=False)


def test_a_program_of_the_host_cant_take_a_held_port() -> None:
    ports, number = HostPorts(), free_port()
    ports.hold("a", [Wanted("tcp", 80, "127.0.0.1", number, number)], ipv4=True, ipv6=False)
    with pytest.raises(OSError):
        socket.create_server(("127.0.0.1", number))
    ports.close()


def test_a_held_port_refuses_connections() -> None:
    ports, number = HostPorts(), free_port()
    ports.hold("a", [Wanted("tcp", 80, "127.0.0.1", number, number)], ipv4=True, ipv6=False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), timeout=5)
    ports.close()


def test_all_or_nothing() -> None:
    ports, number = HostPorts(), free_port()
    ports.hold("a", [Wanted("udp", 53, "127.0.0.1", number, number)], ipv4=True, ipv6=False)
    with pytest.raises(EngineFailure):
        ports.hold("b", [Wanted("tcp", 1, "127.0.0.1", number, number),
                         Wanted("udp", 53, "127.0.0.1", number, number)], ipv4=True, ipv6=False)
    assert ports.let_go("b") == []
    ports.close()


def test_range_takes_the_first_free() -> None:
    ports, number = HostPorts(), free_port()
    ports.hold("a", [Wanted("udp", 1, "127.0.0.1", number, number)], ipv4=True, ipv6=False)
    held = ports.hold("b", [Wanted("udp", 1, "127.0.0.1", number, number + 5)], ipv4=True, ipv6=False)
    assert number < held[0].host_port <= number + 5
    ports.close()


def test_ephemeral_port() -> None:
    ports = HostPorts()
    (held,) = ports.hold("a", [Wanted("tcp", 80, "127.0.0.1")], ipv4=True, ipv6=False)
    assert held.host_port > 0
    ports.close()


def test_an_address_that_isnt_the_hosts() -> None:
    with pytest.raises(EngineFailure, match="cannot assign requested address"):
        HostPorts().hold("a", [Wanted("tcp", 80, "203.0.113.77", 4444, 4444)], ipv4=True, ipv6=False)


def test_ipv6_place_for_a_container_without_ipv6() -> None:
    with pytest.raises(EngineFailure, match="no IPv6 address"):
        HostPorts().hold("a", [Wanted("tcp", 80, "::1", 4444, 4444)], ipv4=True, ipv6=False)


def test_what_stays_stays_bound_when_the_rest_changes() -> None:
    ports = HostPorts()
    first = ports.hold("web", [Wanted("tcp", 80, "127.0.0.1"), Wanted("tcp", 81, "127.0.0.1")], ipv4=True, ipv6=False)
    fixed = first[1].host_port
    after = ports.change("web", [Wanted("tcp", 80, "127.0.0.1"), Wanted("tcp", 90, "127.0.0.1", fixed, fixed),
                                 Wanted("udp", 53, "127.0.0.1")], ipv4=True, ipv6=False)
    assert after[0] == first[0]
    assert after[1] == Port("tcp", 90, "127.0.0.1", fixed)
    assert (after[2].proto, after[2].port) == ("udp", 53)
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(("127.0.0.1", fixed))
    assert ports.change("web", [], ipv4=True, ipv6=False) == []
    with socket.socket() as other:
        other.bind(("127.0.0.1", fixed))
    ports.close()


def test_a_change_that_can_not_be_leaves_what_was() -> None:
    ports = HostPorts()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        wanted = [Wanted("tcp", 80, "127.0.0.1"), Wanted("tcp", 81, "127.0.0.1")]
        held = ports.hold("web", wanted, ipv4=True, ipv6=False)
        with pytest.raises(EngineFailure):
            ports.change("web", [Wanted("tcp", 80, "127.0.0.1"), Wanted("tcp", 82, "127.0.0.1", number, number)],
                         ipv4=True, ipv6=False)
    assert sorted(ports.let_go("web"), key=lambda port: port.port) == held


def test_a_protocol_that_the_kernel_lacks() -> None:
    """SCTP is a module that few load: no socket holds such a port, and still it is one container's alone."""
    ports = HostPorts({"sctp": (socket.SOCK_STREAM, 255)})  # a number that no kernel has
    (any_,) = ports.hold("a", [Wanted("sctp", 99, "")], ipv4=True, ipv6=False)
    (other,) = ports.hold("b", [Wanted("sctp", 99, "")], ipv4=True, ipv6=False)
    assert 0 < any_.host_port != other.host_port > 0
    with pytest.raises(EngineFailure, match=f"Bind for 127.0.0.1:{any_.host_port} failed: port is already allocated"):
        ports.hold("c", [Wanted("sctp", 98, "127.0.0.1", any_.host_port, any_.host_port)], ipv4=True, ipv6=False)
    ports.let_go("a")
    assert ports.hold("c", [Wanted("sctp", 98, "", any_.host_port, any_.host_port)], ipv4=True, ipv6=False)


def test_ports_leave_the_server_files_to_open() -> None:
    """An image may expose every port there is; with -P each would take one of the server's files."""
    ports = HostPorts(most=3)
    every = [Wanted("tcp", port, "127.0.0.1") for port in range(1, 5)]
    assert len(ports.hold("few", every[:3], ipv4=True, ipv6=False)) == 3
    with pytest.raises(EngineFailure, match="too many published ports: 3 are held"):
        ports.hold("more", every[3:], ipv4=True, ipv6=False)
    ports.let_go("few")
    with pytest.raises(EngineFailure, match="too many published ports"):
        ports.hold("all", every, ipv4=True, ipv6=False)
    assert len(ports.hold("again", every[:3], ipv4=True, ipv6=False)) == 3  # of what failed nothing is held
    ports.close()


def test_no_file_left_is_no_unknown_protocol() -> None:
    ports, limits = HostPorts(), resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        with pytest.raises(EngineFailure, match="too many open files"):
            ports.hold("a", [Wanted("tcp", 80, "127.0.0.1")], ipv4=True, ipv6=False)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
