"""Network namespaces for containers.

Making a namespace and wiring it costs about 1 ms, most of it in the kernel. A container's start doesn't wait
for it: it takes a namespace that was made ahead (warm.py) and adds its address. Those exist only by their
open descriptors, so they die with the server.

Nothing is done to tear one down: when the last process and the last descriptor are gone, the kernel removes
the namespace with all of its devices, the veth's other end on the bridge included, some 10 ms later and in
one go for all that died meanwhile. Deleting a veth by hand would block whoever asks for 16 to 30 ms (an RCU
grace period), with the kernel's one lock for all networking held.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from kist.engine.network.sysctl import Sysctls
from kist.linux.namespaces import CLONE_NEWNET, setns, unshare
from kist.linux.netlink import Netlink, request

# What Docker sets for every container that has a namespace of its own (any user may ping, and serve port 80);
# IPv6 is off until an attachment brings an IPv6 address, else the container would speak link-local IPv6.
SYSCTLS = (
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("ipv4/ping_group_range", "0 2147483647"),
)
LOOPBACK = 1


class Sandbox:
    """A namespace with its loopback device up: `netns_fd`, and a netlink socket that lives in it.

    `host_interface` is set when it is wired: `eth0` (of that `index`) is there, up and without an address,
    and its other end is a port of the default bridge."""

    __slots__ = ("host_interface", "index", "netlink", "netns_fd")

    def __init__(self, netns_fd: int, netlink: Netlink) -> None:
        self.netns_fd = netns_fd
        self.netlink = netlink
        self.host_interface = ""
        self.index = 0

    def close(self) -> None:
        self.netlink.close()
        os.close(self.netns_fd)


class NamespaceThread:
    """What a thread needs to step into other network namespaces and back. Make it in the thread itself."""

    def __init__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.sysctls = Sysctls()

    def close(self) -> None:
        self.sysctls.close()
        os.close(self._home)

    def new(self) -> Sandbox:
        """A fresh namespace, loopback up."""
        with self._back_home_after():
            unshare(CLONE_NEWNET)
            netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                for name, value in SYSCTLS:
                    self.sysctls.write(name, value)
                netlink = Netlink()
                netlink.run(request.set_link(LOOPBACK, up=True))
            except BaseException:
                os.close(netns)
                raise
            return Sandbox(netns, netlink)

    @contextmanager
    def empty(self) -> Iterator[None]:
        """Work in a fresh namespace, as the kernel makes it. Whoever opens a socket there keeps it."""
        with self._back_home_after():
            unshare(CLONE_NEWNET)
            yield

    def write_sysctl(self, netns_fd: int, name: str, value: str) -> None:
        """In an existing namespace."""
        with self._back_home_after():
            setns(netns_fd, CLONE_NEWNET)
            self.sysctls.write(name, value)

    @contextmanager
    def inside(self, netns_fd: int) -> Iterator[Netlink]:
        """Work in an existing namespace, with a netlink socket of it."""
        with self._back_home_after():
            setns(netns_fd, CLONE_NEWNET)
            with Netlink() as netlink:
                yield netlink

    @contextmanager
    def _back_home_after(self) -> Iterator[None]:
        try:
            yield
        finally:
            setns(self._home, CLONE_NEWNET)


def wire(sandbox: Sandbox, host: Netlink, sysctls: Sysctls, master: int, name: str, mtu: int) -> None:
    """Give the sandbox an `eth0` whose other end, `name`, is a port of the bridge with index `master`."""
    host.run(request.veth(name, peer_name="eth0", peer_netns=sandbox.netns_fd, master=master, mtu=mtu, up=False))
    open_port(host, sysctls, name)
    sandbox.host_interface = name
    sandbox.index = sandbox.netlink.link("eth0").index
    # Up at once: the bridge forwards on a port as soon as it has a carrier, and that may take a moment.
    sandbox.netlink.run(request.set_link(sandbox.index, up=True))


def open_port(host: Netlink, sysctls: Sysctls, name: str) -> None:
    """Let a new port of a bridge work. Called in the host's namespace.

    Only the bridge has addresses: a port with IPv6 would get one of its own, with routes that the kernel keeps in one
    list of all such devices, and would tell all other ports of it."""
    sysctls.write(f"ipv6/conf/{name}/disable_ipv6", "1")
    host.run(request.open_link(name))
