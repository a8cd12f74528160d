"""The resolver: one process, one loop, the sockets of all containers.

It is told what to do on a socket of its own, one JSON message and one answer at a time (SOCK_SEQPACKET):

    → (on connecting)  {"listening": [container id …]}
    ← {"add": id, "places": [{network, network_name, names, links, ip, ip6}…], "upstreams": […], "forward": true}
      with two descriptors, UDP and TCP, if the container is new            → {"done": id}
    ← {"drop": [id…]}                                                       → {"done": ""}
    ← {"end": true}      close everything and end                           → {"done": ""}

It ends when it has served no container and no server was connected for 10 s. A question that isn't about a
container is put to the `upstreams` (none: those of the host's /etc/resolv.conf), each from a socket with a port of
its own, so that nobody can guess an answer. Standard library only, run by `python -I -S`.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
import time

from kist.engine.network.dns import wire
from kist.engine.network.dns.zones import Zones

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LARGEST = 65535
CONTROL = 1 << 18  # bytes of one message from the server
PATIENCE = 2.0  # seconds until the next upstream is asked
IDLE = 10.0  # seconds until a TCP connection that says nothing is closed
PENDING_MOST = 2048
CONNECTIONS_MOST = 256
REMEMBERED_MOST = 4096
LINGER = 10.0  # seconds without a container and a server until it ends
RESOLV_CONF = "/etc/resolv.conf"


class Client:
    """A container that is served."""

    __slots__ = ("forward", "id", "tcp", "udp", "upstreams")

    def __init__(self, identity: str, udp: socket.socket, tcp: socket.socket) -> None:
        self.id, self.udp, self.tcp = identity, udp, tcp
        self.upstreams: list[str] = []
        self.forward = True


class Forwarded:
    """A question that is with an upstream; `reply` takes the answer to whoever asked."""

    __slots__ = ("answer", "data", "deadline", "left", "question", "reply", "sent", "socket", "stream")

    def __init__(self, data: bytes, question: wire.Question, upstreams: list[str],
                 reply: Callable[[bytes], None], *, stream: bool) -> None:
        self.data, self.question, self.reply, self.stream = data, question, reply, stream
        self.left = list(upstreams)
        self.socket: socket.socket | None = None
        self.deadline = 0.0
        self.sent = False  # by TCP
        self.answer = bytearray()  # what has come by TCP


class Resolver:
    def __init__(self, control: socket.socket) -> None:
        self.zones = Zones()
        self._clients: dict[str, Client] = {}
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._pending: dict[int, Forwarded] = {}
        self._connections: dict[int, float] = {}
        self._remembered: dict[tuple[str, bytes], bytes] = {}
        self._control = control
        self._servers = 0
        self._ended = False
        self._needed = time.monotonic()
        self._host_upstreams: list[str] = []
        self._host_checked = 0.0
        self._watch(control, self._accept_server)

    # -- the loop -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until nobody needs it any more."""
        while not self._ended:
            for descriptor, _ in self._poll.poll(self._timeout()):
                handler = self._handlers.get(descriptor)
                if handler is not None:
                    handler()
            self._expire()
            if self._clients or self._servers:
                self._needed = time.monotonic()
            elif time.monotonic() > self._needed + LINGER:
                return

    def _timeout(self) -> float:
        """Wait for ever unless something has a deadline."""
        if self._pending or self._connections:
            return 0.2
        return -1 if self._clients or self._servers else LINGER / 4

    def _watch(self, one: socket.socket, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        one.settimeout(0)
        self._sockets[one.fileno()] = one
        self._handlers[one.fileno()] = handler
        self._poll.register(one.fileno(), events)

    def _forget(self, one: socket.socket) -> None:
        descriptor = one.fileno()
        if descriptor in self._handlers:
            del self._handlers[descriptor], self._sockets[descriptor]
            self._poll.unregister(descriptor)
        self._pending.pop(descriptor, None)
        self._connections.pop(descriptor, None)
        one.close()

    def _expire(self) -> None:
        now = time.monotonic()
        for forwarded in [one for one in self._pending.values() if one.deadline < now]:
            self._ask_next(forwarded)
        for descriptor in [one for one, deadline in self._connections.items() if deadline < now]:
            self._forget(self._sockets[descriptor])

    # -- the server's words ---------------------------------------------------------------------------------

    def _accept_server(self) -> None:
        connection, _ = self._control.accept()
        _, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            connection.close()
            return
        self._servers += 1
        connection.send(json.dumps({"listening": list(self._clients)}).encode())
        self._watch(connection, lambda: self._obey(connection))

    def _obey(self, connection: socket.socket) -> None:
        try:
            data, ancillary, _, _ = connection.recvmsg(CONTROL, socket.CMSG_SPACE(8))
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        descriptors = array.array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(content[: len(content) // 4 * 4])
        if not data:
            self._servers -= 1
            self._forget(connection)
            return
        words = json.loads(data)
        self._remembered.clear()
        if "add" in words:
            self._add(words, list(descriptors))
        for identity in words.get("drop", ()):
            self._drop(identity)
        self._ended = bool(words.get("end"))
        connection.send(json.dumps({"done": words.get("add", "")}).encode())

    def _add(self, words: dict[str, Any], descriptors: list[int]) -> None:
        identity: str = words["add"]
        if descriptors:
            self._drop(identity)
            udp, tcp = (socket.socket(fileno=descriptor) for descriptor in descriptors)
            client = self._clients[identity] = Client(identity, udp, tcp)
            self._watch(udp, lambda: self._receive(client))
            self._watch(tcp, lambda: self._accept(client))
        known = self._clients.get(identity)
        if known is not None:
            known.upstreams, known.forward = words["upstreams"], words["forward"]
        self.zones.put(identity, words["places"])

    def _drop(self, identity: str) -> None:
        self.zones.drop(identity)
        client = self._clients.pop(identity, None)
        if client is not None:
            self._forget(client.udp)
            self._forget(client.tcp)

    # -- questions ------------------------------------------------------------------------------------------

    def _receive(self, client: Client) -> None:
        """Answer what has come in by UDP. The same question gets the same answer from memory."""
        identity, udp, remembered = client.id, client.udp, self._remembered
        for _ in range(64):
            try:
                data, sender = udp.recvfrom(LARGEST)
            except OSError:
                return
            known = remembered.get((identity, data[2:]))
            if known is not None:
                _send(udp, data[:2] + known, sender)
                continue
            self._answer(client, data, _replier(udp, sender), stream=False)

    def _answer(self, client: Client, data: bytes, reply: Callable[[bytes], None], *, stream: bool) -> None:
        try:
            question = wire.parse(data)
        except ValueError:
            if len(data) >= 4 and not data[2] & 0x80:
                reply(wire.refusal(data, wire.FORMERR))
            return
        if question.flags & wire.OPCODE:
            reply(wire.refusal(data, wire.NOTIMP))
            return
        found, lasting = self.zones.answer(client.id, question)
        if found is None:
            self._forward(client, data, question, reply, stream=stream)
            return
        if lasting and len(self._remembered) < REMEMBERED_MOST:
            self._remembered[client.id, data[2:]] = found[2:]
        reply(found if stream else wire.fitting(found, question, wire.udp_size(data, question)))

    def _accept(self, client: Client) -> None:
        try:
            connection, _ = client.tcp.accept()
        except OSError:
            return
        if len(self._connections) >= CONNECTIONS_MOST:
            connection.close()
            return
        buffer = bytearray()
        self._connections[connection.fileno()] = time.monotonic() + IDLE
        self._watch(connection, lambda: self._read_stream(client, connection, buffer))

    def _read_stream(self, client: Client, connection: socket.socket, buffer: bytearray) -> None:
        """Questions by TCP: each with its length in front."""
        try:
            data = connection.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        buffer += data
        if not data or len(buffer) > 4 * LARGEST:
            self._forget(connection)
            return
        self._connections[connection.fileno()] = time.monotonic() + IDLE
        while len(buffer) > 2 and len(buffer) >= 2 + (length := buffer[0] << 8 | buffer[1]):
            message = bytes(buffer[2 : 2 + length])
            del buffer[: 2 + length]
            self._answer(client, message, lambda reply: _send_stream(connection, reply), stream=True)

    # -- other resolvers ------------------------------------------------------------------------------------

    def _forward(self, client: Client, data: bytes, question: wire.Question, reply: Callable[[bytes], None], *,
                 stream: bool) -> None:
        upstreams = (client.upstreams or self._upstreams_of_host()) if client.forward else []
        if len(self._pending) >= PENDING_MOST:
            upstreams = []
        self._ask_next(Forwarded(data, question, upstreams, reply, stream=stream))

    def _ask_next(self, forwarded: Forwarded) -> None:
        """Put the question to the next upstream; SERVFAIL when there is none left."""
        if forwarded.socket is not None:
            self._forget(forwarded.socket)
            forwarded.socket = None
        while forwarded.left:
            one = _connect(forwarded.left.pop(0), stream=forwarded.stream)
            if one is None:
                continue
            forwarded.socket = one
            forwarded.deadline = time.monotonic() + PATIENCE
            self._pending[one.fileno()] = forwarded
            if forwarded.stream:
                forwarded.sent = False
                forwarded.answer.clear()
                self._watch(one, lambda: self._upstream_stream(forwarded), select.EPOLLOUT)
            else:
                self._watch(one, lambda: self._upstream_answered(forwarded))
                _send(one, forwarded.data, None)
            return
        forwarded.reply(wire.answer(forwarded.question, code=wire.SERVFAIL))

    def _upstream_answered(self, forwarded: Forwarded) -> None:
        one = forwarded.socket
        try:
            data = one.recv(LARGEST) if one is not None else b""
        except BlockingIOError:
            return
        except OSError:
            self._ask_next(forwarded)  # refused: nobody is there
            return
        question = forwarded.question.raw
        if one is None or data[:2] != forwarded.data[:2] or data[12 : 12 + len(question)].lower() != question.lower():
            return  # not the answer to this question
        self._forget(one)
        forwarded.reply(data)

    def _upstream_stream(self, forwarded: Forwarded) -> None:
        one = forwarded.socket
        if one is None:
            return
        try:
            if not forwarded.sent:
                one.send(struct.pack("!H", len(forwarded.data)) + forwarded.data)
                forwarded.sent = True
                self._poll.modify(one.fileno(), select.EPOLLIN)
                return
            data = one.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        answer = forwarded.answer
        answer += data
        if len(answer) >= 2 and len(answer) >= 2 + (length := answer[0] << 8 | answer[1]):
            self._forget(one)
            forwarded.reply(bytes(answer[2 : 2 + length]))
        elif not data:
            self._ask_next(forwarded)

    def _upstreams_of_host(self) -> list[str]:
        """The host's nameservers, looked at again every second."""
        now = time.monotonic()
        if now - self._host_checked > 1 or not self._host_upstreams:
            self._host_checked = now
            try:
                with open(RESOLV_CONF) as file:
                    words = [line.split() for line in file]
                self._host_upstreams = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
            except OSError:
                self._host_upstreams = []
        return self._host_upstreams


def _connect(address: str, *, stream: bool) -> socket.socket | None:
    """A socket to an upstream (`192.0.2.53`, `2001:db8::53`, `fe80::1%eth0`); None when that can't be."""
    try:
        info = socket.getaddrinfo(address, 53, flags=socket.AI_NUMERICHOST,
                                  type=socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)[0]
        one = socket.socket(info[0], info[1] | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError:
        return None
    try:
        one.connect(info[4])
    except BlockingIOError:
        pass
    except OSError:
        one.close()
        return None
    return one


def _replier(one: socket.socket, to: Any) -> Callable[[bytes], None]:
    return lambda reply: _send(one, reply, to)


def _send(one: socket.socket, data: bytes, to: Any) -> None:
    """A datagram that can't be sent is lost, as datagrams are; the asker asks again."""
    try:
        if to is None:
            one.send(data)
        else:
            one.sendto(data, to)
    except OSError:
        pass


def _send_stream(connection: socket.socket, data: bytes) -> None:
    try:
        connection.send(struct.pack("!H", len(data)) + data)
    except (OSError, ValueError):
        pass
