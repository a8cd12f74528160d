"""What can be asked of rtnetlink: one function, one `Request`. Pure: nothing is sent here.

Devices are named by index (`index=`), except where they are made or looked up by name. Creating functions
fail with EEXIST when the thing is there already. `netns`/`peer_netns` are open descriptors of
`/proc/…/ns/net`: a device made there directly costs a fraction of one that is moved (a move waits for an
RCU grace period, 20 ms and more).

Sources: linux/if_link.h, linux/rtnetlink.h, linux/neighbour.h, linux/if_bridge.h, linux/pkt_sched.h (Linux 6.1).
"""

from __future__ import annotations

import struct

from kist.linux.netlink import wire
from kist.linux.netlink.wire import (
    IFADDRMSG,
    IFF_UP,
    IFINFOMSG,
    NDMSG,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTMSG,
    TCMSG,
    Request,
    attribute,
    nested,
    text,
    u8,
    u16,
    u32,
)

AF_UNSPEC, AF_INET, AF_INET6, AF_BRIDGE = 0, 2, 10, 7
VETH_INFO_PEER = 1
IFLA_VLAN_ID = 1
IFLA_MACVLAN_MODE = 1
IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS = 1, 2
IFLA_BRPORT_MODE, IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_ISOLATED = 4, 8, 9, 33
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
SKIP_STATS = 1 << 3  # RTEXT_FILTER_SKIP_STATS: a fifth of the answer's size
IFA_F_NODAD = 0x02
RT_TABLE_MAIN, RT_TABLE_LOCAL, RTPROT_BOOT = 254, 255, 3
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST = 0, 253, 254
RTN_UNICAST, RTN_LOCAL = 1, 2
NUD_PERMANENT = 0x80
TC_H_ROOT, TC_HANDLE = 0xFFFFFFFF, 1 << 16
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_BURST = 1, 4, 6
LINKLAYER_ETHERNET = 1
RATESPEC = struct.Struct("=BBHhHI")  # cell log, link layer, overhead, cell align, smallest packet, bytes/s
NEW = NLM_F_CREATE | NLM_F_EXCL


def _ifinfo(index: int = 0, flags: int = 0, change: int = 0, family: int = AF_UNSPEC) -> bytes:
    return IFINFOMSG.pack(family, 0, index, flags, change)


def _common(name: str, mtu: int, address: str) -> bytes:
    return (
        (text(wire.IFLA_IFNAME, name) if name else b"")
        + (u32(wire.IFLA_MTU, mtu) if mtu else b"")
        + (attribute(wire.IFLA_ADDRESS, wire.mac_bytes(address)) if address else b"")
    )


def _info(kind: str, *data: bytes) -> bytes:
    inner = nested(wire.IFLA_INFO_DATA, *data) if data else b""
    return nested(wire.IFLA_LINKINFO, attribute(wire.IFLA_INFO_KIND, kind.encode()), inner)


def _create(words: str, *parts: bytes, up: bool = False) -> Request:
    flags = IFF_UP if up else 0
    return Request(wire.RTM_NEWLINK, NEW, _ifinfo(0, flags, flags) + b"".join(parts), words)


def bridge(name: str, *, mtu: int = 0, address: str = "", up: bool = True) -> Request:
    """A bridge. Give an `address`, or the kernel changes it whenever a port comes or goes."""
    return _create(f"create bridge {name}", _common(name, mtu, address), _info("bridge"), up=up)


def veth(
    name: str, *, peer_name: str, peer_netns: int | None = None, master: int = 0, mtu: int = 0, address: str = "",
    peer_address: str = "", up: bool = True,
) -> Request:
    """A pair of devices, `name` here (a port of `master` at once) and `peer_name` in `peer_netns`, down:
    the kernel opens no veth before both ends exist (ENOTCONN)."""
    peer = attribute(
        VETH_INFO_PEER,
        _ifinfo()
        + _common(peer_name, mtu, peer_address)
        + (u32(wire.IFLA_NET_NS_FD, peer_netns) if peer_netns is not None else b""),
    )
    port = u32(wire.IFLA_MASTER, master) if master else b""
    return _create(f"create veth {name}", _common(name, mtu, address), port, _info("veth", peer), up=up)


def macvlan(
    name: str, *, parent: int, mode: str = "bridge", netns: int | None = None, mtu: int = 0, address: str = "",
) -> Request:
    """A device with its own MAC address on `parent`'s wire; `mode` as in MACVLAN_MODES."""
    data = u32(IFLA_MACVLAN_MODE, MACVLAN_MODES[mode])
    return _create(f"create macvlan {name}", _common(name, mtu, address), u32(wire.IFLA_LINK, parent),
                   _netns(netns), _info("macvlan", data))


