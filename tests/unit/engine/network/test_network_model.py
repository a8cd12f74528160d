"""Endpoints and networks in the API's words, ways out, filters."""

from __future__ import annotations

from typing import Any

import pytest

from kist.engine.network import definitions, inspection
from kist.engine.network.addressing import Addresses, check_endpoint, gateways, way_out
from kist.engine.network.definitions import define
from kist.engine.network.firewall import Published
from kist.engine.network.model import Attachment, Endpoint, Network, Port, Subnet
from kist.engine.network.translate import place, published
from kist.errors import InvalidParameter


def attachment(name: str, **more: Any) -> Attachment:
    return Attachment(f"{name}-id", name, f"{name}-endpoint", **more)


def network(name: str = "front", **more: Any) -> Network:
    made = define({"Name": name, **more})
    made.subnets = [Subnet("10.1.0.0/24", "10.1.0.1"), Subnet("fd01::/64", "fd01::1")]
    return made


def test_the_record_brings_the_endpoint_back() -> None:
    endpoint = Endpoint("c" * 64, "front", "web", [attachment("front", ip="10.1.0.2", names=["web"])],
                        [Port("tcp", 80, "0.0.0.0", 8080)], ["80/tcp"], netns_fd=7)
    again = Endpoint.from_record(endpoint.record())
    assert again.netns_fd is None
    assert again.record() == endpoint.record()
    assert (again.ip, again.name, again.resolver, again.ports) == ("10.1.0.2", "front", "127.0.0.11", endpoint.ports)


