"""A rtnetlink socket. It belongs to the network namespace of the thread that opened it, for good."""

from __future__ import annotations

import os
import socket

from kist.linux.netlink import request as ask
from kist.linux.netlink import wire
from kist.linux.netlink.wire import Address, Link, Neighbour, Request, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
BUFFER = 65536  # the kernel fills dumps up to 32 KiB
BATCH = 64  # acknowledgements that surely fit the socket's receive buffer


class Netlink:
    """Synchronous; one user at a time."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *requests: Request) -> None:
        """Send the requests in as few datagrams as possible and wait for all answers.

        The kernel tries each of them, also behind one that failed. The first failure is raised as
        OSError(errno, the kernel's words, the request's words)."""
        for start in range(0, len(requests), BATCH):
            self._run(requests[start : start + BATCH])

    def _run(self, requests: tuple[Request, ...]) -> None:
        first = self._sequence + 1
        self._sequence += len(requests)
        self._socket.send(b"".join(wire.message(request, first + n) for n, request in enumerate(requests)))
        waiting = len(requests)
        failed: OSError | None = None
        while waiting:
            for answer in wire.messages(self._socket.recv(BUFFER)):
                if answer.type != wire.NLMSG_ERROR or not first <= answer.sequence <= self._sequence:
                    continue  # an answer to something that was given up earlier
                waiting -= 1
                code, sentence = wire.error_of(answer)
                if code and failed is None:
                    failed = _failure(code, sentence, requests[answer.sequence - first])
        if failed is not None:
            raise failed

    def dump(self, request: Request) -> Iterator[memoryview]:
        """The bodies of all answers to a dump request."""
        self._sequence += 1
        self._socket.send(wire.message(request, self._sequence, ack=False))
        while True:
            for answer in wire.messages(self._socket.recv(BUFFER)):
                if answer.sequence != self._sequence:
                    continue
                if answer.type in (wire.NLMSG_ERROR, wire.NLMSG_DONE):
                    code, sentence = wire.error_of(answer)
                    if code:
                        raise _failure(code, sentence, request)
                    return
                yield answer.body

    def link(self, name: str) -> Link:
        """The device of this name; OSError(ENODEV) when there is none."""
        request = ask.get_link(name)
        self._sequence += 1
        self._socket.send(wire.message(request, self._sequence, ack=False))
        while True:
            for answer in wire.messages(self._socket.recv(BUFFER)):
                if answer.sequence != self._sequence:
                    continue
                if answer.type == wire.NLMSG_ERROR:
                    raise _failure(*wire.error_of(answer), request)
                return wire.parse_link(answer.body)

    def links(self) -> list[Link]:
        return [wire.parse_link(body) for body in self.dump(ask.dump_links())]

    def addresses(self) -> list[Address]:
        return [wire.parse_address(body) for body in self.dump(ask.dump_addresses())]

    def routes(self) -> list[Route]:
        return [wire.parse_route(body) for body in self.dump(ask.dump_routes())]

    def neighbours(self) -> list[Neighbour]:
        return [wire.parse_neighbour(body) for body in self.dump(ask.dump_neighbours())]


def _failure(code: int, sentence: str, request: Request) -> OSError:
    words = os.strerror(code)
    return OSError(code, f"{words} ({sentence})" if sentence else words, request.words)
