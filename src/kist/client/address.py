"""Where a server listens, and how to get a connected socket there.

========================  =======================================================================
``unix:///path``          a unix socket
``tcp://host[:port]``     2375, or with TLS 2376 (a client certificate, as Docker's daemon wants it)
``http:// https://``      the same, TLS told by the scheme
``ssh://[user@]host``     `ssh host kist system dial-stdio` (or `docker …`), its pipes as the connection
========================  =======================================================================
"""

from __future__ import annotations

from kist.client.transport import Connection, connect_unix, socket
from kist.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any


class TLS:
    """Files for mutual TLS; `verify=False` skips the check of the server's certificate."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, ca: str | None = None, cert: str | None = None, key: str | None = None, *,
                 verify: bool = True) -> None:
        self.ca, self.cert, self.key, self.verify = ca, cert, key, verify

    def context(self) -> ssl.SSLContext:
        import ssl

        context = ssl.create_default_context(cafile=self.ca)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Address:
    """One parsed address; `open()` connects."""

    __slots__ = ("host", "path", "port", "remote", "scheme", "text", "tls", "user")

    def __init__(self, text: str, tls: TLS | None = None, remote: str = "kist system dial-stdio") -> None:
        self.text = text
        self.tls = tls
        self.remote = remote  # what ssh runs over there
        self.scheme, mark, rest = text.partition("://")
        self.path = self.host = self.user = ""
        self.port = 0
        if not mark or self.scheme not in _OPENERS:
            raise InvalidParameter(f"unable to parse server host `{text}`")
        if self.scheme == "unix":
            self.path = rest
        else:
            rest = rest.partition("/")[0]
            self.user, _, rest = rest.rpartition("@")
            self.host, self.port = _host_port(rest, text)
        if not self.path and not self.host:
            raise InvalidParameter(f"unable to parse server host `{text}`")

    @property
    def name(self) -> str:
        """The Host header."""
        return self.host if self.scheme != "unix" else "localhost"

    def open(self, timeout: float | None = None) -> Connection:
        """A new connection; OSError when nobody answers."""
        opened = _OPENERS[self.scheme](self, timeout)
        opened.settimeout(timeout)
        return Connection(opened, self.name)


def _host_port(text: str, whole: str) -> tuple[str, int]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.lstrip(":")
    else:
        host, _, port = text.partition(":")
    if port and not port.isdigit():
        raise InvalidParameter(f"unable to parse server host `{whole}`")
    return host, int(port or 0)


def _open_unix(address: Address, _timeout: float | None) -> socket:
    return connect_unix(address.path)


def _open_tcp(address: Address, timeout: float | None) -> Any:
    import socket as sockets

    tls = address.tls or (TLS() if address.scheme == "https" else None)
    place = (address.host, address.port or (2376 if tls else 2375))
    plain = sockets.create_connection(place, timeout)
    plain.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
    if tls is None:
        return plain
    from kist.client.tls import wrap

    try:
        return wrap(plain, tls.context(), address.host, timeout)
    except BaseException:
        plain.close()
        raise


def _open_ssh(address: Address, _timeout: float | None) -> Any:
    import socket as sockets
    import subprocess

    if address.host.startswith("-") or address.user.startswith("-"):
        raise InvalidParameter(f"unable to parse server host `{address.text}`")
    command = ["ssh", "-o", "ConnectTimeout=30", "-T"]
    command += ["-l", address.user] if address.user else []
    command += ["-p", str(address.port)] if address.port else []
    command += ["--", address.host, address.remote]
    here, there = sockets.socketpair()
    with there:
        # Its own session: Ctrl-C at the terminal is for the container, not for the way there.
        subprocess.Popen(command, stdin=there.fileno(), stdout=there.fileno(), start_new_session=True)
    return here


_OPENERS = {"unix": _open_unix, "tcp": _open_tcp, "http": _open_tcp, "https": _open_tcp, "ssh": _open_ssh}
