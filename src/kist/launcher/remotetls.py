"""Syslog's lines over TLS (RFC 5425): what remote.py needs of a socket. Imported in the monitors that need it only:
Python's ssl is some megabytes.

The certificate must be signed by one of the machine's authorities or by ``ca``'s, and name the host (as Go's tls has
it).
"""

from __future__ import annotations

import ssl
from _socket import SO_ERROR, SOL_SOCKET
from errno import ENOTCONN

from kist.launcher.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

# Seconds for the other side's goodbye. What a server of TLS 1.3 has sent unasked (session tickets) must be read before
# a socket is closed: else the kernel resets the connection, and the receiver loses what it hasn't read yet.
GOODBYE = 0.5


def context(words: dict[str, Any]) -> ssl.SSLContext:
    """``words``: "ca", "cert", "key" (paths or ""), "verify". Raises OSError in Docker's words (go-connections)."""
    made = ssl.create_default_context()
    if not words["verify"]:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    elif words["ca"]:
        try:
            made.load_verify_locations(words["ca"])
        except ssl.SSLError:
            raise OSError(f'failed to append certificates from PEM file: "{words["ca"]}"') from None
        except OSError as error:
            raise OSError(f'could not read CA certificate "{words["ca"]}": {_why(error)}') from None
    if words["cert"] or words["key"]:
        try:
            made.load_cert_chain(words["cert"], words["key"], lambda: "")  # else it asks on a terminal
        except OSError as error:
            raise OSError(f"Could not load X509 key pair: {_why(error)}") from None
    return made


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower() if not isinstance(error, ssl.SSLError) else str(error)


class Secured:
    """A socket that does not block becomes one that talks TLS, as soon as it is connected."""

    __slots__ = ("_context", "_host", "_raw", "_ready", "_sock", "waits")

    def __init__(self, raw: socket, host: str, secured: ssl.SSLContext) -> None:
        self._raw = raw
        self._host = host
        self._context = secured
        self._sock: ssl.SSLSocket | None = None
        self._ready = False
        self.waits: int = WRITE  # what the loop should wait for before `send` is tried again

    def fileno(self) -> int:
        return self._sock.fileno() if self._sock else self._raw.fileno()

    def settimeout(self, seconds: float) -> None:
        (self._sock or self._raw).settimeout(seconds)

    def greet(self) -> None:
        """Through with the handshake, or BlockingIOError. Raises OSError."""
        try:
            if not self._sock:
                self._check_connected()
                self._sock = self._context.wrap_socket(self._raw, server_hostname=self._host,  # type: ignore[arg-type]
                                                       do_handshake_on_connect=False)
            if not self._ready:
                self._now_or_later(self._sock.do_handshake)
                self._ready = True
        except ssl.SSLCertVerificationError as error:
            raise OSError(f"tls: failed to verify certificate: x509: {error.verify_message}") from None

    def _check_connected(self) -> None:
        try:
            self._raw.getpeername()
        except OSError as error:
            if error.errno != ENOTCONN:
                raise
            failed = self._raw.getsockopt(SOL_SOCKET, SO_ERROR)
            if failed:
                raise OSError(failed, "connect") from None
            raise BlockingIOError from None  # on its way

    def send(self, data: bytes | memoryview) -> int:
        self.greet()
        sock = self._sock
        assert sock
        return self._now_or_later(lambda: sock.send(data))

    def _now_or_later(self, work: Callable[[], T]) -> T:
        """BlockingIOError, and ``waits`` says for what, where TLS can't go on now."""
        try:
            return work()
        except ssl.SSLWantReadError:
            self.waits = READ
            raise BlockingIOError from None
        except ssl.SSLWantWriteError:
            self.waits = WRITE
            raise BlockingIOError from None

    def close(self) -> None:
        if self._sock and self._ready:
            try:
                self._sock.settimeout(GOODBYE)
                self._sock.unwrap().close()
            except (OSError, ValueError):  # it is gone already, or says nothing
                pass
        (self._sock or self._raw).close()
