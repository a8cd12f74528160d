"""How many bytes per second the devices of a network namespace send and receive: token buckets (`linux/tc.py`)."""

from __future__ import annotations

import errno

from kist.linux import tc
from kist.linux.netlink import request
from kist.linux.netlink.channel import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.linux.netlink.wire import Link

DETOUR = "kist-in{}"  # the ifb device by which a device's incoming packets go
_PREFIX = DETOUR.format("")


def limit(netlink: Netlink, wanted: dict[str, int]) -> int:
    """``egress`` and ``ingress`` in bytes per second, 0 to lift the limit; one that is missing stays as it is.
    For each device of ``netlink``'s namespace but the loopback; their number is returned."""
    found = netlink.links()
    names = {link.name for link in found}
    devices = [link for link in found if link.name != "lo" and not link.name.startswith(_PREFIX)]
    for link in devices:
        if "egress" in wanted:
            _outgoing(netlink, link.index, wanted["egress"])
        if "ingress" in wanted:
            _incoming(netlink, link, wanted["ingress"], there=DETOUR.format(link.index) in names)
    return len(devices)


def _outgoing(netlink: Netlink, index: int, rate: int) -> None:
    if rate:
        netlink.run(request.limit_rate(index, rate * 8))
        return
    try:
        netlink.run(tc.no_bucket(index))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # there is none
            raise


def _incoming(netlink: Netlink, link: Link, rate: int, *, there: bool) -> None:
    """At an update the way is there already, and only the bucket changes."""
    name = DETOUR.format(link.index)
    if not there:
        if not rate:
            return
        netlink.run(tc.ifb(name))
    detour = netlink.link(name).index
    try:
        _outgoing(netlink, detour, rate)
        if not there:
            netlink.run(tc.ingress(link.index), tc.redirect(link.index, detour))
    except OSError:
        if not there:
            netlink.run(request.delete_link(name))
        raise
