"""rtnetlink: links, addresses, routes and neighbours of a network namespace.

Three layers, each usable alone:

- `wire`     bytes <-> messages and attributes; pure
- `request`  one function per thing to ask of the kernel, each returns a `Request`; pure
- `nfnetlink` the packet filter's socket: questions, transactions
- `nfelements` elements of nftables' sets and maps; `nfrules` whole tables
- `conntrack` the connection tracker's part: forget connections
- `channel`  a socket: sends a batch of requests in one `sendmsg`, reads the answers

    with Netlink() as netlink:
        netlink.run(request.bridge("br0"), request.bridge("br1"))
        index = netlink.link("br0").index

The launcher loads this package (`python -I -S`), so it keeps to a short list of the standard library.
"""

from __future__ import annotations

from kist.linux.netlink.channel import Netlink
from kist.linux.netlink.wire import Address, Link, Neighbour, Request, Route

__all__ = ["Address", "Link", "Neighbour", "Netlink", "Request", "Route"]