def ipvlan(
    name: str, *, parent: int, mode: str = "l2", flag: str = "bridge", netns: int | None = None, mtu: int = 0,
) -> Request:
    """A device that shares `parent`'s MAC address; `mode` as in IPVLAN_MODES, `flag` as in IPVLAN_FLAGS."""
    data = u16(IFLA_IPVLAN_MODE, IPVLAN_MODES[mode]) + u16(IFLA_IPVLAN_FLAGS, IPVLAN_FLAGS[flag])
    return _create(f"create ipvlan {name}", _common(name, mtu, ""), u32(wire.IFLA_LINK, parent),
                   _netns(netns), _info("ipvlan", data))


def vlan(name: str, *, parent: int, tag: int, up: bool = True) -> Request:
    """An 802.1Q device for one VLAN tag of `parent`."""
    return _create(f"create vlan {name}", _common(name, 0, ""), u32(wire.IFLA_LINK, parent),
                   _info("vlan", u16(IFLA_VLAN_ID, tag)), up=up)


def dummy(name: str, *, netns: int | None = None, mtu: int = 0, address: str = "", up: bool = True) -> Request:
    """A device with nothing behind it: packets sent there are gone."""
    return _create(f"create dummy {name}", _common(name, mtu, address), _netns(netns), _info("dummy"), up=up)


def _netns(descriptor: int | None) -> bytes:
    return u32(wire.IFLA_NET_NS_FD, descriptor) if descriptor is not None else b""


def set_link(
    index: int, *, up: bool | None = None, name: str = "", mtu: int = 0, address: str = "", master: int | None = None,
    netns: int | None = None, alias: str | None = None,
) -> Request:
    """Change what is given, leave the rest. `master=0` takes a port off its bridge; `alias` is a remark
    that `ip link` shows."""
    body = _ifinfo(index, IFF_UP if up else 0, IFF_UP if up is not None else 0) + _common(name, mtu, address)
    if master is not None:
        body += u32(wire.IFLA_MASTER, master)
    if alias is not None:
        body += attribute(wire.IFLA_IFALIAS, alias.encode())
    return Request(wire.RTM_NEWLINK, 0, body + _netns(netns), f"change link {index}")


def open_link(name: str) -> Request:
    """Up, by name: of a device that was made a moment ago."""
    return Request(wire.RTM_NEWLINK, 0, _ifinfo(0, IFF_UP, IFF_UP) + text(wire.IFLA_IFNAME, name), f"open link {name}")


def set_port(
    index: int, *, hairpin: bool | None = None, isolated: bool | None = None, learning: bool | None = None,
    flood: bool | None = None,
) -> Request:
    """Change a bridge port: `hairpin` sends frames back where they came from, `isolated` ports don't hear
    each other."""
    wanted = (
        (IFLA_BRPORT_MODE, hairpin), (IFLA_BRPORT_ISOLATED, isolated), (IFLA_BRPORT_LEARNING, learning),
        (IFLA_BRPORT_UNICAST_FLOOD, flood),
    )
    data = b"".join(u8(kind, int(value)) for kind, value in wanted if value is not None)
    info = nested(
        wire.IFLA_LINKINFO,
        attribute(wire.IFLA_INFO_SLAVE_KIND, b"bridge"),
        nested(wire.IFLA_INFO_SLAVE_DATA, data),
    )
    return Request(wire.RTM_NEWLINK, 0, _ifinfo(index) + info, f"change bridge port {index}")


def delete_link(name: str) -> Request:
    return Request(wire.RTM_DELLINK, 0, _ifinfo() + text(wire.IFLA_IFNAME, name), f"delete link {name}")


def get_link(name: str) -> Request:
    body = _ifinfo() + text(wire.IFLA_IFNAME, name) + u32(wire.IFLA_EXT_MASK, SKIP_STATS)
    return Request(wire.RTM_GETLINK, 0, body, f"get link {name}")


def dump_links() -> Request:
    return Request(wire.RTM_GETLINK, NLM_F_DUMP, _ifinfo() + u32(wire.IFLA_EXT_MASK, SKIP_STATS), "list links")


def _address(index: int, address: str, prefixlen: int) -> bytes:
    packed = wire.packed(address)
    family = wire.family_of(address)
    # No duplicate address detection: addresses are ours to give, and a tentative one can't be used for a second.
    flags = IFA_F_NODAD if family == AF_INET6 else 0
    body = IFADDRMSG.pack(family, prefixlen, flags, 0, index)
    body += attribute(wire.IFA_LOCAL, packed) + attribute(wire.IFA_ADDRESS, packed)
    if family == AF_INET and prefixlen < 31:
        host_bits = (1 << (32 - prefixlen)) - 1
        last = int.from_bytes(packed, "big") | host_bits
        body += attribute(wire.IFA_BROADCAST, last.to_bytes(4, "big"))
    return body


def add_address(index: int, address: str, prefixlen: int) -> Request:
    body = _address(index, address, prefixlen)
    return Request(wire.RTM_NEWADDR, NEW, body, f"add address {address}/{prefixlen}")


def delete_address(index: int, address: str, prefixlen: int) -> Request:
    body = _address(index, address, prefixlen)
    return Request(wire.RTM_DELADDR, 0, body, f"delete address {address}/{prefixlen}")


