"""Rules as text become messages for the kernel: by libnftables, in a network namespace where there is nothing else.

That library reads the whole rule set of its namespace before each command, and begins anew when somebody has changed it
meanwhile: on a busy host, or in a container whose owner wants it so, it would hold the network thread for as long as
that goes on.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from kist.engine.network.sandbox import NamespaceThread
from kist.linux.netlink import nfrules
from kist.linux.netlink.nfnetlink import Nfnetlink
from kist.linux.netlink.wire import Request
from kist.linux.nftables import Nftables, NftablesError, trim_memory


class Compiler:
    """Synchronous; the network thread's own. One that uses another text each time has another one."""

    def __init__(self, namespaces: NamespaceThread) -> None:
        self._namespaces = namespaces
        self._text, self._device, self._requests = "", 0, list[Request]()

    def requests(self, tables: str, device: str = "") -> Sequence[Request]:
        """What makes these tables (nft(8) commands) in a transaction. The last answer is remembered; `device` is the
        one that a rule names, which the kernel knows by its index. NftablesError: the kernel can't do it."""
        index = _index(device) if device else 0
        if (self._text, self._device) != (tables, index):
            with self._workshop() as (nftables, there):
                nftables.run(tables)
                self._requests = nfrules.copied(there)
            self._text, self._device = tables, index
        return self._requests

    def can(self, tables: str) -> bool:
        """Whether the kernel takes them (`nft --check`: nothing is changed)."""
        try:
            with self._workshop() as (nftables, _):
                nftables.check(tables)
        except NftablesError:
            return False
        return True

    @contextmanager
    def _workshop(self) -> Iterator[tuple[Nftables, Nfnetlink]]:
        """nftables of a namespace that is made for it, and goes with it. Devices that commands name are the host's:
        libnftables looks them up where the thread is. Its memory is given back."""
        with ExitStack() as stack:
            stack.callback(trim_memory)
            with self._namespaces.empty():
                nftables, there = stack.enter_context(Nftables()), stack.enter_context(Nfnetlink())
            yield nftables, there


def _index(device: str) -> int:
    """0: it isn't there."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0
