"""Networks as they are defined: the request to create one (pure), and the file that keeps it.

    <data>/networks/<network id>.json      a `Network` as JSON, published by rename
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from kist.engine.network import validation
from kist.engine.network.ipam import Net, Pool, free_subnet, overlapping, parse_address, parse_subnet
from kist.engine.network.model import BRIDGE, CONFIG, DRIVERS, HOST, IPVLAN, MACVLAN, NONE, Network, Subnet, new_id
from kist.errors import Forbidden, InvalidParameter, NotFound
from kist.store.errors import storage_errors

Json = dict[str, Any]


def predefined(bridge: str) -> list[Network]:
    """The three networks that always exist."""
    now = time.time_ns()
    options = {
        "com.docker.network.bridge.default_bridge": "true", "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0", "com.docker.network.bridge.name": bridge,
        "com.docker.network.driver.mtu": "1500",
    }
    return [
        Network(new_id(), "bridge", BRIDGE, now, bridge=bridge, predefined=True, options=options),
        Network(new_id(), "host", HOST, now, predefined=True),
        Network(new_id(), "none", NONE, now, predefined=True),
    ]


def define(body: Json, others: Iterable[Network] = ()) -> Network:
    """The network that an API NetworkCreateRequest asks for; subnets that it leaves open stay open. Among `others` is
    the configuration network that it may name."""
    validation.check_name(str(body.get("Name") or ""))
    validation.check_swarm(body)
    configs = list((body.get("IPAM") or {}).get("Config") or [])
    validation.check_subnets(configs)
    source = str((body.get("ConfigFrom") or {}).get("Network") or "")
    if body.get("ConfigOnly"):
        validation.check_config_only(body, source)
        return _configuration(body, configs)
    if source:
        validation.check_config_from(body)
        body = {**body, **_settings(source, others)}
        configs = body["IPAM"]["Config"]
    return _defined(body, configs, source)


def _configuration(body: Json, configs: list[Json]) -> Network:
    """Settings for other networks: what they mean to a driver is seen when one is made of them."""
    ipam = body.get("IPAM") or {}
    return Network(
        new_id(), str(body["Name"]), CONFIG, time.time_ns(), ipv4=body.get("EnableIPv4") is not False,
        ipv6=bool(body.get("EnableIPv6")), subnets=[_as_given(config) for config in configs],
        options=_strings(body.get("Options")), labels=_strings(body.get("Labels")),
        ipam_driver=str(ipam.get("Driver") or "default"),
        ipam_options=None if ipam.get("Options") is None else _strings(ipam["Options"]),
    )


def _settings(name: str, others: Iterable[Network]) -> Json:
    """What a configuration network says, in the words of a request."""
    source = next((one for one in others if one.config_only and one.name == name), None)
    if source is None:
        raise NotFound(f'configuration network "{name}" does not exist')
    configs = [{"Subnet": one.subnet, "Gateway": one.gateway, "IPRange": one.ip_range,
                "AuxiliaryAddresses": one.reserved} for one in source.subnets]
    return {"EnableIPv4": source.ipv4, "EnableIPv6": source.ipv6, "Options": source.options, "Labels": source.labels,
            "IPAM": {"Driver": source.ipam_driver, "Options": source.ipam_options, "Config": configs}}


def _strings(given: Json | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in (given or {}).items()}


def _defined(body: Json, configs: list[Json], source: str) -> Network:
    """A network that containers can be on."""
    driver = str(body.get("Driver") or BRIDGE)
    if driver in (HOST, NONE):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver not in DRIVERS:
        raise NotFound(f"plugin {driver!r} not found".replace("'", '"'))
    ipam = body.get("IPAM") or {}
    validation.check_ipam_driver(str(ipam.get("Driver") or ""), configs, ipv6=bool(body.get("EnableIPv6")))
    validation.check_one_subnet(configs, driver)
    identity = new_id()
    options = _strings(body.get("Options"))
    ipv4, ipv6 = validation.families(options, ipv4=body.get("EnableIPv4") is not False,
                                     ipv6=bool(body.get("EnableIPv6")))
    network = Network(
        identity, str(body["Name"]), driver, time.time_ns(), scope=str(body.get("Scope") or "local"),
        config_from=source,
        bridge="" if driver != BRIDGE else options.get("com.docker.network.bridge.name") or f"kb{identity[:12]}",
        ipv4=ipv4, ipv6=ipv6,
        internal=bool(body.get("Internal")), attachable=bool(body.get("Attachable")),
        # As Docker: what is said of a family that the network doesn't have is let be.
        subnets=[found for config in configs if (ipv6 if ":" in (found := _subnet(config)).subnet else ipv4)],
        options=options, labels=_strings(body.get("Labels")),
        ipam_options=None if ipam.get("Options") is None else _strings(ipam["Options"]),
    )
    validation.check(network)
    if driver in (MACVLAN, IPVLAN):
        network.internal = network.internal or not network.option("parent")
    return network


def _as_given(config: Json) -> Subnet:
    return Subnet(str(config["Subnet"]), str(config.get("Gateway") or ""), str(config.get("IPRange") or ""),
                  _strings(config.get("AuxiliaryAddresses")))


def _subnet(config: Json) -> Subnet:
    found = _as_given(config)
    found.subnet = str(parse_subnet(found.subnet))
    pool = Pool(found.subnet, gateway=found.gateway, ip_range=found.ip_range)  # every address lies where it should
    for name, address in found.reserved.items():
        if not pool.reserve(address):
            raise Forbidden(f"failed to allocate secondary ip address ({name}:{address}): Address already in use")
    return found


def pool_of(subnet: Subnet) -> Pool:
    return Pool(subnet.subnet, gateway=subnet.gateway, ip_range=subnet.ip_range,
                reserved=subnet.reserved.values())


def contains(pool: Pool, address: str) -> bool:
    return parse_address(address) in pool.subnet


def complete(
    network: Network, ours: Sequence[Net], taken: Sequence[Net], pools: tuple[tuple[str, int], ...],
) -> None:
    """Choose the subnets and gateways that the request left open. Subnets that the user names may lie over
    a route of the host (that may be meant), but not over another network of ours."""
    for subnet in network.subnets:
        if overlapping(parse_subnet(subnet.subnet), ours):
            raise Forbidden("Pool overlaps with other one on this address space")
    if network.ipv4 and not any("." in subnet.subnet for subnet in network.subnets):
        network.subnets.insert(0, Subnet(str(free_subnet(pools, taken))))
    if network.ipv6 and not any(":" in subnet.subnet for subnet in network.subnets):
        network.subnets.append(Subnet(unique_local(network.id)))
    for subnet in network.subnets:
        subnet.gateway = subnet.gateway or str(pool_of(subnet).gateway)


def check_bridge(network: Network, others: Iterable[Network]) -> None:
    """Two networks on one bridge would be one."""
    for other in others:
        if network.bridge and other.bridge == network.bridge:
            raise Forbidden(f"cannot create network {network.id} ({network.bridge}): conflicts with network {other.id} "
                            f"({other.bridge}): networks have same bridge name")


def choose_default(
    network: Network, present: tuple[str, int] | None, configured: str, taken: list[Net],
    pools: tuple[tuple[str, int], ...],
) -> None:
    """The default network's subnet: that of the bridge that is there (`present`: its address); else the
    configured one, unless it touches what is `taken`; else the next free one."""
    if present is not None:
        network.subnets = [Subnet(str(parse_subnet(f"{present[0]}/{present[1]}")), present[0])]
        return
    chosen = parse_subnet(configured)
    if overlapping(chosen, taken):
        chosen = free_subnet(pools, taken)
    network.subnets = [Subnet(str(chosen), str(Pool(str(chosen)).gateway))]


def choose_default6(network: Network, configured: str, ours: Sequence[Net], *, wanted: bool) -> None:
    """The default network's IPv6 subnet, if it is to have one: the configured one, or one of the unique local range."""
    network.ipv6 = wanted
    if wanted:
        chosen = parse_subnet(configured or unique_local(network.id))
        if overlapping(chosen, ours):
            raise InvalidParameter(f"invalid configuration: network.subnet6: {chosen} is another network's")
        network.subnets.append(Subnet(str(chosen), str(chosen[1])))


def unique_local(identity: str) -> str:
    """A /64 of the unique local range whose 40 random bits are the network's id (RFC 4193)."""
    digits = identity[:10]
    return str(parse_subnet(f"fd{digits[:2]}:{digits[2:6]}:{digits[6:10]}::/64"))


class Definitions:
    """The files. Synchronous: they are a few hundred bytes each and change rarely."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def load(self) -> list[Network]:
        found = []
        for name in sorted(os.listdir(self._directory)) if os.path.isdir(self._directory) else []:
            if name.endswith(".json"):
                with open(os.path.join(self._directory, name), "rb") as file:
                    found.append(msgspec.json.decode(file.read(), type=Network))
        return found

    def save(self, network: Network) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        path, text = self._path(network), msgspec.json.encode(network)
        if _read(path) == text:
            return  # spares the server's start the flushes
        try:
            with storage_errors(f"write {path}"), open(f"{path}.new", "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                os.unlink(f"{path}.new")
            raise
        os.replace(f"{path}.new", path)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def remove(self, network: Network) -> None:
        try:
            os.unlink(self._path(network))
        except FileNotFoundError:
            pass

    def _path(self, network: Network) -> str:
        return os.path.join(self._directory, f"{network.id}.json")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