def dump_addresses(family: int = AF_UNSPEC) -> Request:
    return Request(wire.RTM_GETADDR, NLM_F_DUMP, IFADDRMSG.pack(family, 0, 0, 0, 0), "list addresses")


def _route(dst: str, prefixlen: int, gateway: str, index: int, source: str, metric: int, mtu: int = 0) -> bytes:
    family = wire.family_of(dst or gateway or source)
    scope = RT_SCOPE_UNIVERSE if gateway or family == AF_INET6 else RT_SCOPE_LINK
    body = RTMSG.pack(family, prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    if prefixlen:
        body += attribute(wire.RTA_DST, wire.packed(dst))
    if gateway:
        body += attribute(wire.RTA_GATEWAY, wire.packed(gateway))
    if index:
        body += u32(wire.RTA_OIF, index)
    if source:
        body += attribute(wire.RTA_PREFSRC, wire.packed(source))
    if metric:
        body += u32(wire.RTA_PRIORITY, metric)
    if mtu:
        body += nested(wire.RTA_METRICS, u32(wire.RTAX_MTU, mtu))
    return body


def add_route(
    dst: str, prefixlen: int, *, gateway: str = "", index: int = 0, source: str = "", metric: int = 0, mtu: int = 0,
    replace: bool = False,
) -> Request:
    """A route to `dst`/`prefixlen` (any address and 0: the default route) by `gateway` or straight out of
    device `index`; `mtu` is for what takes this route, where that is less than the device's."""
    body = _route(dst, prefixlen, gateway, index, source, metric, mtu)
    flags = NLM_F_CREATE | NLM_F_REPLACE if replace else NEW
    words = f"add route {dst}/{prefixlen}" + (f" via {gateway}" if gateway else "")
    return Request(wire.RTM_NEWROUTE, flags, body, words)


def add_local_route(dst: str, prefixlen: int, index: int) -> Request:
    """Take what comes in by device `index` for `dst` as the host's own."""
    family = wire.family_of(dst)
    body = RTMSG.pack(family, prefixlen, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL, 0)
    body += attribute(wire.RTA_DST, wire.packed(dst)) + u32(wire.RTA_OIF, index)
    return Request(wire.RTM_NEWROUTE, NEW, body, f"add local route {dst}/{prefixlen}")


def delete_route(dst: str, prefixlen: int, *, gateway: str = "", index: int = 0, metric: int = 0) -> Request:
    body = _route(dst, prefixlen, gateway, index, "", metric)
    return Request(wire.RTM_DELROUTE, 0, body, f"delete route {dst}/{prefixlen}")


def dump_routes(family: int = AF_UNSPEC) -> Request:
    return Request(wire.RTM_GETROUTE, NLM_F_DUMP, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "list routes")


def _neighbour(index: int, address: str, lladdr: str, state: int) -> bytes:
    body = NDMSG.pack(wire.family_of(address), index, state, 0, 0) + attribute(wire.NDA_DST, wire.packed(address))
    return body + (attribute(wire.NDA_LLADDR, wire.mac_bytes(lladdr)) if lladdr else b"")


def add_neighbour(index: int, address: str, lladdr: str) -> Request:
    """A permanent entry: `address` is at MAC address `lladdr`; no ARP is asked for it."""
    body = _neighbour(index, address, lladdr, NUD_PERMANENT)
    return Request(wire.RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, f"add neighbour {address}")


def delete_neighbour(index: int, address: str) -> Request:
    return Request(wire.RTM_DELNEIGH, 0, _neighbour(index, address, "", 0), f"delete neighbour {address}")


def dump_neighbours(family: int = AF_UNSPEC) -> Request:
    return Request(wire.RTM_GETNEIGH, NLM_F_DUMP, NDMSG.pack(family, 0, 0, 0, 0), "list neighbours")


def limit_rate(index: int, bits: int) -> Request:
    """Send at most `bits` a second by this device (tc-tbf(8)); what exceeds it waits up to 0.1 s, then is dropped."""
    rate = max(1, bits // 8)
    burst = min(max(rate // 50, 70000), 1 << 31)  # one packet of the largest size must fit
    spec = RATESPEC.pack(0, LINKLAYER_ETHERNET, 0, 0, 0, min(rate, 0xFFFFFFFF))
    parameters = spec + bytes(RATESPEC.size) + struct.pack("=III", min(burst + rate // 10, 0xFFFFFFFF), 0, 0)
    options = attribute(TCA_TBF_PARMS, parameters) + u32(TCA_TBF_BURST, burst)
    if rate > 0xFFFFFFFF:
        options += attribute(TCA_TBF_RATE64, struct.pack("=Q", rate))
    body = TCMSG.pack(AF_UNSPEC, index, TC_HANDLE, TC_H_ROOT, 0)
    body += attribute(TCA_KIND, b"tbf\0") + nested(TCA_OPTIONS, options)
    return Request(wire.RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body, f"limit the rate of link {index}")