def test_port_map() -> None:
    endpoint = Endpoint("c", "bridge", ports=[Port("tcp", 80, "0.0.0.0", 8080), Port("tcp", 80, "::", 8080)],
                        exposed=["53/udp", "80/tcp"])
    assert endpoint.port_map() == {"53/udp": None, "80/tcp": [
        {"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]}


def test_settings_name_every_network() -> None:
    places = [attachment("front", ip="10.1.0.2"), attachment("bridge", ip="10.88.0.2")]
    endpoint = Endpoint("c", "front", attachments=places)
    settings = endpoint.settings()
    assert settings["IPAddress"] == "10.88.0.2"
    assert settings["Networks"]["front"]["IPAddress"] == "10.1.0.2"
    assert Endpoint("c", "none").settings()["IPAddress"] == ""


def test_the_way_out_is_the_highest_priority_then_the_first_name() -> None:
    b, a = attachment("b", ip="1", gateway="10.2.0.1"), attachment("a", ip="2", gateway="10.1.0.1")
    inner = attachment("0", ip="3")
    assert way_out([inner, b, a]) is a
    assert gateways([inner, b, a]) == ("10.1.0.1", "")
    b.gateway_priority = 1
    assert way_out([inner, b, a]) is b
    assert way_out([inner]) is inner
    assert way_out([attachment("none")]) is None
    a.gateway6 = "fd00::1"
    assert gateways([b, a]) == ("10.2.0.1", "fd00::1")


def test_published_ports_of_both_families() -> None:
    both = Endpoint("c", "x", attachments=[attachment("x", ip="10.1.0.2", ip6="fd01::2", host_interface="kv1")],
                    ports=[Port("tcp", 80, "0.0.0.0", 8080), Port("tcp", 80, "::", 8080),
                           Port("udp", 1, "127.0.0.1", 2)])
    assert published(both) == {Published("tcp", "", 8080, "10.1.0.2", 80), Published("tcp", "", 8080, "fd01::2", 80),
                               Published("udp", "127.0.0.1", 2, "10.1.0.2", 1)}
    both.attachments[0].host_interface = ""  # macvlan
    assert published(both) == set()


def test_place_with_links() -> None:
    found = place(attachment("x", ip="10.1.0.2", names=["web"], asked={"Links": ["postgres:db", "cache"]}))
    assert found["links"] == {"db": "postgres", "cache": "cache"}


def test_addresses_are_taken_in_both_families_and_given_back() -> None:
    addresses, front = Addresses(), network()
    addresses.add(front)
    asked = {"IPAMConfig": {"IPv4Address": "10.1.0.77"}, "Aliases": ["db", "web"], "MacAddress": "02:00:00:00:00:AA"}
    one = addresses.attachment("c1", front, asked, interface="eth0", names=["web", "c1"])
    assert (one.ip, one.ip6, one.gateway, one.gateway6, one.mac) == (
        "10.1.0.77", "fd01::2", "10.1.0.1", "fd01::1", "02:00:00:00:00:aa")
    assert one.names == ["web", "c1", "db"]
    addresses.give_back(one)
    addresses.take_back("c2", one)
    with pytest.raises(InvalidParameter, match="no configured subnet"):
        addresses.attachment("c3", front, {"IPAMConfig": {"IPv4Address": "10.9.0.1"}}, interface="eth0", names=[])


def test_all_that_is_wrong_with_an_endpoint_is_told() -> None:
    def problems(net: Network, **asked: Any) -> list[str]:
        with pytest.raises(InvalidParameter) as caught:
            check_endpoint(net, asked)
        head, *found = caught.value.message.split("\n")
        assert head == "invalid endpoint settings:"
        return found

    front, only4 = network(), network()
    only4.subnets = [subnet for subnet in only4.subnets if "." in subnet.subnet]
    assert problems(front, IPAMConfig={"IPv4Address": "10.9.0.1"}) == [
        "no configured subnet or ip-range contain the IP address 10.9.0.1"]
    assert problems(only4, IPAMConfig={"IPv4Address": "nope", "IPv6Address": "fd01::7", "LinkLocalIPs": ["no"]}) == [
        "* invalid IPv4 address: nope", "* invalid link-local IP address: no",
        "* no configured subnet or ip-range contain the IP address nope",
        "* user specified IP address is supported only when connecting to networks with user configured subnets"]
    front.predefined = True
    assert problems(front, IPAMConfig={"IPv4Address": "10.1.0.9"}, Aliases=["a"]) == [
        "* user specified IP address is supported on user defined networks only",
        "* network-scoped alias is supported only for containers in user defined networks"]
    check_endpoint(front, {})
    front.predefined = False
    check_endpoint(front, {"IPAMConfig": {"IPv4Address": "10.1.0.9", "IPv6Address": "fd01::9"}, "Aliases": ["a"]})


def test_half_taken_addresses_are_given_back() -> None:
    addresses, front = Addresses(), network()
    addresses.add(front)
    bad = {"IPAMConfig": {"IPv4Address": "10.1.0.5", "IPv6Address": "fd01::1"}}
    with pytest.raises(Exception, match="already in use"):
        addresses.attachment("c1", front, bad, interface="eth0", names=[])
    good = addresses.attachment("c2", front, {"IPAMConfig": {"IPv4Address": "10.1.0.5"}}, interface="eth0", names=[])
    assert good.ip == "10.1.0.5"


def test_network_inspection() -> None:
    front = network(Labels={"a": "b"})
    shown = inspection.network(front, [("c1", "web", attachment("front", ip="10.1.0.2", prefixlen=24, mac="m"))])
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"},
                                       {"Subnet": "fd01::/64", "Gateway": "fd01::1"}]
    assert shown["Containers"] == {"c1": {"Name": "web", "EndpointID": "front-endpoint", "MacAddress": "m",
                                          "IPv4Address": "10.1.0.2/24", "IPv6Address": ""}}
    front.created = 1_700_000_000_120_000_000
    assert inspection.network(front, [])["Created"] == "2023-11-14T22:13:20.12Z"


@pytest.mark.parametrize(("filters", "passes"), [
    ({}, True), ({"name": ["fro"]}, True), ({"name": ["x"]}, False), ({"driver": ["bridge"]}, True),
    ({"driver": ["host"]}, False), ({"label": ["a"]}, True), ({"label": ["a=b", "c"]}, False),
    ({"label!": ["c"]}, True), ({"type": ["custom"]}, True), ({"type": ["builtin"]}, False),
    ({"dangling": ["true"]}, False), ({"dangling": ["false"]}, True), ({"scope": ["local"]}, True),
    ({"name": ["front"], "driver": ["host"]}, False), ({"name": ["^fr.*t$"]}, True), ({"name": ["^ront"]}, False),
    ({"name": ["["]}, False), ({"scope": ["swarm"]}, False), ({"name": []}, True), ({"name": [""]}, True),
])
def test_filters(filters: dict[str, list[str]], *, passes: bool) -> None:
    assert inspection.matches(network(Labels={"a": "b"}), filters, in_use=True) is passes


def test_configurations_are_of_the_driver_null_and_dangle() -> None:
    settings = definitions.define({"Name": "x", "ConfigOnly": True})
    for filters in ({"driver": ["null"]}, {"dangling": ["true"]}, {"type": ["custom"]}, {"scope": ["local"]}):
        assert inspection.matches(settings, filters, in_use=False)
    assert not inspection.matches(settings, {"driver": ["bridge", "configuration"]}, in_use=False)


def test_unknown_filters_are_refused() -> None:
    with pytest.raises(InvalidParameter):
        inspection.matches(network(), {"odd": ["x"]}, in_use=False)


# What Docker 26 prints of a network on which a container is (`docker network inspect`), and EnableIPv4, which 28 adds.
DOCKER_KEYS = {
    "": {"Name", "Id", "Created", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "IPAM", "Internal", "Attachable",
         "Ingress", "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels"},
    "IPAM": {"Driver", "Options", "Config"}, "ConfigFrom": {"Network"},
}
DOCKER_MEMBER = {"Name", "EndpointID", "MacAddress", "IPv4Address", "IPv6Address"}


@pytest.mark.parametrize(("ipam", "options"), [({}, None), ({"Driver": "default", "Options": {}, "Config": []}, {})])
def test_inspect_has_docker_s_keys_and_no_others(ipam: dict[str, Any], options: dict[str, str] | None) -> None:
    member = ("c" * 64, "web", attachment("front", ip="10.1.0.2", prefixlen=24))
    found = inspection.network(network(IPAM=ipam), [member])
    assert set(found) == DOCKER_KEYS[""]
    assert all(set(found[part]) == DOCKER_KEYS[part] for part in ("IPAM", "ConfigFrom"))
    assert found["IPAM"]["Config"][0] == {"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}
    assert found["IPAM"]["Options"] == options
    assert set(found["Containers"]["c" * 64]) == DOCKER_MEMBER
    assert found["Containers"]["c" * 64]["IPv4Address"] == "10.1.0.2/24"
