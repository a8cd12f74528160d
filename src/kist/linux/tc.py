"""Traffic control (tc(8)) as rtnetlink requests: the way of incoming packets through a token bucket
(`netlink.request.limit_rate` makes it).

What comes in can't be queued where it arrives: it is sent through an ifb device, whose *outgoing* queue is a token
bucket. Pure: `netlink.Netlink.run` sends the requests.

    outgoing  eth0 ── tbf ──▶
    incoming  eth0 ── ingress ── u32 (all) ── mirred redirect ──▶ ifb ── tbf ──▶ (the stack)

Devices that are to be held to one rate together are all sent through one ifb, also in what goes out (`both_ways`):

    incoming  kv1, kv2 ── clsact ── mirred redirect ──▶ ifb ── tbf ──▶ (their bridge)
    outgoing  kv1, kv2 ── clsact ── mirred redirect ──▶ ifb ── tbf ──▶ (their wires)

Sources: linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h (Linux 6.1).
"""

from __future__ import annotations

import struct

from kist.linux.netlink import wire
from kist.linux.netlink.wire import (
    IFF_UP,
    NLM_F_CREATE,
    NLM_F_EXCL,
    Request,
    attribute,
    nested,
    text,
)

RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER = 36, 37, 44
TC_H_ROOT, TC_H_INGRESS, INGRESS_HANDLE = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFF0000
INCOMING, OUTGOING = 0xFFFFFFF2, 0xFFFFFFF3  # TC_H_CLSACT with TC_H_MIN_INGRESS, TC_H_MIN_EGRESS
TCA_KIND, TCA_OPTIONS = 1, 2
U32_SEL, U32_ACT = 5, 7
ACT_KIND, ACT_OPTIONS, MIRRED_PARMS = 1, 2, 2
REDIRECT_OUT, STOLEN = 1, 4


def _tcmsg(index: int, handle: int, parent: int, info: int = 0) -> bytes:
    return struct.pack("=BBHiIII", 0, 0, 0, index, handle, parent, info)


def no_bucket(index: int) -> Request:
    return Request(RTM_DELQDISC, 0, _tcmsg(index, 0x10000, TC_H_ROOT), f"free device {index} of its limit")


def ingress(index: int) -> Request:
    body = _tcmsg(index, INGRESS_HANDLE, TC_H_INGRESS) + text(TCA_KIND, "ingress")
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, f"catch what comes in at device {index}")


def both_ways(index: int) -> Request:
    body = _tcmsg(index, INGRESS_HANDLE, TC_H_INGRESS) + text(TCA_KIND, "clsact")
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, f"catch what comes and goes at device {index}")


def redirect(index: int, target: int, parent: int = INGRESS_HANDLE) -> Request:
    """All that comes in at ``index`` (with ``parent`` OUTGOING: goes out there) goes out at ``target``."""
    selector = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + struct.pack("=IIii", 0, 0, 0, 0)
    mirred = struct.pack("=IIiiiiI", 0, 0, STOLEN, 0, 0, REDIRECT_OUT, target)
    action = nested(1, text(ACT_KIND, "mirred"), nested(ACT_OPTIONS, attribute(MIRRED_PARMS, mirred)))
    body = (_tcmsg(index, 0, parent, 1 << 16 | 0x0300) + text(TCA_KIND, "u32")
            + nested(TCA_OPTIONS, attribute(U32_SEL, selector), nested(U32_ACT, action)))
    return Request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, body, f"send what comes in at {index} to {target}")


def ifb(name: str) -> Request:
    head = struct.pack("=BxHiII", 0, 0, 0, IFF_UP, IFF_UP)
    info = nested(wire.IFLA_LINKINFO, attribute(wire.IFLA_INFO_KIND, b"ifb"))
    return Request(wire.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, head + text(wire.IFLA_IFNAME, name) + info,
                   f"create ifb {name}")
