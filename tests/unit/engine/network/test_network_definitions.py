"""The request to create a network, what is chosen for it, and the file that keeps it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from kist.engine.network import inspection
from kist.engine.network.addressing import Addresses
from kist.engine.network.definitions import (
    Definitions,
    choose_default,
    complete,
    define,
    predefined,
    unique_local,
)
from kist.engine.network.ipam import DEFAULT_POOLS
from kist.engine.network.validation import parse_rate
from kist.errors import EngineFailure, Forbidden, InvalidParameter, KistError, NotFound


def test_the_least_request() -> None:
    network = define({"Name": "front"})
    assert (network.driver, network.ipv4, network.ipv6, network.internal) == ("bridge", True, False, False)
    assert network.bridge == f"kb{network.id[:12]}"
    complete(network, [], [], DEFAULT_POOLS)
    assert [(one.subnet, one.gateway) for one in network.subnets] == [("10.89.0.0/24", "10.89.0.1")]


def test_everything_asked_for() -> None:
    network = define({
        "Name": "back", "Internal": True, "EnableIPv6": True, "Labels": {"a": "b"}, "Attachable": True,
        "Options": {"com.docker.network.bridge.name": "br-back", "com.docker.network.driver.mtu": "1400"},
        "IPAM": {"Config": [{"Subnet": "10.5.0.0/16", "IPRange": "10.5.4.0/24", "Gateway": "10.5.0.9",
                             "AuxiliaryAddresses": {"printer": "10.5.4.7"}}]},
    })
    complete(network, [], [], DEFAULT_POOLS)
    four, six = network.subnets
    assert (four.subnet, four.gateway, four.ip_range, four.reserved) == (
        "10.5.0.0/16", "10.5.0.9", "10.5.4.0/24", {"printer": "10.5.4.7"})
    assert six.subnet == unique_local(network.id)
    assert (network.bridge, network.mtu, network.labels) == ("br-back", 1400, {"a": "b"})


def test_a_named_subnet_may_lie_over_a_route_but_not_over_another_network() -> None:
    taken = [ip_network("10.5.0.0/16")]
    network = define({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.5.1.0/24"}]}})
    complete(network, [], taken, DEFAULT_POOLS)
    with pytest.raises(Forbidden, match="Pool overlaps"):
        complete(define({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.5.1.0/24"}]}}), taken, taken, DEFAULT_POOLS)


def test_unique_local_subnets_are_valid_and_the_networks_own() -> None:
    assert unique_local("0123456789" + "0" * 54) == "fd01:2345:6789::/64"


@pytest.mark.parametrize(("body", "error"), [
    ({}, InvalidParameter), ({"Name": "a\nb"}, InvalidParameter), ({"Name": "\x1b[2J"}, InvalidParameter),
    ({"Name": "\u202ex"}, InvalidParameter), ({"Name": "\x00"}, InvalidParameter),
    ({"Name": "x", "Driver": "odd"}, NotFound), ({"Name": "x", "Driver": "host"}, Forbidden),
    ({"Name": "x", "IPAM": {"Driver": "odd"}}, NotFound),
    ({"Name": "x", "Options": {"com.docker.network.driver.mtu": "9" * 5000}}, InvalidParameter),
    ({"Name": "x", "Options": {"com.docker.network.driver.mtu": "4294967296"}}, InvalidParameter),
    ({"Name": "x", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "::ffff:10.0.1.0/120"}]}}, InvalidParameter),
    ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.0.0.0/99"}]}}, InvalidParameter),
    ({"Name": "x", "EnableIPv4": False}, InvalidParameter),
    ({"Name": "x", "Options": {"com.docker.network.bridge.name": "a-name-that-is-too-long"}}, InvalidParameter),
    ({"Name": "x", "Options": {"com.docker.network.bridge.name": 'x"; flush ruleset'}}, InvalidParameter),
    ({"Name": "x", "Options": {"com.docker.network.driver.mtu": "big"}}, InvalidParameter),
    ({"Name": "x", "Driver": "ipvlan", "Options": {"parent": "eth0", "ipvlan_mode": "l9"}}, InvalidParameter),
])
def test_what_is_refused(body: dict[str, Any], error: type[KistError]) -> None:
    with pytest.raises(error):
        define(body)


DOCKER = "com.docker.network."


def asked(subnet: str, **more: Any) -> dict[str, Any]:
    return {"IPAM": {"Config": [{"Subnet": subnet, **more}]}}


@pytest.mark.parametrize(("body", "error", "words"), [
    ({"Name": ""}, InvalidParameter, "invalid name: name is empty"),
    ({"Driver": "none"}, NotFound, 'plugin "none" not found'),
    (asked("10.0.1.5/24"), InvalidParameter,
     "invalid network config:\ninvalid subnet 10.0.1.5/24: it should be 10.0.1.0/24"),
    (asked("10.0.1.0"), InvalidParameter,
     "invalid network config:\ninvalid subnet 10.0.1.0: invalid CIDR block notation"),
    (asked("", Gateway="10.0.0.1"), InvalidParameter,
     "invalid network config:\ninvalid subnet : invalid CIDR block notation"),
    (asked("10.0.1.0/255.255.255.0"), InvalidParameter,
     "invalid network config:\ninvalid subnet 10.0.1.0/255.255.255.0: invalid CIDR block notation"),
    (asked("10.0.1.0/024"), InvalidParameter,
     "invalid network config:\ninvalid subnet 10.0.1.0/024: invalid CIDR block notation"),
    ({"IPAM": {"Config": [{"Subnet": "10.0.1.0/24"}, {}]}}, InvalidParameter,
     "invalid network config:\ninvalid subnet : invalid CIDR block notation"),
    ({"IPAM": {"Driver": "null"}}, InvalidParameter, "ipv4 pool is empty"),
    ({"IPAM": {"Driver": "null", "Config": [{"Subnet": "10.0.1.0/24"}]}}, InvalidParameter,
     "null ipam driver does not handle specific address pool requests"),
    ({"IPAM": {"Driver": "null"}, "EnableIPv6": True}, InvalidParameter,
     "null ipam driver does not handle IPv6 address pool requests"),
    ({"EnableIPv6": True, **asked("fd00:1::/128")}, EngineFailure,
     "failed to allocate gateway (): no available addresses on this pool"),
    ({"EnableIPv6": True, **asked("fd00:1::/127", Gateway="fd00:1::")}, Forbidden,
     "failed to allocate gateway (fd00:1::): Address already in use"),
    ({"Driver": "overlay", "Attachable": True}, Forbidden,
     'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
     "and try again."),
    ({"Ingress": True, "Scope": "swarm"}, Forbidden, "Ingress network can only be global scope network"),
    ({"Scope": "swarm"}, Forbidden, "cannot create a swarm scoped network when swarm is not active"),
    (asked("10.0.1.0/24", IPRange="10.0.1.7/25", Gateway="10.1.0.1", AuxiliaryAddresses={"a": "x"}), InvalidParameter,
     "invalid network config:\n"
     "* invalid ip-range 10.0.1.7/25: it should be 10.0.1.0/25\n"
     "* invalid gateway 10.1.0.1: parent subnet 10.0.1.0/24 doesn't contain this address\n"
     "* invalid auxiliary address a: invalid address"),
    (asked("10.0.1.0/24", IPRange="10.0.0.0/16"), InvalidParameter,
     "invalid network config:\ninvalid ip-range 10.0.0.0/16: CIDR block is bigger than its parent subnet 10.0.1.0/24"),
    (asked("10.0.1.0/24", IPRange="fd00::/64"), InvalidParameter,
     "invalid network config:\ninvalid ip-range fd00::/64: parent subnet is an IPv4 block"),
    (asked("10.0.1.0/24", Gateway="10.0.1.0"), Forbidden,
     "failed to allocate gateway (10.0.1.0): Address already in use"),
    (asked("10.0.1.0/24", Gateway="10.0.1.255"), Forbidden,
     "failed to allocate gateway (10.0.1.255): Address already in use"),
    (asked("10.0.1.0/24", AuxiliaryAddresses={"a": "10.0.1.1"}), Forbidden,
     "failed to allocate secondary ip address (a:10.0.1.1): Address already in use"),
    (asked("10.0.1.0/24", AuxiliaryAddresses={"a": "10.0.1.9", "b": "10.0.1.9"}), Forbidden,
     "failed to allocate secondary ip address (b:10.0.1.9): Address already in use"),
    ({"IPAM": {"Config": [{"Subnet": "10.0.1.0/24"}, {"Subnet": "10.0.2.0/24"}]}}, Forbidden,
     "bridge driver doesn't support multiple subnets"),
    ({"Options": {DOCKER + "driver.mtu": "abc"}}, InvalidParameter,
     f'failed to parse {DOCKER}driver.mtu value: abc (strconv.Atoi: parsing "abc": invalid syntax)'),
    ({"Options": {DOCKER + "driver.mtu": ""}}, InvalidParameter,
     f'failed to parse {DOCKER}driver.mtu value:  (strconv.Atoi: parsing "": invalid syntax)'),
    ({"Options": {DOCKER + "driver.mtu": "99999999999999999999"}}, InvalidParameter,
     f"failed to parse {DOCKER}driver.mtu value: 99999999999999999999 "
     '(strconv.Atoi: parsing "99999999999999999999": value out of range)'),
    ({"Options": {DOCKER + "bridge.host_binding_ipv4": "x"}}, InvalidParameter,
     f"failed to parse {DOCKER}bridge.host_binding_ipv4 value: x (nil ip)"),
    ({"Options": {DOCKER + "host_ipv4": ""}}, InvalidParameter,
     f"failed to parse {DOCKER}host_ipv4 value:  (nil ip)"),
    ({"Options": {DOCKER + "driver.mtu": "-5"}}, InvalidParameter, "invalid MTU number: -5"),
    ({"Options": {DOCKER + "bridge.enable_icc": "maybe"}}, InvalidParameter,
     f'failed to parse {DOCKER}bridge.enable_icc value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)'),
    ({"Options": {DOCKER + "bridge.host_binding_ipv4": "fd00::1"}}, InvalidParameter,
     f"failed to parse {DOCKER}bridge.host_binding_ipv4 value: fd00::1 (no IPv4 address)"),
    ({"Options": {DOCKER + "bridge.trusted_host_interfaces": "eth1"}}, InvalidParameter,
     f"unsupported option {DOCKER}bridge.trusted_host_interfaces of a network"),
    ({"Options": {DOCKER + "enable_ipv6": "maybe"}}, InvalidParameter,
     f'driver-opt "{DOCKER}enable_ipv6" is not a valid bool'),
    ({"Options": {DOCKER + "bridge.name": "a/b"}}, InvalidParameter,
     "invalid bridge name 'a/b': at most 15 letters, digits, . _ -"),
    ({"Driver": "macvlan", "Options": {"parent": "lo"}}, InvalidParameter,
     "loopback interface is not a valid macvlan parent link"),
    ({"Driver": "macvlan", "Options": {"macvlan_mode": "odd"}}, InvalidParameter,
     "requested macvlan mode 'odd' is not valid, 'bridge' mode is the macvlan driver default"),
    ({"Driver": "ipvlan", "Options": {"ipvlan_flag": "odd"}}, InvalidParameter,
     "requested ipvlan flag 'odd' is not valid, 'bridge' is the ipvlan driver default"),
])
def test_it_is_told_in_dockers_words(body: dict[str, Any], error: type[KistError], words: str) -> None:
    with pytest.raises(error) as told:
        define({"Name": "x", **body})
    assert told.value.message == words


@pytest.mark.parametrize("name", ["a b", "../x", "..", "/", "日本😀", "a\"b", "<b>", "-x", "container:x", "x" * 255])
def test_a_name_is_whatever_can_be_printed(name: str) -> None:
    assert define({"Name": name}).name == name


@pytest.mark.parametrize(("subnet", "kept"), [("FD00:1::/64", "fd00:1::/64"), ("fd00:1:0::/64", "fd00:1::/64")])
def test_ipv6_subnets_may_be_written_otherwise(subnet: str, kept: str) -> None:
    assert define({"Name": "x", "EnableIPv6": True, **asked(subnet)}).subnets[0].subnet == kept


@pytest.mark.parametrize("scope", ["local", "global", "odd"])
def test_a_scope_is_kept_and_shown(scope: str) -> None:
    network = define({"Name": "x", "Scope": scope, "Attachable": True})
    assert (inspection.network(network, [])["Scope"], inspection.network(network, [])["Attachable"]) == (scope, True)


# -- configuration networks -------------------------------------------------------------------------------------

SETTINGS = {"Name": "settings", "ConfigOnly": True, "Options": {DOCKER + "driver.mtu": "1400"}, "Labels": {"a": "b"},
            **asked("10.0.7.0/24", Gateway="10.0.7.5", IPRange="10.0.7.128/25", AuxiliaryAddresses={"x": "10.0.7.9"})}


def test_a_configuration_is_no_network_and_one_is_made_of_it() -> None:
    settings = define(SETTINGS)
    shown = inspection.network(settings, [])
    assert (shown["ConfigOnly"], shown["Driver"], shown["ConfigFrom"]) == (True, "null", {"Network": ""})
    assert (settings.bridge, settings.config_only) == ("", True)
    network = define({"Name": "x", "ConfigFrom": {"Network": "settings"}, "Internal": True}, [settings])
    made = inspection.network(network, [])
    assert (made["ConfigOnly"], made["Driver"], made["ConfigFrom"]) == (False, "bridge", {"Network": "settings"})
    assert [made[key] for key in ("Options", "Labels", "IPAM")] == [shown[key] for key in ("Options", "Labels", "IPAM")]
    assert (made["Internal"], network.mtu) == (True, 1400)


def test_what_a_configuration_means_is_seen_when_it_is_used() -> None:
    settings = define({"Name": "s", "ConfigOnly": True, "Driver": "odd", "IPAM": {"Driver": "odd"},
                       "Options": {DOCKER + "driver.mtu": "big"}})
    assert inspection.network(settings, [])["IPAM"] == {"Driver": "odd", "Options": None, "Config": None}
    with pytest.raises(NotFound, match='plugin "odd" not found'):
        define({"Name": "x", "ConfigFrom": {"Network": "s"}}, [settings])


def test_nobody_can_be_on_a_configuration() -> None:
    settings, addresses = define(SETTINGS), Addresses()
    addresses.add(settings)
    with pytest.raises(Forbidden, match="cannot create endpoint on configuration-only network"):
        addresses.attachment("c" * 64, settings, {}, interface="eth0", names=[])


@pytest.mark.parametrize(("body", "error", "words"), [
    *[({"ConfigOnly": True, key: value}, Forbidden,
       "configuration network can only contain network specific fields. Network operator fields like "
       "[ ingress | internal | attachable | scope ] are not supported.")
      for key, value in (("Internal", True), ("Attachable", True), ("Ingress", True), ("Scope", "swarm"),
                         ("Scope", "local"))],
    ({"ConfigOnly": True, "ConfigFrom": {"Network": "settings"}}, Forbidden,
     "a configuration network cannot depend on another configuration network"),
    ({"ConfigOnly": True, **asked("10.0.1.5/24")}, InvalidParameter,
     "invalid network config:\ninvalid subnet 10.0.1.5/24: it should be 10.0.1.0/24"),
    ({"ConfigFrom": {"Network": "other"}}, NotFound, 'configuration network "other" does not exist'),
    ({"ConfigFrom": {"Network": "plain"}}, NotFound, 'configuration network "plain" does not exist'),
    ({"ConfigFrom": {"Network": "settings"}, "Options": {"a": "b"}}, Forbidden,
     "network driver options are not supported if the network depends on a configuration network"),
    *[({"ConfigFrom": {"Network": "settings"}, **more}, Forbidden,
       "user specified configurations are not supported if the network depends on a configuration network")
      for more in ({"Labels": {"a": "b"}}, {"EnableIPv6": True}, asked("10.0.9.0/24"), {"IPAM": {"Driver": "null"}},
                   {"IPAM": {"Options": {"a": "b"}}})],
])
def test_configurations_in_dockers_words(body: dict[str, Any], error: type[KistError], words: str) -> None:
    with pytest.raises(error) as told:
        define({"Name": "x", **body}, [define(SETTINGS), define({"Name": "plain"})])
    assert told.value.message == words


def test_options_may_ask_for_a_family_and_what_is_said_of_none_is_let_be() -> None:
    network = define({"Name": "x", "Options": {DOCKER + "enable_ipv6": "true"}, **asked("fd00:1::/64")})
    assert (network.ipv4, network.ipv6) == (True, True)
    without = define({"Name": "x", **asked("fd00:1::/64")})
    complete(without, [], [], DEFAULT_POOLS)
    assert [one.subnet for one in without.subnets] == ["10.89.0.0/24"]


def test_the_default_networks_subnet() -> None:
    network = predefined("kist0")[0]
    choose_default(network, None, "10.88.0.0/16", [], DEFAULT_POOLS)
    assert (network.subnets[0].subnet, network.subnets[0].gateway) == ("10.88.0.0/16", "10.88.0.1")
    choose_default(network, None, "10.88.0.0/16", [ip_network("10.88.3.0/24")], DEFAULT_POOLS)
    assert network.subnets[0].subnet == "10.89.0.0/24"
    choose_default(network, ("10.7.0.9", 24), "10.88.0.0/16", [], DEFAULT_POOLS)
    assert (network.subnets[0].subnet, network.subnets[0].gateway) == ("10.7.0.0/24", "10.7.0.9")


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    kept = Definitions(str(tmp_path / "networks"))
    assert kept.load() == []
    network = define({"Name": "../front ü", "Labels": {"ü": "ß"}})
    kept.save(network)
    assert kept.load() == [network]
    network.name = "other"
    kept.save(network)
    assert kept.load() == [network]
    kept.remove(network)
    kept.remove(network)
    assert kept.load() == []


@pytest.mark.parametrize(("text", "bits"), [("", 0), ("8mbit", 8_000_000), ("500kbit", 500_000), ("1Gbit", 10**9),
                                            ("900", 900)])
def test_rates(text: str, bits: int) -> None:
    assert parse_rate(text) == bits


@pytest.mark.parametrize("text", ["fast", "0", "-1mbit", "1.5.5mbit", "10mbyte", "mbit"])
def test_bad_rates(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid rate"):
        parse_rate(text)
