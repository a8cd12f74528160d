"""Who has which address, and which of a container's networks is its way out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from kist.engine.network.definitions import contains, pool_of
from kist.engine.network.firewall import ISOLATED
from kist.engine.network.ipam import Pool, mac_for
from kist.engine.network.model import BRIDGE, HOST, Attachment, Endpoint, Network, new_id
from kist.engine.network.validation import DOCKERS, ENDPOINT, parse_rate
from kist.errors import Forbidden, InvalidParameter

Json = dict[str, Any]


class Addresses:
    """The address pools of all networks."""

    def __init__(self) -> None:
        self._pools: dict[str, list[Pool]] = {}

    def add(self, network: Network) -> None:
        self._pools[network.id] = [] if network.config_only else [pool_of(subnet) for subnet in network.subnets]

    def remove(self, network: Network) -> None:
        self._pools.pop(network.id, None)

    def attachment(
        self, owner: str, network: Network, asked: Json, *, interface: str, names: Iterable[str],
    ) -> Attachment:
        """A place on the network with the addresses that were asked for or are free. `asked` is the API's
        EndpointSettings; `names` are the container's own, its aliases are added."""
        if network.config_only:
            raise Forbidden("cannot create endpoint on configuration-only network")
        ipam = asked.get("IPAMConfig") or {}
        check_endpoint(network, asked)
        aliases = [str(alias) for alias in asked.get("Aliases") or []]
        attachment = Attachment(
            network.id, network.name, new_id(), interface=interface, asked=asked, aliases=aliases,
            gateway_priority=int(asked.get("GwPriority") or 0), mac=str(asked.get("MacAddress") or "").lower(),
            names=[] if network.predefined else list(dict.fromkeys([*names, *aliases])),
        )
        options = asked.get("DriverOpts") or {}
        attachment.rate = parse_rate(str(options.get("kist.rate") or ""))
        self._take(owner, network, attachment, ipam)
        attachment.mac = attachment.mac or mac_for(attachment.ip or attachment.ip6)
        return attachment

    def _take(self, owner: str, network: Network, attachment: Attachment, ipam: Json) -> None:
        """One address of each family, each from the pool that holds the one asked for, if any."""
        pools = self._pools[network.id]
        for version in (4, 6):
            wanted = str(ipam.get(f"IPv{version}Address") or "")
            fitting = [pool for pool in pools if pool.subnet.version == version
                       and (not wanted or contains(pool, wanted))]
            if wanted and not fitting:
                raise InvalidParameter(_NOT_WITHIN.format(wanted))
            if fitting:
                try:
                    self._give(owner, network, attachment, fitting[0], wanted)
                except BaseException:
                    self.give_back(attachment)
                    raise

    def _give(self, owner: str, network: Network, attachment: Attachment, pool: Pool, wanted: str) -> None:
        address = pool.take(owner, wanted)
        gateway = "" if network.internal else str(pool.gateway)
        if pool.subnet.version == 4:
            attachment.ip, attachment.prefixlen, attachment.gateway = address, pool.prefixlen, gateway
        else:
            attachment.ip6, attachment.prefixlen6, attachment.gateway6 = address, pool.prefixlen, gateway

    def take_back(self, owner: str, attachment: Attachment) -> None:
        """The addresses are this container's already (an earlier server gave them)."""
        for pool, address in self._of(attachment):
            pool.take(owner, address)

    def give_back(self, attachment: Attachment) -> None:
        for pool, address in self._of(attachment):
            pool.give_back(address)

    def _of(self, attachment: Attachment) -> list[tuple[Pool, str]]:
        return [(pool, address) for pool in self._pools.get(attachment.network, ())
                for address in (attachment.ip, attachment.ip6) if address and contains(pool, address)]


_NOT_WITHIN = "no configured subnet or ip-range contain the IP address {}"


_USER_DEFINED = "user specified IP address is supported on user defined networks only"


def check_shared_endpoint(asked: Json) -> None:
    """Of a container with another one's network, which has its addresses already. Raises InvalidParameter."""
    ipam = asked.get("IPAMConfig") or {}
    if ipam.get("IPv4Address") or ipam.get("IPv6Address"):
        raise InvalidParameter(f"invalid endpoint settings:\n{_USER_DEFINED}")


def check_endpoint(network: Network, asked: Json) -> None:
    """Raises InvalidParameter with all that is wrong, as Docker lists it (moby: validateEndpointSettings)."""
    ipam = asked.get("IPAMConfig") or {}
    wanted = [(version, str(ipam[f"IPv{version}Address"])) for version in (4, 6) if ipam.get(f"IPv{version}Address")]
    problems = []
    if network.predefined and wanted:
        problems.append(_USER_DEFINED)
    if network.predefined and asked.get("Aliases"):
        problems.append("network-scoped alias is supported only for containers in user defined networks")
    problems += [f"invalid IPv{version} address: {address}" for version, address in wanted
                 if not _is_address(address, version)]
    problems += [f"invalid link-local IP address: {address}" for address in ipam.get("LinkLocalIPs") or ()
                 if not (_is_address(address, 4) or _is_address(address, 6))]
    for version, address in wanted:
        pools = [] if network.config_only else [
            pool for subnet in network.subnets if (pool := pool_of(subnet)).subnet.version == version]
        if not pools:
            problems.append("user specified IP address is supported only when connecting to networks with user "
                            "configured subnets")
        elif not (_is_address(address, version) and any(contains(pool, address) for pool in pools)):
            problems.append(_NOT_WITHIN.format(address))
    problems += [f"unsupported driver option {key}" for key in asked.get("DriverOpts") or ()
                 if key.startswith(f"{DOCKERS}endpoint.") and key not in ENDPOINT]
    if problems:
        mark = "* " * (len(problems) > 1)
        raise InvalidParameter("invalid endpoint settings:\n" + "\n".join(mark + one for one in problems))


def _is_address(text: str, version: int) -> bool:
    try:
        return ip_address(text).version == version
    except ValueError:
        return False


def way_out(attachments: Sequence[Attachment]) -> Attachment | None:
    """The attachment that published ports and the default route belong to: of those with a gateway the one
    with the highest priority, then with the name that comes first, as Docker has it; else the first with an
    address."""
    addressed = [one for one in attachments if one.ip or one.ip6]
    return min(addressed, key=lambda one: (not (one.gateway or one.gateway6), *_rank(one)), default=None)


def gateways(attachments: Iterable[Attachment]) -> tuple[str, str]:
    """The default routes, IPv4 and IPv6, each from the first attachment in rank that has one."""
    ranked = sorted(attachments, key=_rank)
    return (next((one.gateway for one in ranked if one.gateway), ""),
            next((one.gateway6 for one in ranked if one.gateway6), ""))


def host_addresses(endpoint: Endpoint, networks: Mapping[str, Network]) -> Sequence[str]:
    """Where the container finds the host (`--add-host NAME:host-gateway`): by its default routes, else on a network
    that has no way out, else (as with Docker, where it may well be out of reach) on the default network."""
    if endpoint.mode == HOST:
        return ["127.0.0.1"]
    on = [networks[one.network] for one in endpoint.attachments if one.network in networks]
    beside = [subnet.gateway for one in on if one.driver == BRIDGE and one.internal for subnet in one.subnets
              if one.gateway_mode(6 if ":" in subnet.gateway else 4) != ISOLATED]
    default = [subnet.gateway for one in networks.values() if one.name == BRIDGE for subnet in one.subnets]
    return [one for one in gateways(endpoint.attachments) if one] or beside or default


def _rank(one: Attachment) -> tuple[int, str]:
    return -one.gateway_priority, one.network_name
