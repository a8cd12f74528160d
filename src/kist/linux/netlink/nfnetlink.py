"""nfnetlink, the netlink family of the packet filter: questions, and transactions of nftables.

A datagram is one transaction; all of it takes effect, or nothing:

    nlmsghdr | NFNL_MSG_BATCH_BEGIN | nfgenmsg: family u8, version u8, NFNL_SUBSYS_NFTABLES u16 big-endian
    nlmsghdr | NFT_MSG_NEW… or …DEL… | nfgenmsg: the table's family | attributes
    …
    nlmsghdr | NFNL_MSG_BATCH_END | nfgenmsg as above

Sources: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h, net/netfilter/nfnetlink.c (Linux 6.1).
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from kist.linux.netlink import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

NETLINK_NETFILTER, SOL_NETLINK, NETLINK_CAP_ACK = 12, 270, 10
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFNL_SUBSYS_NFTABLES = 10
FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
NFGENMSG = struct.Struct(">BBH")
BUFFER = 65536
LARGEST_BUFFER = 8 << 20  # a limit, not an allocation: ten thousand ports in one transaction


class Nfnetlink:
    """A socket. It belongs to the network namespace of the thread that made it. One user at a time.

    Keep it: whoever closes such a socket waits until the kernel has freed what was deleted (10 ms and more)."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        except OSError as error:
            if error.errno == errno.EPROTONOSUPPORT:
                raise OSError(error.errno, "the kernel has no nftables: load the module nf_tables") from None
            raise
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            self._socket.setsockopt(socket.SOL_SOCKET, option, LARGEST_BUFFER)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: wire.Request) -> Iterator[wire.Message]:
        """The answers, to be read to their end. A refusal is raised as OSError(errno, the kernel's words, the request's
        words)."""
        self._sequence += 1
        dump = request.flags & wire.NLM_F_DUMP
        self._socket.send(wire.message(request, self._sequence, ack=not dump))
        while True:
            for answer in wire.messages(self._socket.recv(BUFFER)):
                if answer.sequence != self._sequence:
                    continue  # an answer to something that was given up earlier
                if answer.type not in (wire.NLMSG_DONE, wire.NLMSG_ERROR):
                    yield answer
                    continue
                code, _ = wire.error_of(answer)
                if code:
                    raise OSError(code, os.strerror(code), request.words)
                return

    def commit(self, requests: Sequence[wire.Request]) -> None:
        """Carry out all of it in one transaction, in this order, whoever else changes the rule set meanwhile.

        The first refusal is raised as OSError(errno, the kernel's words, the request's words); then nothing has
        changed."""
        failed = self._send(requests)
        for number in sorted(failed):
            raise OSError(failed[number], os.strerror(failed[number]), requests[max(number, 0)].words)

    def _send(self, requests: Sequence[wire.Request]) -> dict[int, int]:
        """Send the transaction; the errno of each request that was refused (-1: the transaction as a whole)."""
        first = self._sequence + 1
        self._sequence += len(requests) + 2
        self._socket.send(batch(requests, first))
        failed: dict[int, int] = {}
        waiting = len(requests)
        while waiting:
            for answer in wire.messages(self._socket.recv(BUFFER)):
                number = answer.sequence - first - 1
                if answer.type != wire.NLMSG_ERROR or not -1 <= number < len(requests):
                    continue  # an answer to something that was given up earlier
                code, _ = wire.error_of(answer)
                if number < 0:  # not begun (EPERM) or not carried out: more answers may follow, or none
                    return {-1: code}
                waiting -= 1
                if code:
                    failed[number] = code
        return failed


def batch(requests: Sequence[wire.Request], first: int) -> bytes:
    """The transaction's datagram; `first` is the sequence number of its beginning."""
    bounds = NFGENMSG.pack(0, 0, NFNL_SUBSYS_NFTABLES)
    parts = [wire.message(wire.Request(NFNL_MSG_BATCH_BEGIN, 0, bounds, ""), first, ack=False)]
    parts += [wire.message(request, first + number) for number, request in enumerate(requests, 1)]
    end = wire.Request(NFNL_MSG_BATCH_END, 0, bounds, "")
    return b"".join([*parts, wire.message(end, first + len(requests) + 1, ack=False)])
