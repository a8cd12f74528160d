"""``kist.networkRate``: how many bytes per second the container may send and receive.

It is the resource that control groups of neither version bound (net_cls only marks packets). The limits are queues on
the container's own devices, in its network namespace; without CAP_NET_ADMIN its processes can't change them.

    "kist": {"networkRate": {"egress": 1250000, "ingress": 1250000}}      bytes per second; each may be missing
"""

from __future__ import annotations

import errno

from kist.linux.bandwidth import limit
from kist.linux.netlink.channel import Netlink
from kist.runtime.errors import SpecError, StepError
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS = ("egress", "ingress")


class NetworkRate(Step):
    __slots__ = ("rates",)
    syscall = "rtnetlink RTM_NEWQDISC, RTM_NEWTFILTER"
    why = "the network bandwidth the container was given, as queues on its own devices"

    def __init__(self, section: dict[str, Any]) -> None:
        self.rates = rates(section)

    def describe(self) -> str:
        return "limit the network to " + ", ".join(f"{rate} bytes/s {kind}" for kind, rate in self.rates.items())

    def run(self, ctx: Context) -> None:
        set_rates(self.rates)


def rates(section: dict[str, Any]) -> dict[str, int]:
    found = {}
    for kind, rate in section.items():
        if kind not in _KINDS:
            raise SpecError(f"kist.networkRate: unknown field {kind!r}")
        if not isinstance(rate, int) or isinstance(rate, bool) or rate < 1000:
            raise SpecError(f"kist.networkRate.{kind}: {rate!r} is not a rate of at least 1000 bytes per second")
        found[kind] = rate
    return found


def set_rates(wanted: dict[str, int]) -> None:
    """For each device of the network namespace we are in, but the loopback."""
    with Netlink() as netlink:
        if not limit(netlink, wanted):
            raise StepError("limit the network: the container has no network device", errno.ENODEV)
