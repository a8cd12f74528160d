"""A container's interface, made the way its network's driver wants it. Synchronous; the network thread's own.

    bridge    a veth pair; the host's end is a port of the network's bridge
    macvlan   a device with a MAC address of its own on the wire of `parent`, a device of the host
    ipvlan    a device that shares `parent`'s MAC address (modes l2, l3, l3s)

The last two reach what `parent` reaches, and by the kernel's design not the host itself. `parent` may be
`eth0.10`: the device for VLAN 10 is made, and goes with the network. Without a parent the network is one of its own.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from typing import Any

from kist.engine.network.model import BRIDGE, IPVLAN, MACVLAN, Attachment, Network
from kist.errors import InvalidParameter, NotSupported
from kist.linux.netlink import Link, Netlink, Request, request

Json = dict[str, Any]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_SYSCTL = re.compile(r"net\.((?:ipv4|ipv6)\.(?:conf|neigh)|mpls\.conf)\.(?i:IFNAME)\.([a-z0-9_]+)")
MODULES = {MACVLAN: "macvlan", IPVLAN: "ipvlan"}


def choose_name(network: Network, asked: Json, taken: Collection[str]) -> str:
    """What the interface is called inside: as the endpoint's option says, else the first free one of eth0, eth1…
    (or of another prefix, an option of the network)."""
    wanted = str((asked.get("DriverOpts") or {}).get("com.docker.network.endpoint.ifname") or "")
    if wanted:
        if wanted in taken or wanted == "lo" or not _NAME.fullmatch(wanted):
            raise InvalidParameter(f"invalid interface name {wanted!r}: taken, or not 1 to 15 letters, digits, . _ -")
        return wanted
    prefix = network.option("container_iface_prefix") or "eth"
    return next(name for name in (f"{prefix}{number}" for number in range(1000)) if name not in taken)


def is_plain(attachment: Attachment) -> bool:
    """Whether an interface that was made ahead, eth0 with no address yet, will do."""
    return attachment.interface == "eth0" and not (attachment.rate or sysctls(attachment) or link_locals(attachment))


def link_locals(attachment: Attachment) -> list[tuple[str, int]]:
    """The link-local addresses that were asked for, with Docker's prefix lengths (RFC 3927, RFC 4291)."""
    asked = (attachment.asked.get("IPAMConfig") or {}).get("LinkLocalIPs") or ()
    return [(address, 64 if ":" in address else 16) for address in asked]


def sysctls(attachment: Attachment) -> dict[str, str]:
    """Those of the interface alone, path below /proc/sys/net → value: `net.ipv4.conf.IFNAME.log_martians=1,…` (Docker's
    command, up to 28.2 at least, sends what `--network …,driver-opt=` says in small letters)."""
    found = {}
    text = str((attachment.asked.get("DriverOpts") or {}).get("com.docker.network.endpoint.sysctls") or "")
    for setting in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = setting.partition("=")
        match = _SYSCTL.fullmatch(name)
        if match is None or not value:
            raise InvalidParameter(f"invalid endpoint sysctl {setting!r}: expected net.ipv4.conf.IFNAME.NAME=VALUE")
        found[f"{match[1].replace('.', '/')}/{attachment.interface}/{match[2]}"] = value
    return found


def veth(network: Network, attachment: Attachment, netns_fd: int, master: Link, mtu: int) -> Request:
    """The host's end is still down (`sandbox.open_port`)."""
    return request.veth(attachment.host_interface, peer_name=attachment.interface, peer_netns=netns_fd,
                        master=master.index, mtu=mtu, peer_address=attachment.mac, up=False)


def macvlan(network: Network, attachment: Attachment, netns_fd: int, parent: Link, mtu: int) -> Request:
    mode = network.option("macvlan_mode", "bridge")
    return request.macvlan(_name_on_the_way(attachment), parent=parent.index, mode=mode, netns=netns_fd, mtu=mtu,
                           address=attachment.mac)


def ipvlan(network: Network, attachment: Attachment, netns_fd: int, parent: Link, mtu: int) -> Request:
    mode, flag = network.option("ipvlan_mode", "l2"), network.option("ipvlan_flag", "bridge")
    return request.ipvlan(_name_on_the_way(attachment), parent=parent.index, mode=mode, flag=flag, netns=netns_fd,
                          mtu=mtu)


def _name_on_the_way(attachment: Attachment) -> str:
    """Before Linux 6.14 a device that goes straight into another namespace can't have the name of one of the host's
    (rtnetlink looks there: EEXIST), and the host has an eth0: it gets its own name inside."""
    return f"kw{attachment.endpoint_id[:12]}"


MAKE = {BRIDGE: veth, MACVLAN: macvlan, IPVLAN: ipvlan}


def make(host: Netlink, network: Network, attachment: Attachment, netns_fd: int, on: Link, *, mtu: int) -> None:
    """Make the interface in the namespace; `on` is the bridge or the parent. `find` has to come next."""
    try:
        host.run(MAKE[network.driver](network, attachment, netns_fd, on, mtu))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP and network.driver in MODULES:
            raise NotSupported(f"this kernel has no {MODULES[network.driver]} devices (module "
                               f"{MODULES[network.driver]})") from None
        raise


def find(inside: Netlink, network: Network, attachment: Attachment) -> int:
    """The index of an interface that was just made, which has its name from now on."""
    if network.driver == BRIDGE:
        return inside.link(attachment.interface).index
    index = inside.link(_name_on_the_way(attachment)).index
    inside.run(request.set_link(index, name=attachment.interface))
    return index


def parent_name(network: Network) -> str:
    """The parent's device; a network without one has a device with nothing behind it."""
    return network.option("parent") or f"kd{network.id[:12]}"


def ensure_parent(host: Netlink, network: Network) -> None:
    """Find the parent, or make what may be made: a VLAN's device, or one with nothing behind it."""
    name = parent_name(network)
    try:
        host.link(name)
        return
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
    below, dot, tag = name.rpartition(".")
    if not network.option("parent"):
        host.run(request.dummy(name))
    elif dot and tag.isdecimal() and 0 < int(tag) < 4095:
        host.run(request.vlan(name, parent=host.link(below).index, tag=int(tag)))
    else:
        raise InvalidParameter(f"invalid parent: the host has no device {name!r}")
    network.made_parent = True


def remove_parent(host: Netlink, network: Network) -> None:
    if network.made_parent:
        try:
            host.run(request.delete_link(parent_name(network)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
