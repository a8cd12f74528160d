"""TLS to a server: one end of a socket pair, and a thread that enciphers what goes through it.

::

    client ──▶ plain socket ┆ thread: SSLObject ══▶ TCP

The client polls, half-closes and sends with flags, none of which `ssl.SSLSocket` does: its `shutdown` ends TLS itself,
and its `unwrap` fails when the other side still has something to say. Here the end of input is the alert
close_notify (RFC 8446, section 6.1), and the rest of the output still comes.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading

PIECE = 256 << 10


def wrap(tcp: socket.socket, context: ssl.SSLContext, host: str, timeout: float | None) -> socket.socket:
    """The plain end; owns ``tcp``. Raises OSError (ssl.SSLError among them) when the handshake fails."""
    tunnel = _Tunnel(tcp, context, host)
    tunnel.shake()
    here, tunnel.inner = socket.socketpair()
    here.settimeout(timeout)
    tcp.settimeout(0)
    tunnel.inner.settimeout(0)
    threading.Thread(target=tunnel.run, name="tls", daemon=True).start()
    return here


class _Tunnel:
    def __init__(self, tcp: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._tcp = tcp
        self.inner: socket.socket
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._to_tcp = self._to_inner = b""
        self._input_ended = False  # the client's
        self._output_ended = False  # the server's

    def shake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._tcp.sendall(self._outgoing.read())
                data = self._tcp.recv(PIECE)
                if not data:
                    raise ConnectionResetError("the server closed the connection during the TLS handshake") from None
                self._incoming.write(data)
            else:
                self._tcp.sendall(self._outgoing.read())
                return

    def run(self) -> None:
        """Until the server has said all, or the client has closed its end."""
        poll = select.poll()
        with self._tcp, self.inner:
            try:
                while self._to_inner or not self._output_ended:
                    self._ask(poll)
                    for fd, events in poll.poll():
                        self._serve_tcp(events) if fd == self._tcp.fileno() else self._serve_inner(events)
            except OSError:  # cut, or no TLS any more: the client sees an end
                pass

    def _ask(self, poll: select.poll) -> None:
        """Read from neither side while the other one hasn't taken what came; a hang-up is told only to who asks."""
        tcp = (0 if self._to_inner or self._output_ended else select.POLLIN) | (select.POLLOUT if self._to_tcp else 0)
        inner = (0 if self._to_tcp or self._input_ended else select.POLLIN) | (select.POLLOUT if self._to_inner else 0)
        for sock, events, wanted in ((self._tcp, tcp, bool(tcp)), (self.inner, inner, inner or not self._to_tcp)):
            if wanted:
                poll.register(sock, events)
            else:
                try:
                    poll.unregister(sock)
                except KeyError:
                    pass

    def _serve_tcp(self, events: int) -> None:
        if events & select.POLLOUT:
            self._to_tcp = self._to_tcp[self._tcp.send(self._to_tcp):]
        if events & ~select.POLLOUT and not self._to_inner:
            data = self._tcp.recv(PIECE)
            if data:
                self._incoming.write(data)
                self._decipher()
            else:
                self._output_ended = True

    def _decipher(self) -> None:
        pieces = []
        try:
            while piece := self._tls.read(PIECE):
                pieces.append(piece)
            self._output_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._output_ended = True
        self._to_inner = b"".join(pieces)
        self._to_tcp += self._outgoing.read()

    def _serve_inner(self, events: int) -> None:
        if events & select.POLLOUT:
            self._to_inner = self._to_inner[self.inner.send(self._to_inner):]
        if events & ~select.POLLOUT and not self._to_tcp and not self._input_ended:
            data = self.inner.recv(PIECE)
            if data:
                self._tls.write(data)
            else:
                self._input_ended = True
                try:
                    self._tls.unwrap()
                except ssl.SSLError:  # it would like to wait for the server's answer
                    pass
            self._to_tcp = self._outgoing.read()
        elif events & (select.POLLHUP | select.POLLERR):
            raise ConnectionResetError("the client is gone")
