"""Notices when somebody removes our nftables tables: `nft flush ruleset`, which Debian's nftables.service does
on each reload. nftables tells every listener what has changed; only deleted tables are looked at.

Source: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h (Linux 6.1).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from kist.linux.netlink import wire

NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
NFNETLINK_HEADER = 4  # family u8, version u8, resource id u16
DELTABLE = 10 << 8 | 2  # NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE
NFTA_TABLE_NAME = 1
BUFFER = 65536


class Every:
    """Calls `look` (in the event loop) every so many seconds."""

    def __init__(self, seconds: float, look: Callable[[], None]) -> None:
        self._seconds, self._look = seconds, look
        self._again()

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._now)

    def _now(self) -> None:
        self._again()
        self._look()

    def close(self) -> None:
        self._timer.cancel()


class Watch:
    """Calls `lost` (in the event loop) when a table named `table` was deleted, or one may have been. Our own
    transactions replace tables too, so `lost` has to look for itself."""

    def __init__(self, table: str, lost: Callable[[], None]) -> None:
        self._table, self._lost = table, lost
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                                     NETLINK_NETFILTER)
        self._socket.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        try:
            datagram = self._socket.recv(BUFFER)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._lost()  # too much at once: whatever was missed may have been it
            return
        if deleted_table(datagram, self._table):
            self._lost()


def deleted_table(datagram: bytes, table: str) -> bool:
    """Whether one of the notifications says that a table of this name is gone."""
    for message in wire.messages(datagram):
        if message.type == DELTABLE:
            name = wire.attributes(message.body, NFNETLINK_HEADER).get(NFTA_TABLE_NAME, b"")
            if os.fsdecode(bytes(name)).rstrip("\0") == table:
                return True
    return False
